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


class MemoryIndex:
    """Not safe for use while `apply` runs; the owner takes turns."""

    def __init__(self, dim: int) -> None:
        self.row_ids: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        """int64 [n_chunks]: Lance row ids."""
        self._filter = RowFilter()
        self._dense = _FAISS.IndexFlatIP(dim)  # exact; on removal the others keep their order
        self._texts: pa.Table | None = None
        self._positions: dict[str, int] = {}

    @classmethod
    def of(cls, kb: KnowledgeBase) -> "MemoryIndex":
        """The index of all chunks of a version."""
        index = cls(kb.embedder.dim)
        index.apply(kb.read_chunks([*_PASSAGE_COLUMNS, "acl", "embedding", ROW_ID]), [])
        return index

    def apply(self, upserted: pa.Table, removed_chunk_ids: Sequence[str]) -> None:
        """Makes the rows those of the next version."""
        outdated = [*removed_chunk_ids, *upserted["chunk_id"].to_pylist()]
        self._drop([self._positions[item] for item in outdated if item in self._positions])
        self._dense.add(vector_matrix(upserted["embedding"]))
        self._filter.append(upserted.select(_FILTER_COLUMNS).to_pylist())
        row_ids = upserted[ROW_ID].to_numpy().astype(np.int64)
        self.row_ids = np.concatenate([self.row_ids, row_ids])
        kept = [] if self._texts is None else [self._texts]
        texts = pa.concat_tables([*kept, upserted.select(_PASSAGE_COLUMNS)])
        self._texts = texts.combine_chunks()  # taking rows from many small pieces is slow
        ids = self._texts["chunk_id"].to_pylist()
        self._positions = {chunk_id: position for position, chunk_id in enumerate(ids)}

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
        if self._texts is None or not len(self.row_ids):
            return []
        params = None
        if mask is not None:
            bits = np.packbits(mask, bitorder="little")
            params = _FAISS.SearchParameters(sel=_FAISS.IDSelectorBitmap(bits))
        scores, positions = self._dense.search(vector[None, :], k, params=params)
        found = positions[0] >= 0  # fewer than k: the rest is -1
        ids = self._texts["chunk_id"].take(positions[0][found]).to_pylist()
        hits = zip(ids, scores[0][found].tolist(), strict=True)
        return sorted(hits, key=lambda hit: (-hit[1], hit[0]))

    def read(self, chunk_ids: Sequence[str]) -> list[dict[str, Any]]:
        """The chunks as fields of `Passage`, in the order asked."""
        if self._texts is None or not chunk_ids:
            return []
        positions = [self._positions[item] for item in chunk_ids]
        rows: list[dict[str, Any]] = self._texts.take(positions).to_pylist()
        for row in rows:
            row["metadata"] = json.loads(row["metadata"])
            row["updated_in"] = row.pop(UPDATED_IN)
        return rows

    def _drop(self, positions: list[int]) -> None:
        if not positions or self._texts is None:
            return
        mask = np.ones(len(self.row_ids), dtype=np.bool_)
        mask[positions] = False
        self._dense.remove_ids(_FAISS.IDSelectorBatch(np.array(positions, dtype=np.int64)))
        self._filter.keep(mask)
        self.row_ids = self.row_ids[mask]
        self._texts = self._texts.filter(pa.array(mask))
