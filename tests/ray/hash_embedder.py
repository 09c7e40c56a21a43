"""An embedder without a model: texts that share words are close. Fast, and the same everywhere."""

import hashlib
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rayraft.models.spec import EmbedderSpec

SPEC = EmbedderSpec(name="hash", digest="0" * 64, dim=64, max_tokens=512)


class HashEmbedder:
    """Implements what ingest and retrieval ask of an embedder; a token is a word."""

    def __init__(self, spec: EmbedderSpec = SPEC) -> None:
        self.spec = spec

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        vectors = np.zeros((len(texts), self.spec.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in ["", *re.findall(r"\w+", text.lower())]:
                code = hashlib.sha256(word.encode()).digest()
                vectors[row] += np.frombuffer(code + code, dtype=np.int8).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    def count_tokens(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        return np.array([len(self.token_spans(text)) for text in texts], dtype=np.int64)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in re.finditer(r"\S+", text)]
