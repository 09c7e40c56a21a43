"""Which published adapter answers by default: promotions, in the order in which they were made.

An adapter can have two roles: `reading` (modes raft and auto) and `memory` (closed book); how it
was trained says which. The champion of a role is the one promoted to it last; while nobody was,
the newest adapter of the role is taken.

Every promotion, and every taking back of one, is a file of its own that is written once and never
changed: writers at the same time lose nothing, on a folder as in a bucket, without any lock. A
writer's file sorts after all that it has seen, whatever the clocks of other machines say.
"""

import functools
import time
import uuid
from collections.abc import Collection, Mapping
from typing import Literal, get_args

import pyarrow.fs as pafs
from pydantic import Field, ValidationError

from data_pipelines.artifacts import find, read_manifest
from data_pipelines.stores import open_filesystem, write_file
from rayraft.config import explain
from rayraft.errors import ArtifactMismatch, InputError, NotFoundError
from rayraft.manifests import Manifest
from rayraft.provenance import utc_now
from rayraft.records import Record
from rayraft.tenants import owner_of_adapter

Role = Literal["reading", "memory"]
ROLES: tuple[Role, ...] = get_args(Role)
METHODS: Mapping[Role, tuple[str, ...]] = {
    "reading": ("raft", "mixed"),
    "memory": ("sft", "mixed"),
}
"""Training methods that fit an adapter for a role: an adapter trained without passages would read
them worse than the base model does."""
FOLDER = "promotions"


class Promotion(Record):
    """One adapter's promotion to one role."""

    role: Role
    adapter_id: str
    promoted: str
    """UTC, ISO 8601."""
    note: str = ""


class _Event(Record):
    """One file: promotions that were made together, or the taking back of some."""

    made: list[Promotion] = Field(default_factory=list)
    taken_back: list[str] = Field(default_factory=list)
    """Each `<event>/<position>` of a promotion."""


def promotions(store: str) -> list[Promotion]:
    """All promotions that were not rolled back, oldest first.

    Raises:
        ArtifactMismatch: A file cannot be read.
    """
    return list(_history(store).values())


def champions(store: str, tenant: str | None = None) -> dict[Role, str]:
    """Role -> id of the adapter promoted to it last, of a tenant's own or of those all share."""
    return {p.role: p.adapter_id for p in promotions(store) if _owner(p) == tenant}


def crowned_adapters(store: str) -> set[tuple[Role, str]]:
    """Role and id of every champion, each tenant's among them."""
    last = {(p.role, _owner(p)): p.adapter_id for p in promotions(store)}
    return {(role, adapter_id) for (role, _), adapter_id in last.items()}


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
    _write(store, _Event(made=made))
    return roles


def rollback(store: str, role: Role, tenant: str | None = None) -> str | None:
    """Takes the last promotion to a role back; the champion is then the one before, or None.

    With a tenant it is the last of that tenant's adapters, else of those that all share.

    Raises:
        NotFoundError: Nobody was promoted to it.
    """
    places = [
        place
        for place, promotion in _history(store).items()
        if promotion.role == role and _owner(promotion) == tenant
    ]
    if not places:
        raise NotFoundError(f"{store}: no adapter was promoted to role {role}")
    _write(store, _Event(taken_back=places[-1:]))
    return champions(store, tenant).get(role)


def withdraw(store: str, adapter_ids: Collection[str]) -> None:
    """Takes every promotion of these adapters back."""
    history = _history(store).items()
    places = [place for place, promotion in history if promotion.adapter_id in adapter_ids]
    if places:
        _write(store, _Event(taken_back=places))


def _owner(promotion: Promotion) -> str | None:
    return owner_of_adapter(promotion.adapter_id)


def roles_of(manifest: Manifest) -> list[Role]:
    """The roles that an adapter was trained for."""
    method = manifest.config.get("method")
    return [role for role in ROLES if method in METHODS[role]]


def _history(store: str) -> dict[str, Promotion]:
    """Place of a promotion -> promotion, oldest first, without those that were taken back."""
    history: dict[str, Promotion] = {}
    gone: set[str] = set()
    for name in _event_names(store):
        event = _read(store, name)
        history |= {f"{name}/{i}": promotion for i, promotion in enumerate(event.made)}
        gone.update(event.taken_back)
    return {place: promotion for place, promotion in history.items() if place not in gone}


def _event_names(store: str) -> list[str]:
    filesystem, root = open_filesystem(store)
    selector = pafs.FileSelector(f"{root}/{FOLDER}", allow_not_found=True)
    found = filesystem.get_file_info(selector)
    return sorted(i.base_name for i in found if i.base_name.endswith(".json"))


@functools.lru_cache(maxsize=4096)  # a file is never changed
def _read(store: str, name: str) -> _Event:
    filesystem, root = open_filesystem(store)
    try:
        with filesystem.open_input_stream(f"{root}/{FOLDER}/{name}") as stream:
            return _Event.model_validate_json(bytes(stream.read()))
    except ValidationError as exc:
        raise ArtifactMismatch(f"{store}/{FOLDER}/{name}: {explain(exc)}") from exc


def _write(store: str, event: _Event) -> None:
    seen = [int(name.partition("-")[0]) for name in _event_names(store)[-1:]]
    order = max([time.time_ns(), *(number + 1 for number in seen)])
    filesystem, root = open_filesystem(store)
    filesystem.create_dir(f"{root}/{FOLDER}", recursive=True)
    path = f"{root}/{FOLDER}/{order:020}-{uuid.uuid4().hex[:12]}.json"
    write_file(filesystem, path, event.model_dump_json(indent=1).encode() + b"\n")
