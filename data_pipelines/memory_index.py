"""The chunks of one knowledge base version in memory: texts, filters and the dense index.

All are kept row by row alike, so a position is the same chunk in each of them.
"""

import json
from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_pipelines.filters import Mask, RowFilter, Where
from data_pipelines.kb import KnowledgeBase
from data_pipelines.kb_table import ROW_ID, UPDATED_IN
from data_pipelines.schema import vector_matrix

_FAISS: Any = faiss  # its type stubs know the C++ signatures, not those of its Python layer
_PASSAGE_COLUMNS = [
    *("chunk_id", "document_id", "title", "text", "start", "end", "metadata"),
    UPDATED_IN,
]
_FILTER_COLUMNS = ["document_id", "title", "metadata", "acl"]


class ChunkRows:
    """The chunks' texts and row ids; never changed, so that one who reads them need not hurry."""

    def __init__(self, texts: pa.Table, row_ids: npt.NDArray[np.int64]) -> None:
        self.texts = texts
        self.row_ids = row_ids
        """int64 [n_chunks]: Lance row ids."""
        ids = texts["chunk_id"].to_pylist()
        self.positions = {chunk_id: position for position, chunk_id in enumerate(ids)}

    def read(self, chunk_ids: Sequence[str]) -> list[dict[str, Any]]:
        """The chunks as fields of `Passage`, in the order asked."""
        if not chunk_ids:
            return []
        positions = [self.positions[item] for item in chunk_ids]
        rows: list[dict[str, Any]] = self.texts.take(positions).to_pylist()
        for row in rows:
            row["metadata"] = json.loads(row["metadata"])
            row["updated_in"] = row.pop(UPDATED_IN)
        return rows


class MemoryIndex:
    """Not safe for use while `apply` runs, except for `rows` taken before it."""

    def __init__(self, dim: int, schema: pa.Schema) -> None:
        no_texts = schema.empty_table().select(_PASSAGE_COLUMNS)
        self.rows = ChunkRows(no_texts, np.zeros(0, dtype=np.int64))
        """Replaced as a whole by `apply`."""
        self._filter = RowFilter()
        self._dense = _FAISS.IndexFlatIP(dim)  # exact; on removal the others keep their order

    @classmethod
    def of(cls, kb: KnowledgeBase) -> "MemoryIndex":
        """The index of all chunks of a version."""
        chunks = kb.read_chunks([*_PASSAGE_COLUMNS, "acl", "embedding", ROW_ID])
        index = cls(kb.embedder.dim, chunks.schema)
        index.apply(chunks, [])
        return index

    def apply(self, upserted: pa.Table, removed_chunk_ids: Sequence[str]) -> None:
        """Makes the rows those of the next version."""
        outdated = [*removed_chunk_ids, *upserted["chunk_id"].to_pylist()]
        positions = self.rows.positions
        kept = self._kept([positions[item] for item in outdated if item in positions])
        self._dense.add(vector_matrix(upserted["embedding"]))
        self._filter.append(upserted.select(_FILTER_COLUMNS).to_pylist())
        row_ids = upserted[ROW_ID].to_numpy().astype(np.int64)
        texts = pa.concat_tables([kept.texts, upserted.select(_PASSAGE_COLUMNS)])
        # Taking rows from many small pieces is slow.
        self.rows = ChunkRows(texts.combine_chunks(), np.concatenate([kept.row_ids, row_ids]))

    def allowed(self, where: Where | None, groups: Sequence[str]) -> Mask | None:
        """Bool [n_chunks]: what may be seen; None if everything may.

        Raises:
            InputError: `where` is malformed.
        """
        mask = self._filter.mask(where, groups)
        return None if mask.all() else mask

    def nearest(
        self, vector: npt.NDArray[np.float32], k: int, mask: Mask | None
    ) -> list[tuple[str, float]]:
        """Chunk ids and cosine similarities of the true top k where `mask` holds, best first."""
        if not len(self.rows.row_ids):
            return []
        params = None
        if mask is not None:
            bits = np.packbits(mask, bitorder="little")
            params = _FAISS.SearchParameters(sel=_FAISS.IDSelectorBitmap(bits))
        scores, positions = self._dense.search(vector[None, :], k, params=params)
        found = positions[0] >= 0  # fewer than k: the rest is -1
        ids = self.rows.texts["chunk_id"].take(positions[0][found]).to_pylist()
        hits = zip(ids, scores[0][found].tolist(), strict=True)
        return sorted(hits, key=lambda hit: (-hit[1], hit[0]))

    def _kept(self, positions: list[int]) -> ChunkRows:
        """The rows without those at `positions`, which filter and dense index lose, too."""
        if not positions:
            return self.rows
        mask = np.ones(len(self.rows.row_ids), dtype=np.bool_)
        mask[positions] = False
        self._dense.remove_ids(_FAISS.IDSelectorBatch(np.array(positions, dtype=np.int64)))
        self._filter.keep(mask)
        return ChunkRows(self.rows.texts.filter(pa.array(mask)), self.rows.row_ids[mask])
