"""Embeddings by the text that was embedded, so that no text is embedded twice."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_pipelines.schema import embedded_text, vector_matrix

FloatArray = npt.NDArray[np.float32]

KEY_BYTES = 16


def text_key(text: str) -> bytes:
    """Digest of a text as it is embedded."""
    return hashlib.blake2b(text.encode(), digest_size=KEY_BYTES).digest()


def embedded_texts(rows: pa.Table) -> list[str]:
    """What is embedded for each chunk row."""
    titles, texts = rows["title"].to_pylist(), rows["text"].to_pylist()
    return [embedded_text(*pair) for pair in zip(titles, texts, strict=True)]


class KnownVectors:
    """Vectors of one embedder by `text_key`; holds them in memory."""

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._places: dict[bytes, int] = {}
        self._parts: list[FloatArray] = []
        self._count = 0

    def __contains__(self, key: bytes) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def add(self, keys: Sequence[bytes], vectors: FloatArray) -> None:
        """Keeps float32 [n, dim] under n keys; a key that is known keeps its first vector.

        Raises:
            ValueError: Not one vector of `dim` numbers a key.
        """
        if vectors.shape != (len(keys), self._dim):
            raise ValueError(f"vectors {vectors.shape} for {len(keys)} keys of dim={self._dim}")
        for place, key in enumerate(keys, start=self._count):
            self._places.setdefault(key, place)
        self._parts.append(vectors)
        self._count += len(keys)

    def add_rows(self, rows: pa.Table) -> None:
        """Keeps the vectors of stored rows with columns `search_text` and `embedding`."""
        keys = [text_key(text) for text in rows["search_text"].to_pylist()]
        self.add(keys, vector_matrix(rows["embedding"]))

    def missing(self, keys: Iterable[bytes]) -> list[int]:
        """Places of the unknown keys, of equal ones the first."""
        seen: set[bytes] = set()
        places = []
        for place, key in enumerate(keys):
            if key not in self._places and key not in seen:
                seen.add(key)
                places.append(place)
        return places

    def take(self, keys: Sequence[bytes]) -> FloatArray:
        """float32 [n, dim] of known keys."""
        if len(self._parts) != 1:
            self._parts = [np.concatenate([np.zeros((0, self._dim), np.float32), *self._parts])]
        vectors: FloatArray = self._parts[0][[self._places[key] for key in keys]]
        return vectors.reshape(-1, self._dim)
