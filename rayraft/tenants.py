"""Whose a thing is, where several tenants share one service: names and groups, nothing else.

What belongs to a tenant has its name in front: documents `acme/...`, adapters `acme--...`. Who may
read it is said by groups alone, so every filter that knows groups keeps tenants apart: a person of
tenant acme is in the group `tenant:acme`, and the tenant's own groups are `tenant:acme:hr`.
"""

import re
from collections.abc import Sequence

from rayraft.errors import InputError
from rayraft.records import PUBLIC

TENANT = r"[a-z0-9](?:-?[a-z0-9]){0,31}"
"""No two hyphens in a row: they end the tenant's part of an adapter's name."""
GROUP = r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}"
_PREFIX = "tenant:"
_OF_TENANT = re.compile(rf"tenant:(?P<tenant>{TENANT})(?::(?P<group>{GROUP}))?")
_ADAPTER = re.compile(rf"(?P<tenant>{TENANT})--.+")


def groups_of(tenant: str | None, groups: Sequence[str] = ()) -> tuple[str, ...]:
    """The groups of a person: as they are without a tenant, else the tenant's and its own ones."""
    if tenant is None:
        return tuple(groups)
    everybody = f"{_PREFIX}{tenant}"
    return (everybody, *(f"{everybody}:{group}" for group in groups))


def tenants_in(groups: Sequence[str]) -> frozenset[str]:
    """The tenants that somebody in `groups` belongs to."""
    found = (_OF_TENANT.fullmatch(group) for group in groups)
    return frozenset(match["tenant"] for match in found if match)


def tenant_acl(tenant: str | None, acl: Sequence[str]) -> list[str]:
    """What is stored as the acl of a document that a key of `tenant` writes.

    Nobody outside the tenant may read it: an empty acl, and `public`, mean everybody within. An acl
    that was read from the service may be sent again.

    Raises:
        InputError: A group is malformed, or another tenant's.
    """
    if tenant is None:
        foreign = [group for group in acl if group.startswith(_PREFIX)]
        if foreign:
            raise InputError(f"acl: {foreign[0]!r:.100} is a tenant's; this key has no tenant")
        return list(acl)
    (everybody,) = groups_of(tenant)
    own = [_own_group(everybody, group) for group in acl if group != PUBLIC]
    return own if own and PUBLIC not in acl else [everybody]


def _own_group(everybody: str, group: str) -> str:
    if group == everybody or group.startswith(f"{everybody}:"):
        return group
    if not re.fullmatch(GROUP, group):
        raise InputError(f"acl: {group!r:.100} is no group: expected letters, digits and _.@-")
    return f"{everybody}:{group}"


def owner_of_adapter(name: str) -> str | None:
    """The tenant of an adapter by its name or id, None for one that all tenants share."""
    match = _ADAPTER.fullmatch(name)
    return match["tenant"] if match else None


def may_use_adapter(name: str, groups: Sequence[str]) -> bool:
    """Whether somebody in `groups` may be answered by this adapter."""
    owner = owner_of_adapter(name)
    return owner is None or owner in tenants_in(groups)


def may_learn(given_by: Sequence[str], groups: Sequence[str]) -> bool:
    """Whether an adapter for people in `groups` may learn what somebody in `given_by` said."""
    return tenants_in(given_by) <= tenants_in(groups)


def check_learner(name: str, learned_from: Sequence[str], source: str) -> None:
    """Refuses an adapter that would answer others from what only one tenant may read.

    Args:
        name: Of the adapter to be trained.
        learned_from: Groups that its examples were written for.
        source: Of the examples, for the message.

    Raises:
        InputError: They are a tenant's, and the adapter is not that tenant's.
    """
    foreign = tenants_in(learned_from) - {owner_of_adapter(name)}
    if foreign:
        tenant = min(foreign)
        raise InputError(
            f"{name!r}: {source} holds what tenant {tenant} alone may read; name it {tenant}--..."
        )


def check_document_id(document_id: str, tenant: str | None = None) -> None:
    """Refuses ids that a service should not take, and those outside the tenant's own folder.

    Raises:
        InputError: Names what is wrong.
    """
    parts = document_id.split("/")
    if not document_id.isprintable() or "\\" in document_id or document_id != document_id.strip():
        raise InputError(
            f"document_id {document_id!r:.100}: expected printable characters, no backslash and "
            "no space at either end"
        )
    if any(part in ("", ".", "..") for part in parts):
        raise InputError(
            f"document_id {document_id!r:.100}: a part between slashes is empty or dots"
        )
    if tenant is not None and (parts[0] != tenant or len(parts) < 2):
        raise InputError(
            f"document_id {document_id!r:.100}: documents of tenant {tenant} are named {tenant}/..."
        )
