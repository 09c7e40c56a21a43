"""Cross-encoders of Transformers: any sequence classification model of one label."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from rayraft.errors import InputError
from rayraft.models.base import load_base
from rayraft.models.rendering import encode_pairs


class AnyCrossEncoder:
    """Scores a question with each of its passages."""

    def __init__(self, model: Any, tokenizer: Any, max_tokens: int) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens

    @classmethod
    def load(cls, folder: Path, dtype: str, max_tokens: int) -> Self:
        """The model in a folder.

        Raises:
            InputError: It is no cross-encoder with one score, or cannot be loaded.
        """
        base = load_base(str(folder), dtype)
        labels = base.model.config.num_labels
        if not type(base.model).__name__.endswith("ForSequenceClassification") or labels != 1:
            raise InputError(f"reranker {folder}: not a sequence classification model of one label")
        base.model.train(False)
        return cls(base.model, base.tokenizer, max_tokens)

    def encode(self, question: str, passages: Sequence[str]) -> list[list[int]]:
        """The token ids of the question with each passage."""
        return encode_pairs(self._tokenizer, question, passages, self._max_tokens)

    def scores(self, pairs: Sequence[list[int]]) -> Tensor:
        """float32 [n]: of pairs that `encode` made."""
        batch = self._tokenizer.pad({"input_ids": list(pairs)}, return_tensors="pt")
        logits: Tensor = self._model(**batch).logits
        return logits[:, 0].float()
