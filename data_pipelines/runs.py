"""Names of runs, checked before the work and not after it."""

import time

from data_pipelines.artifacts import check_name, listing
from rayraft.errors import InputError
from rayraft.manifests import Kind


def new_run(store: str, kind: Kind, run: str | None, kb_version: int) -> str:
    """`run`, or a name that sorts by time; nothing is published under it yet.

    Raises:
        InputError: The name is not allowed or taken.
    """
    name = (
        run if run is not None else f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-v{kb_version}"
    )
    check_name(kind, name)
    if listing(store, kind, name):
        raise InputError(f"{kind} {name!r} exists in {store}; choose another name")
    return name
