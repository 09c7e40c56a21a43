"""Reranking: a cross-encoder reads a question together with each passage and scores the pair.

It knows nothing of search: texts in, scores out. Any one-label sequence classification model of
Transformers will do; the shipped one is `rayraft.mini.MiniForSequenceClassification`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rayraft.errors import InputError
from rayraft.models.base import MINI_RERANKER, load_base
from rayraft.models.batching import length_batches
from rayraft.models.dtypes import AUTO

FloatArray = npt.NDArray[np.float32]

BATCH_TOKENS = 4096
"""Padded tokens per forward pass, as for the embedder."""
MAX_TOKENS = 256
"""Of a question with its passage; the passage's end is cut off."""


def encode_pairs(
    tokenizer: Any, question: str, passages: Sequence[str], max_tokens: int
) -> list[list[int]]:
    """The token ids of the question with each passage; a passage's end is cut off."""
    ids: list[list[int]] = tokenizer(
        [question] * len(passages), list(passages), truncation="only_second", max_length=max_tokens
    )["input_ids"]
    return ids


class Reranker:
    """Scores passages for a question; safe to call from several threads."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model = model
        self._tokenizer = tokenizer

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
            InputError: It is no cross-encoder with one score.
        """
        base = load_base(name, dtype)
        labels = base.model.config.num_labels
        if not type(base.model).__name__.endswith("ForSequenceClassification") or labels != 1:
            raise InputError(f"reranker {name!r}: not a sequence classification model of one label")
        if threads is not None:
            torch.set_num_threads(threads)
        base.model.train(False)
        return cls(base.model, base.tokenizer)

    @torch.inference_mode()
    def score(self, question: str, passages: Sequence[str]) -> FloatArray:
        """float32 [n]: the higher, the likelier the passage holds the answer."""
        encoded = encode_pairs(self._tokenizer, question, passages, MAX_TOKENS)
        scores = np.zeros(len(passages), dtype=np.float32)
        for rows in length_batches([len(ids) for ids in encoded], BATCH_TOKENS):
            batch = self._tokenizer.pad(
                {"input_ids": [encoded[row] for row in rows]}, return_tensors="pt"
            )
            scores[rows] = self._model(**batch).logits[:, 0].float().numpy()
        return scores
