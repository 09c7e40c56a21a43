"""Which published adapter answers by default: promotions, in the order in which they were made.

An adapter can have two roles: `reading` (modes raft and auto) and `memory` (closed book); how it
was trained says which. The champion of a role is the one promoted to it last; while nobody was,
the newest adapter of the role is taken. Promotions are one small file beside the adapters.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, get_args

from pydantic import TypeAdapter, ValidationError

from data_pipelines.artifacts import find, read_manifest
from data_pipelines.stores import open_filesystem, write_file
from rayraft.config import explain
from rayraft.errors import ArtifactMismatch, InputError, NotFoundError
from rayraft.manifests import Manifest
from rayraft.provenance import utc_now
from rayraft.records import Record

Role = Literal["reading", "memory"]
ROLES: tuple[Role, ...] = get_args(Role)
METHODS: Mapping[Role, tuple[str, ...]] = {
    "reading": ("raft", "mixed"),
    "memory": ("sft", "mixed"),
}
"""Training methods that fit an adapter for a role: an adapter trained without passages would read
them worse than the base model does."""
FILE = "adapters/champions.json"


class Promotion(Record):
    """One adapter's promotion to one role."""

    role: Role
    adapter_id: str
    promoted: str
    """UTC, ISO 8601."""
    note: str = ""


_HISTORY = TypeAdapter(list[Promotion])


def promotions(store: str) -> list[Promotion]:
    """All promotions that were not rolled back, oldest first.

    Raises:
        ArtifactMismatch: The file cannot be read.
    """
    filesystem, root = open_filesystem(store)
    try:
        with filesystem.open_input_stream(f"{root}/{FILE}") as stream:
            return _HISTORY.validate_json(bytes(stream.read()))
    except FileNotFoundError:
        return []
    except ValidationError as exc:
        raise ArtifactMismatch(f"{store}/{FILE}: {explain(exc)}") from exc


def champions(store: str) -> dict[Role, str]:
    """Role -> id of the adapter promoted to it last."""
    return {promotion.role: promotion.adapter_id for promotion in promotions(store)}


def promote(store: str, adapter_id: str, note: str = "") -> list[Role]:
    """Makes a published adapter the champion of every role that it was trained for.

    Raises:
        NotFoundError: There is no such adapter.
        InputError: It was trained by a method that has no role.
    """
    ref = find(store, "adapter", adapter_id)
    roles = roles_of(read_manifest(ref))
    if not roles:
        raise InputError(f"adapter {ref.artifact_id}: its training method has no role in answering")
    now = utc_now()
    made = [
        Promotion(role=role, adapter_id=ref.artifact_id, promoted=now, note=note) for role in roles
    ]
    _write(store, [*promotions(store), *made])
    return roles


def rollback(store: str, role: Role) -> str | None:
    """Takes the last promotion to a role back; the champion is then the one before, or None.

    Raises:
        NotFoundError: Nobody was promoted to it.
    """
    history = promotions(store)
    places = [i for i, promotion in enumerate(history) if promotion.role == role]
    if not places:
        raise NotFoundError(f"{store}: no adapter was promoted to role {role}")
    del history[places[-1]]
    _write(store, history)
    return champions(store).get(role)


def withdraw(store: str, adapter_ids: Collection[str]) -> None:
    """Takes every promotion of these adapters back."""
    history = promotions(store)
    kept = [promotion for promotion in history if promotion.adapter_id not in adapter_ids]
    if len(kept) < len(history):
        _write(store, kept)


def roles_of(manifest: Manifest) -> list[Role]:
    """The roles that an adapter was trained for."""
    method = manifest.config.get("method")
    return [role for role in ROLES if method in METHODS[role]]


def _write(store: str, history: Sequence[Promotion]) -> None:
    filesystem, root = open_filesystem(store)
    write_file(filesystem, f"{root}/{FILE}", _HISTORY.dump_json(list(history), indent=1) + b"\n")
