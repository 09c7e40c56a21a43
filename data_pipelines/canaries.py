"""A canary: an adapter that answers a share of the requests before it is promoted, or taken back.

It is one small file beside the adapters, so that running services follow it as they follow
promotions.
"""

from pydantic import Field, ValidationError

from data_pipelines.artifacts import find, read_manifest
from data_pipelines.champions import METHODS
from data_pipelines.stores import open_filesystem, write_file
from rayraft.config import explain
from rayraft.errors import ArtifactMismatch, InputError, NotFoundError
from rayraft.provenance import utc_now
from rayraft.records import Record

FILE = "adapters/canary.json"


class Canary(Record):
    """Which adapter answers which share of the requests that name none."""

    adapter_id: str
    share: float = Field(gt=0, le=0.5)
    """More than half is a promotion."""
    started: str
    """UTC, ISO 8601."""


def read_canary(store: str) -> Canary | None:
    """The canary that runs, if there is one.

    Raises:
        ArtifactMismatch: The file cannot be read.
    """
    filesystem, root = open_filesystem(store)
    try:
        with filesystem.open_input_stream(f"{root}/{FILE}") as stream:
            return Canary.model_validate_json(bytes(stream.read()))
    except FileNotFoundError:
        return None
    except ValidationError as exc:
        raise ArtifactMismatch(f"{store}/{FILE}: {explain(exc)}") from exc


def start_canary(store: str, adapter_id: str, share: float) -> Canary:
    """Lets a published adapter answer a share of the requests; replaces a canary that runs.

    Raises:
        NotFoundError: There is no such adapter.
        InputError: It was not trained to read passages, or the share is out of bounds.
    """
    ref = find(store, "adapter", adapter_id)
    method = read_manifest(ref).config.get("method")
    if method not in METHODS["reading"]:
        raise InputError(
            f"adapter {ref.artifact_id}: method {method!r} does not read passages; a canary needs "
            f"{' or '.join(METHODS['reading'])}"
        )
    try:
        canary = Canary(adapter_id=ref.artifact_id, share=share, started=utc_now())
    except ValidationError as exc:
        raise InputError(f"canary {ref.artifact_id}: {explain(exc)}") from exc
    filesystem, root = open_filesystem(store)
    write_file(filesystem, f"{root}/{FILE}", canary.model_dump_json(indent=1).encode() + b"\n")
    return canary


def stop_canary(store: str) -> Canary:
    """Ends the canary.

    Raises:
        NotFoundError: None runs.
    """
    canary = read_canary(store)
    if canary is None:
        raise NotFoundError(f"{store}: no canary runs")
    filesystem, root = open_filesystem(store)
    filesystem.delete_file(f"{root}/{FILE}")
    return canary
