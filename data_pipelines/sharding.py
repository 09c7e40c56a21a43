"""Which part of the chunks a retriever shard holds: whole documents, by a hash of their ids."""

import zlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Shard:
    """Part `number` of `count`."""

    number: int = 0
    count: int = 1

    def has(self, document_id: str) -> bool:
        """Whether the document is in this part; the same on every machine and in every version."""
        return zlib.crc32(document_id.encode()) % self.count == self.number

    def part_of(self, chunks: pa.Table) -> pa.Table:
        """The rows of this part's documents."""
        if self.count == 1:
            return chunks
        coded = chunks["document_id"].combine_chunks().dictionary_encode()
        inside = np.array([self.has(i) for i in coded.dictionary.to_pylist()], dtype=np.bool_)
        if not len(inside):
            return chunks
        return chunks.filter(pa.array(inside[coded.indices.to_numpy()]))


ALL = Shard()
