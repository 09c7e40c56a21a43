"""The one grammar of adapter ids, `name-vN`: they come in over HTTP and become folders."""

import re

from rayraft.errors import NotFoundError

ADAPTER_NAME = r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?"
ADAPTER_ID = rf"{ADAPTER_NAME}-v[1-9][0-9]{{0,8}}"


def parse_adapter_id(adapter_id: str) -> tuple[str, int]:
    """Name and number of `name-vN`.

    Raises:
        NotFoundError: Not of this form, so there can be no such adapter.
    """
    if not re.fullmatch(ADAPTER_ID, adapter_id):
        raise NotFoundError(f"adapter {adapter_id[:100]!r} does not exist: expected NAME-vN")
    name, _, number = adapter_id.rpartition("-v")
    return name, int(number)
