"""Reranking: a cross-encoder reads a question together with each passage and scores the pair.

It knows nothing of search: texts in, scores out. Any one-label sequence classification model of
Transformers will do; the shipped one, and those trained from it, need no Transformers.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from torch import Tensor

from rayraft.errors import InputError
from rayraft.mini import RERANKER_TYPE
from rayraft.mini.cross_encoder import MiniCrossEncoder
from rayraft.models.base_files import MINI_RERANKER, base_folder
from rayraft.models.batching import length_batches
from rayraft.models.dtypes import AUTO, torch_dtype
from rayraft.models.model_manifest import verify_model

FloatArray = npt.NDArray[np.float32]

BATCH_TOKENS = 4096
"""Padded tokens per forward pass, as for the embedder."""
MAX_TOKENS = 256
"""Of a question with its passage; the passage's end is cut off."""


class CrossEncoder(Protocol):
    """What scores pairs."""

    def encode(self, question: str, passages: Sequence[str]) -> list[list[int]]:
        """The token ids of the question with each passage."""
        ...

    def scores(self, pairs: Sequence[list[int]]) -> Tensor:
        """float32 [n]: of pairs that `encode` made."""
        ...


class Reranker:
    """Scores passages for a question; safe to call from several threads."""

    def __init__(self, model: CrossEncoder) -> None:
        self._model = model

    @classmethod
    def load(
        cls, name: str = MINI_RERANKER, threads: int | None = None, dtype: str = AUTO
    ) -> "Reranker":
        """The shipped reranker, that of a folder, or of the hub.

        Args:
            name: `mini-reranker`, a folder or a model id.
            threads: Torch threads of this process; None leaves them as they are.
            dtype: Of the weights: `bfloat16`, `float16`, `float32`, or `auto`: what this CPU is
                quick at.

        Raises:
            NotFoundError: There is no such model.
            InputError: It is no cross-encoder with one score, or cannot be loaded.
            ArtifactMismatch: A file of the shipped model is not the one that was published.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        return cls(_load(name, dtype))

    @torch.inference_mode()
    def score(self, question: str, passages: Sequence[str]) -> FloatArray:
        """float32 [n]: the higher, the likelier the passage holds the answer."""
        encoded = self._model.encode(question, passages)
        scores = np.zeros(len(passages), dtype=np.float32)
        for rows in length_batches([len(ids) for ids in encoded], BATCH_TOKENS):
            scores[rows] = self._model.scores([encoded[row] for row in rows]).numpy()
        return scores


def _load(name: str, dtype: str) -> CrossEncoder:
    folder = base_folder(name)
    if name == MINI_RERANKER:
        verify_model(folder)
    if _model_type(folder) == RERANKER_TYPE:
        try:
            return MiniCrossEncoder.load(folder, torch_dtype(dtype), MAX_TOKENS)
        except (OSError, KeyError, RuntimeError, SafetensorError) as exc:
            reason = " ".join(str(exc).split())[:300]
            raise InputError(f"reranker {name!r}: cannot be loaded: {reason}") from exc
    from rayraft.models.cross_encoder import AnyCrossEncoder  # brings Transformers

    return AnyCrossEncoder.load(folder, dtype, MAX_TOKENS)


def _model_type(folder: Path) -> Any:
    """None where the configuration cannot be read, which Transformers' loader then says."""
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        return None
