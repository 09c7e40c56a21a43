"""A key-value cache whose rows have lengths of their own, and come and go.

Transformers' `DynamicCache` is as long for all rows and copies itself for every token; here a row
is written in place, and memory is what the rows that are there may come to need.

Shapes: B rows, H heads of keys, C columns, D width of a head.
"""

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin


class Slots(Cache):  # type: ignore[misc]
    """Row i holds its tokens in the columns 0 to `lengths[i]` - 1 of every layer."""

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.lengths: list[int] = []
        self._rooms: list[int] = []
        self._writing: tuple[Tensor, Tensor]
        """Row and column int64 [B] of the tokens that are being written."""
        self._shown = 0

    @property
    def held(self) -> int:
        """Tokens that memory is there for."""
        return self._columns * self._rows

    def join(self, read: Cache, length: int, room: int) -> None:
        """A new last row.

        Args:
            read: A `DynamicCache` of one row with its first `length` tokens.
            length: The tokens that it has.
            room: The tokens that it may come to have.
        """
        rows = len(self.lengths) + 1
        self._rooms.append(room)
        if not self.layers:
            self.layers = [_SlotLayer(self) for _ in read.layers]
        if rows > self._rows or room > self._columns:
            self._resize(read)
        for layer, its in zip(self.layers, read.layers, strict=True):
            layer.keys[rows - 1, :, :length] = its.keys[0]
            layer.values[rows - 1, :, :length] = its.values[0]
        self.lengths.append(length)

    def leave(self, row: int) -> None:
        """The row is gone and the last one has its number; memory that is too much is given back."""
        last = len(self.lengths) - 1
        for layer in self.layers:
            layer.keys[row] = layer.keys[last]
            layer.values[row] = layer.values[last]
        for numbers in (self.lengths, self._rooms):
            numbers[row] = numbers[last]
            del numbers[last]
        if not self.lengths:
            self.layers = []
        elif 2 * last * max(self._rooms) <= self.held:
            self._resize(self)

    def begin_step(self, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
        """What the model is told when each row goes on by one token.

        Returns:
            `position_ids` int64 [B, 1] and `attention_mask` [B, 1, 1, longest], which is added to
            the scores.
        """
        at = torch.tensor(self.lengths, device=device)
        self._writing = (torch.arange(len(at), device=device), at)
        self._shown = max(self.lengths) + 1
        beyond = torch.arange(self._shown, device=device)[None] > at[:, None]
        mask = torch.zeros(beyond.shape, dtype=dtype, device=device)
        mask = mask.masked_fill_(beyond, torch.finfo(dtype).min)
        self.lengths = [length + 1 for length in self.lengths]
        return {"position_ids": at[:, None], "attention_mask": mask[:, None, None]}

    def write(self, layer: "_SlotLayer", key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, H, longest, D] with the new ones, which are [B, H, 1, D]."""
        row, column = self._writing
        layer.keys[row, :, column] = key[:, :, 0]
        layer.values[row, :, column] = value[:, :, 0]
        rows = len(row)
        return layer.keys[:rows, :, : self._shown], layer.values[:rows, :, : self._shown]

    @property
    def _rows(self) -> int:
        return len(self.layers[0].keys) if self._columns else 0

    @property
    def _columns(self) -> int:
        started = self.layers and self.layers[0].keys is not None
        return self.layers[0].keys.shape[2] if started else 0

    def _resize(self, like: Cache) -> None:
        """Room for the rows that there are; `like` has the shape and type of their keys."""
        rows, columns = len(self._rooms), max(self._rooms)
        for layer, its in zip(self.layers, like.layers, strict=True):
            layer.keys = _resized(layer.keys, rows, columns, its.keys)
            layer.values = _resized(layer.values, rows, columns, its.values)


class _SlotLayer(CacheLayerMixin):  # type: ignore[misc]
    """One layer of `Slots`."""

    is_sliding = False

    def __init__(self, slots: Slots) -> None:
        super().__init__()
        self._slots = slots
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing: rows come with `Slots.join`."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """As `Slots.write` says."""
        return self._slots.write(self, key_states, value_states)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Columns that are read, and the first of them."""
        return max(self._slots.lengths), 0

    def get_seq_length(self) -> int:
        """Tokens of the longest row, without those that are being written."""
        return max(self._slots.lengths) - 1

    def get_max_length(self) -> int:
        """No maximum of its own."""
        return -1


def _resized(x: Tensor | None, rows: int, columns: int, like: Tensor) -> Tensor:
    """Zeros [rows, H, columns, D], and of `x` what fits: masked columns must be finite."""
    new = like.new_zeros(rows, like.shape[1], columns, like.shape[3])
    if x is not None:
        both = slice(min(rows, len(x))), slice(None), slice(min(columns, x.shape[2]))
        new[both] = x[both]
    return new
