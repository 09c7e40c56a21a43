"""People's feedback on storage: one Lance table, appended to, whose version is its clock."""

from collections.abc import Sequence
from typing import Any

import lance
import pyarrow as pa

from data_pipelines.artifacts import ArtifactRef, read_manifest
from data_pipelines.new_table import create_once
from data_pipelines.stores import store_uri
from rayraft.errors import ConcurrentWrite, InputError
from rayraft.feedback import Feedback
from rayraft.provenance import utc_now
from rayraft.records import digest
from rayraft.tenants import may_learn

ATTEMPTS = 8
FEEDBACK = "feedback@"
"""In an adapter's `made_from`: the feedback version that it has learned."""

_SCHEMA = pa.schema(
    [
        ("feedback_id", pa.string()),
        ("created", pa.string()),
        ("question", pa.string()),
        ("verdict", pa.string()),
        ("answer", pa.string()),
        ("document_ids", pa.list_(pa.string())),
        ("groups", pa.list_(pa.string())),
        ("mode", pa.string()),
        ("adapter", pa.string()),
        ("kb_version", pa.int64()),
    ]
)


def add_feedback(store: str, given: Sequence[Feedback]) -> int:
    """Appends to `<store>/feedback/`; returns the version that holds it.

    Raises:
        InputError: There is nothing to add.
        ConcurrentWrite: Other writers kept committing first.
    """
    if not given:
        raise InputError("feedback: none given")
    now = utc_now()
    rows = [
        {"feedback_id": digest([now, i, one.model_dump()])[:32], "created": now, **one.model_dump()}
        for i, one in enumerate(given)
    ]
    table = pa.Table.from_pylist(rows, schema=_SCHEMA)
    if _open(store) is None:
        _create(store)
    failed: OSError | None = None
    for _ in range(ATTEMPTS):
        try:
            return int(lance.write_dataset(table, _uri(store), mode="append").version)
        except OSError as exc:
            failed = exc
    raise ConcurrentWrite(f"{_uri(store)}: {ATTEMPTS} attempts failed: {failed}")


def read_feedback(
    store: str, since: int = 0, groups: Sequence[str] | None = None
) -> tuple[list[Feedback], int]:
    """Feedback given after a version, oldest first, and the latest version; 0 if there is none.

    With `groups`, only what an adapter for these people may learn: of tenants, theirs alone.
    """
    dataset = _open(store)
    if dataset is None:
        return [], 0
    rows = _rows(dataset)
    known = _rows(lance.dataset(_uri(store), version=since)) if since else {}
    new = [Feedback.model_validate(row) for i, row in rows.items() if i not in known]
    if groups is not None:
        new = [one for one in new if may_learn(one.groups, groups)]
    return new, int(dataset.version)


def forget_documents(store: str, document_ids: Sequence[str]) -> int:
    """Deletes feedback that names any of these documents; returns how much of it there was."""
    dataset = _open(store)
    if dataset is None:
        return 0
    before = int(dataset.count_rows())
    wanted = set(document_ids)
    gone = [
        row["feedback_id"]
        for row in dataset.to_table(columns=["feedback_id", "document_ids"]).to_pylist()
        if wanted & set(row["document_ids"] or ())
    ]
    if gone:
        listed = ",".join(f"'{feedback_id}'" for feedback_id in gone)  # hexadecimal digests
        dataset.delete(f"feedback_id IN ({listed})")
    return before - int(lance.dataset(_uri(store)).count_rows())


def heard_until(adapter: ArtifactRef | None) -> int:
    """The feedback version up to which an adapter has learned; 0 if none."""
    made_from = read_manifest(adapter).made_from if adapter else []
    versions = [int(name.removeprefix(FEEDBACK)) for name in made_from if name.startswith(FEEDBACK)]
    return max(versions, default=0)


def _open(store: str) -> Any:
    """The table, None if there is none."""
    try:
        return lance.dataset(_uri(store))
    except (ValueError, OSError) as exc:
        if "not found" not in str(exc):
            raise InputError(f"store {store!r}: {exc}") from exc
        return None


def _create(store: str) -> None:
    try:
        create_once(_uri(store), _SCHEMA)
    except OSError as exc:
        raise InputError(f"store {store!r}: {exc}") from exc


def _rows(dataset: Any) -> dict[str, dict[str, Any]]:
    table = dataset.to_table().sort_by([("created", "ascending")])
    fields = [name for name in _SCHEMA.names if name not in ("feedback_id", "created")]
    return {row["feedback_id"]: {f: row[f] for f in fields} for row in table.to_pylist()}


def _uri(store: str) -> str:
    return f"{store_uri(store)}/feedback"
