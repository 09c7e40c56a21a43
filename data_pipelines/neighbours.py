"""The chunks beside others in their documents."""

from collections.abc import Sequence

from data_pipelines.chunk_rows import RowsView
from data_pipelines.disk_index import StoredRows
from rayraft.records import Passage


def neighbours_of(
    rows: RowsView | StoredRows, chunk_ids: Sequence[str], width: int
) -> dict[str, list[Passage]]:
    """Chunk id to the `width` chunks before and after it, in the document's order."""
    hits = rows.passages(rows.slots_with("chunk_id", chunk_ids))
    documents: dict[str, list[Passage]] = {}
    for row in rows.passages(rows.slots_with("document_id", {h["document_id"] for h in hits})):
        documents.setdefault(row["document_id"], []).append(Passage(**row))
    for passages in documents.values():
        passages.sort(key=lambda passage: passage.start)
    beside = {}
    for hit in hits:
        passages = documents[hit["document_id"]]
        at = next(i for i, p in enumerate(passages) if p.chunk_id == hit["chunk_id"])
        around = passages[max(0, at - width) : at] + passages[at + 1 : at + 1 + width]
        beside[hit["chunk_id"]] = around
    return beside
