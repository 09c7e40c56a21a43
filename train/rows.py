"""Encoded rows in memory, addressed by index.

Every worker holds its own copy: joining the blocks' columns copies them.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rayraft.errors import ConfigError, InputError
from train.batching import IntArray, Lengths
from train.features import IGNORED

Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Ragged:
    """Lists of different lengths in one array; list i is `values[offsets[i]:offsets[i + 1]]`."""

    values: npt.NDArray[np.int32]
    offsets: Int

    @classmethod
    def from_column(cls, column: pa.ChunkedArray) -> "Ragged":
        """The lists of an Arrow column of `list<int32>`."""
        values = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
        lengths = [np.diff(chunk.offsets.to_numpy()) for chunk in column.chunks]
        counts = np.concatenate([np.zeros(1, np.int64), *lengths])
        return cls(np.concatenate([np.zeros(0, np.int32), *values]), np.cumsum(counts))

    def padded(self, rows: Int, fill: int) -> Int:
        """The lists of `rows` as int64 [n_rows, longest], filled up at the right."""
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        out = np.full((len(rows), int(lengths.max())), fill, dtype=np.int64)
        for line, row in zip(out, rows, strict=True):
            start, end = self.offsets[row], self.offsets[row + 1]
            line[: end - start] = self.values[start:end]
        return out

    def joined(self, rows: Int) -> Int:
        """The lists of `rows` one after the other, int64 [n]."""
        parts = [self.values[self.offsets[row] : self.offsets[row + 1]] for row in rows]
        return np.concatenate(parts).astype(np.int64)


class EncodedRows:
    """Features of all rows, and batches of them."""

    def __init__(
        self, table: pa.Table, pad_token_id: int, causal: bool, packed: bool = False
    ) -> None:
        """`table` has the columns of `features.FEATURES`; `packed` is for causal models alone.

        Raises:
            InputError: There are no rows, or one without a supervised token.
            ConfigError: Rows of a sequence-to-sequence model cannot be packed.
        """
        if packed and not causal:
            raise ConfigError("packing=True: only for causal models; this one has an encoder")
        if table.num_rows == 0:
            raise InputError("training rows: none left (all longer than max_prompt_tokens?)")
        self.inputs = Ragged.from_column(table["input_ids"])
        self.labels = Ragged.from_column(table["labels"])
        self.pad_token_id, self.causal, self.packed = pad_token_id, causal, packed
        if int(self.lengths.supervised.min()) == 0:
            row = int(self.lengths.supervised.argmin())
            raise InputError(f"training row {row}: no supervised token")

    def __len__(self) -> int:
        return len(self.inputs.offsets) - 1

    @cached_property
    def lengths(self) -> Lengths:
        """Token counts of all rows."""
        counted = np.concatenate([[0], np.cumsum(self.labels.values != IGNORED)])
        target = np.diff(self.labels.offsets)
        return Lengths(
            source=np.diff(self.inputs.offsets),
            target=np.zeros_like(target) if self.causal else target,
            supervised=counted[self.labels.offsets[1:]] - counted[self.labels.offsets[:-1]],
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
