"""Vectors of texts that have none yet: made here or on Ray, and on storage soon after."""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from data_pipelines.config import EmbeddingConfig
from data_pipelines.embedders import load_embedder
from data_pipelines.embedding_staging import StagedVectors
from data_pipelines.known_vectors import FloatArray, KnownVectors, text_key
from data_pipelines.progress import Advance


@dataclass(frozen=True)
class VectorMaker:
    """One run's way to vectors."""

    embedder: str
    settings: EmbeddingConfig
    staged: StagedVectors
    advance: Advance
    start_ray: Callable[[], None]

    def vectors(self, texts: Sequence[str], known: KnownVectors) -> FloatArray:
        """float32 [n, dim]; what is not known is embedded, staged, and known from now on."""
        keys = [text_key(text) for text in texts]
        missing = known.missing(keys)
        done = 0
        for places, vectors in self._embed([texts[place] for place in missing]):
            batch = [keys[missing[place]] for place in places]
            known.add(batch, vectors)
            self.staged.add(batch, vectors)
            done += len(batch)
            self.advance(done, len(missing))
        if self._on_ray(len(missing)):
            self.staged.flush()
        return known.take(keys)

    def _on_ray(self, chunks: int) -> bool:
        return chunks > self.settings.in_process_chunks

    def _embed(self, texts: list[str]) -> Iterator[tuple[list[int], FloatArray]]:
        if not texts:
            return
        if self._on_ray(len(texts)):
            self.start_ray()
            from data_pipelines import ingest_ray

            yield from ingest_ray.embed(texts, self.embedder, self.settings)
            return
        model = load_model(self.embedder)
        size = self.settings.batch_chunks
        for start in range(0, len(texts), size):
            batch = texts[start : start + size]
            yield list(range(start, start + len(batch))), model.embed(batch)


@functools.lru_cache(maxsize=1)
def load_model(embedder: str) -> Any:
    """The embedder in this process; loaded once."""
    return load_embedder(embedder)
