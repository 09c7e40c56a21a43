"""Encoded rows addressed by index, and batches of them.

Every worker can reach every row, because all compute the same plan of them. Token ids stand in a
file of the worker's own that is mapped into memory; held are two numbers a row.
"""

import hashlib
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from rayraft.errors import ConfigError, InputError
from train.batching import IntArray, Lengths
from train.features import IGNORED
from train.ragged import RaggedFile


class EncodedRows:
    """Features of all rows, and batches of them."""

    def __init__(
        self, tables: Iterable[pa.Table], pad_token_id: int, causal: bool, packed: bool = False
    ) -> None:
        """Reads all tables, one at a time.

        Args:
            tables: With the columns of `features.FEATURES`.
            pad_token_id: Fills short rows up.
            causal: Whether a row's labels are as long as its input.
            packed: Rows stand side by side; for causal models alone.

        Raises:
            InputError: There are no rows, or one without a supervised token.
            ConfigError: Rows of a sequence-to-sequence model cannot be packed.
        """
        if packed and not causal:
            raise ConfigError("packing=True: only for causal models; this one has an encoder")
        inputs, labels = RaggedFile(), RaggedFile()
        supervised = [np.zeros(0, np.int64)]
        for table in tables:
            inputs.add(table["input_ids"])
            labels.add(table["labels"])
            supervised += [_supervised(chunk) for chunk in table["labels"].chunks]
        self.inputs, self.labels = inputs.mapped(), labels.mapped()
        self._supervised = np.concatenate(supervised)
        self.pad_token_id, self.causal, self.packed = pad_token_id, causal, packed
        if not len(self):
            raise InputError("training rows: none left (all longer than max_prompt_tokens?)")
        if int(self._supervised.min()) == 0:
            row = int(self._supervised.argmin())
            raise InputError(f"training row {row}: no supervised token")

    def __len__(self) -> int:
        return len(self.inputs.offsets) - 1

    @cached_property
    def lengths(self) -> Lengths:
        """Token counts of all rows."""
        target = self.labels.lengths
        return Lengths(
            source=self.inputs.lengths,
            target=np.zeros_like(target) if self.causal else target,
            supervised=self._supervised,
            packed=self.packed,
        )

    def tokens(self, rows: IntArray) -> int:
        """Tokens of these rows without padding."""
        return int(self.lengths.source[rows].sum() + self.lengths.target[rows].sum())

    def batch(self, rows: IntArray) -> dict[str, Any]:
        """`input_ids`, `attention_mask` and `labels`, int64 [n_rows, longest] each.

        Packed: `input_ids`, `position_ids` and `labels`, int64 [1, n_tokens]. Positions begin at 0
        in every row, by which Transformers keeps attention within a row; it does so only without a
        mask and without a cache.
        """
        if self.packed:
            return self._side_by_side(rows)
        input_ids = self.inputs.padded(rows, self.pad_token_id)
        positions = np.arange(input_ids.shape[1])
        return {
            "input_ids": input_ids,
            "attention_mask": (positions < self.lengths.source[rows][:, None]).astype(np.int64),
            "labels": self.labels.padded(rows, IGNORED),
        }

    def _side_by_side(self, rows: IntArray) -> dict[str, Any]:
        sizes = self.lengths.source[rows]
        positions = np.concatenate([np.arange(size) for size in sizes])
        labels = self.labels.joined(rows)
        labels[positions == 0] = IGNORED  # nothing in the row before foretells it
        return {
            "input_ids": self.inputs.joined(rows)[None],
            "position_ids": positions[None].astype(np.int64),
            "labels": labels[None],
        }

    def digest(self) -> str:
        """Hex sha256 over all tokens in their order."""
        total = hashlib.sha256()
        for array in (self.inputs.values, self.inputs.offsets, self.labels.values):
            total.update(np.ascontiguousarray(array).data)
        return total.hexdigest()


def _supervised(labels: pa.ListArray) -> IntArray:
    """Of each list, how many labels the loss counts; int64 [n]."""
    counts = np.concatenate([[0], np.cumsum(labels.flatten().to_numpy() != IGNORED)])
    ends = labels.offsets.to_numpy() - labels.offsets[0].as_py()
    per_list: IntArray = np.diff(counts[ends])
    return per_list
