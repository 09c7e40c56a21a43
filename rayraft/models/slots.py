"""A key-value cache whose rows have lengths of their own, and come and go.

Transformers' `DynamicCache` is as long for all rows and copies itself for every token; here a row
is written in place, and memory is what the rows that are there may come to need.

Shapes: B rows, H heads of keys, C columns, D width of a head.
"""

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin


class Slots(Cache):
    """Row i holds its tokens in the columns 0 to `lengths[i]` - 1 of every layer."""

    def __init__(self) -> None:
        super().__init__(layers=[])
        self._own: list[_SlotLayer] = []
        self.lengths: list[int] = []
        self._rooms: list[int] = []
        self._writing: tuple[Tensor, Tensor]
        """Row and column int64 [B] of the tokens that are being written."""
        self._shown = 0

    @property
    def held(self) -> int:
        """Tokens that memory is there for."""
        return self._columns * self._rows

    def join(self, read: Any, length: int, room: int) -> None:
        """A new last row.

        Args:
            read: A `DynamicCache` of one row with its first `length` tokens.
            length: The tokens that it has.
            room: The tokens that it may come to have.
        """
        rows = len(self.lengths) + 1
        self._rooms.append(room)
        if not self._own:
            self._own = [_SlotLayer(self, its.keys, its.values) for its in read.layers]
            self.layers = list(self._own)
        if rows > self._rows or room > self._columns:
            self._resize()
        for layer, its in zip(self._own, read.layers, strict=True):
            layer.key[rows - 1, :, :length] = its.keys[0]
            layer.value[rows - 1, :, :length] = its.values[0]
        self.lengths.append(length)

    def leave(self, row: int) -> None:
        """The row is gone, the last has its number; memory beyond twice the need is given back."""
        last = len(self.lengths) - 1
        for layer in self._own:
            layer.key[row] = layer.key[last]
            layer.value[row] = layer.value[last]
        for numbers in (self.lengths, self._rooms):
            numbers[row] = numbers[last]
            del numbers[last]
        if not self.lengths:
            self._own, self.layers = [], []
        elif 2 * last * max(self._rooms) <= self.held:
            self._resize()

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
        layer.key[row, :, column] = key[:, :, 0]
        layer.value[row, :, column] = value[:, :, 0]
        rows = len(row)
        return layer.key[:rows, :, : self._shown], layer.value[:rows, :, : self._shown]

    @property
    def _rows(self) -> int:
        return self._own[0].key.shape[0] if self._own else 0

    @property
    def _columns(self) -> int:
        return self._own[0].key.shape[2] if self._own else 0

    def _resize(self) -> None:
        """Room for the rows that there are."""
        rows, columns = len(self._rooms), max(self._rooms)
        for layer in self._own:
            layer.key = _resized(layer.key, rows, columns)
            layer.value = _resized(layer.value, rows, columns)


class _SlotLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """One layer of `Slots`."""

    is_sliding = False

    def __init__(self, slots: Slots, key: Tensor, value: Tensor) -> None:
        """`key` and `value` [1, H, L, D]: what they are like."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._slots = slots
        self.key = key[:0]
        self.value = value[:0]
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


def _resized(x: Tensor, rows: int, columns: int) -> Tensor:
    """Zeros [rows, H, columns, D], and of `x` what fits: masked columns must be finite."""
    new = x.new_zeros(rows, x.shape[1], columns, x.shape[3])
    both = slice(min(rows, len(x))), slice(None), slice(min(columns, x.shape[2]))
    new[both] = x[both]
    return new
