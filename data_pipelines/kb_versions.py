"""The history of a knowledge base: what changed when, back to an older state, and less of it.

The clock never goes back: a rollback is a new version with the content of an old one, so retrievers
follow it by its delta, and adapters stay older than what they have not seen.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from data_pipelines.artifacts import listing, read_manifest
from data_pipelines.ingest import commit_rows
from data_pipelines.kb import KnowledgeBase
from data_pipelines.kb_table import check_embedder, create_search_index, index_named, open_table
from data_pipelines.kb_vectors import VECTOR_COLUMN
from rayraft.errors import InputError, NotFoundError

_TAG = re.compile(r"[a-z][a-z0-9._-]{0,63}")
_SAID = {
    "Overwrite": "reembedded",
    "CreateIndex": "index",
    "Rewrite": "compacted",
    "Update": "changed",
}


@dataclass(frozen=True)
class VersionInfo:
    """One version."""

    version: int
    time: datetime
    what: str
    chunks: int
    documents: int
    tags: list[str]


@dataclass(frozen=True)
class Difference:
    """Ids of the documents in which two versions differ, sorted."""

    added: list[str]
    changed: list[str]
    removed: list[str]


def version_of(store: str, name: str) -> int:
    """The version that a number or a tag names.

    Raises:
        NotFoundError: There is no such tag. (Whether there is such a version is not looked at.)
    """
    if name.isdigit():
        return int(name)
    tags = open_table(store).tags.list()
    if name not in tags:
        known = ", ".join(sorted(tags)) or "none"
        raise NotFoundError(f"{store}: no version or tag {name!r}; tags are {known}")
    return int(tags[name]["version"])


def log(store: str, limit: int) -> list[VersionInfo]:
    """The newest versions, newest first."""
    dataset = open_table(store)
    tags: dict[int, list[str]] = {}
    for name, tag in dataset.tags.list().items():
        tags.setdefault(int(tag["version"]), []).append(name)
    newest = sorted(dataset.versions(), key=lambda item: -int(item["version"]))[:limit]
    return [_info(store, dataset, int(item["version"]), item["timestamp"], tags) for item in newest]


def _info(
    store: str, dataset: Any, version: int, time: datetime, tags: dict[int, list[str]]
) -> VersionInfo:
    table = open_table(store, version)
    transaction = dataset.read_transaction(version)
    operation = type(transaction.operation).__name__ if transaction else ""
    return VersionInfo(
        version=version,
        time=time.astimezone(UTC),  # Lance tells local time without a zone
        what="created" if version == 1 else _SAID.get(operation, operation.lower()),
        chunks=int(table.count_rows()),
        documents=int(table.count_rows("position = 0")),
        tags=sorted(tags.get(version, [])),
    )


def diff(store: str, older: int, newer: int) -> Difference:
    """What has to be done to the documents of one version to have those of the other.

    Raises:
        NotFoundError: One of them does not exist (any longer).
    """
    before = KnowledgeBase.open(store, older).document_hashes()
    after = KnowledgeBase.open(store, newer).document_hashes()
    both = before.keys() & after.keys()
    return Difference(
        added=sorted(after.keys() - before.keys()),
        changed=sorted(i for i in both if before[i] != after[i]),
        removed=sorted(before.keys() - after.keys()),
    )


def rollback(store: str, version: int) -> int:
    """Makes a new version with the documents of an old one; returns it.

    Nothing is embedded: the old chunks are written again. What others write while this runs stays.

    Raises:
        NotFoundError: The version does not exist (any longer).
        ArtifactMismatch: It was embedded with another embedder.
        ConcurrentWrite: Other writers kept committing first.
    """
    kb = KnowledgeBase.open(store)
    old = KnowledgeBase.open(store, version)
    check_embedder(kb.embedder, old.embedder, f"version {kb.version}")
    change = diff(store, kb.version, version)
    rows = old.read_chunks_of([*change.added, *change.changed])
    return commit_rows(kb, rows, change.removed)


def tag(store: str, name: str, version: int | None = None) -> int:
    """Gives a version (the latest by default) a name, which also protects it from `compact`.

    Returns:
        The version.

    Raises:
        InputError: The name is no tag, or is taken by another version.
        NotFoundError: There is no such version.
    """
    if not _TAG.fullmatch(name):
        raise InputError(f"tag {name!r}: expected a-z, then a-z 0-9 . _ -, at most 64 characters")
    dataset = open_table(store, version)
    taken = dataset.tags.list().get(name)
    if taken and int(taken["version"]) != dataset.version:
        raise InputError(f"tag {name!r} is version {taken['version']}; remove it first")
    if not taken:
        dataset.tags.create(name, dataset.version)
    return int(dataset.version)


def untag(store: str, name: str) -> None:
    """Removes a tag; the version stays.

    Raises:
        NotFoundError: There is no such tag.
    """
    version_of(store, name if not name.isdigit() else f"#{name}")
    open_table(store).tags.delete(name)


@dataclass(frozen=True)
class Compacted:
    """What a compaction did."""

    versions_removed: int
    bytes_freed: int
    kept: list[int]
    """Versions that are left, oldest first."""


def compact(store: str, keep: int, older_than: timedelta) -> Compacted:
    """Joins small files and deletes old versions.

    Kept are the newest `keep` versions, those younger than `older_than`, tagged ones, and those
    that adapters were trained from: what has changed since can then still be told.

    Raises:
        InputError: `keep` is below 1.
    """
    if keep < 1:
        raise InputError(f"keep={keep}: expected at least 1")
    rewrite(store)
    dataset = open_table(store)
    wanted = _protected(store, dataset)
    wanted |= {int(item["version"]) for item in dataset.versions()[-keep:]}
    border = datetime.now() - older_than
    old = [
        int(item["version"])
        for item in dataset.versions()
        if int(item["version"]) not in wanted and item["timestamp"] < border
    ]
    return delete_versions(store, old)


def rewrite(store: str) -> None:
    """Joins small files and drops deleted rows from them; readers see the same rows."""
    dataset = open_table(store)
    dataset.optimize.compact_files(materialize_deletions=True, materialize_deletions_threshold=0.0)
    KnowledgeBase.open(store).optimize()


def delete_versions(store: str, versions: Sequence[int]) -> Compacted:
    """Deletes versions and the files that no other version needs."""
    dataset = open_table(store)
    freed = removed = 0
    if versions:
        stats = dataset.cleanup_old_versions(versions=list(versions))
        freed, removed = int(stats.bytes_removed), int(stats.old_versions)
    left = [int(item["version"]) for item in open_table(store).versions()]
    return Compacted(removed, freed, left)


def _protected(store: str, dataset: Any) -> set[int]:
    tagged = {int(tag["version"]) for tag in dataset.tags.list().values()}
    trained = {read_manifest(ref).kb_version for ref in listing(store, "adapter")}
    return tagged | {version for version in trained if version is not None} | {dataset.version}


def purge(store: str) -> Compacted:
    """Deletes every version but the latest, so that nothing deleted is left in any file.

    The full-text index is made anew, and Lance's vector index, which services build, is dropped:
    their files hold words and codes of deleted chunks.

    Raises:
        InputError: A tag holds a version, which is an old one after the index is made.
    """
    tags = open_table(store).tags.list()
    if tags:
        names = ", ".join(f"{name} (version {int(tag['version'])})" for name, tag in tags.items())
        raise InputError(f"tags hold old versions: {names}; remove them first")
    rewrite(store)
    dataset = open_table(store)
    if name := index_named(dataset, VECTOR_COLUMN):
        dataset.drop_index(name)
    create_search_index(dataset)
    dataset = open_table(store)
    old = [int(v["version"]) for v in dataset.versions() if int(v["version"]) != dataset.version]
    return delete_versions(store, old)


def holding(store: str, document_ids: Collection[str]) -> list[int]:
    """Versions that still hold any of these documents."""
    return [
        int(item["version"])
        for item in open_table(store).versions()
        if KnowledgeBase.open(store, int(item["version"])).document_hashes(document_ids)
    ]
