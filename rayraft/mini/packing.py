"""Padding-free computation: linear layers see real tokens only, attention sees the padded batch.

In a batch of passages of unequal length a third of the positions are padding, in a batch of short
answers half of them; linear layers, where nearly all the time goes, need not compute those.

Shapes: B rows, W width of the padded batch, N real tokens, D width of the model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MASKED = -1e4
"""Score of what must not be chosen: its probability is 0, and nothing becomes infinite."""


_WIDTH_STEP = 16
_WIDTH_STEP_FROM = 512
"""Padded positions; fewer are read so quickly that padding and its mask would cost more."""


def attention_width(longest: int, rows: int) -> int:
    """Width of a padded batch of so many rows whose longest has `longest` tokens.

    The fused attention of CPUs takes up to twice as long in bf16 where a width is no multiple of
    16: 9.6 ms at 24 x 12 heads x 170 x 32, and 5.9 at 176 (torch 2.13, AMX, two threads). Gradients
    are not computed by it.
    """
    if torch.is_grad_enabled() or longest * rows < _WIDTH_STEP_FROM:
        return longest
    return -(-longest // _WIDTH_STEP) * _WIDTH_STEP


_ANY_COUNT_TO = 64
_COUNTS_AN_OCTAVE = 16


def round_count(count: int) -> int:
    """Rows that a matrix product on a CPU should have instead of `count`: at most a 16th more.

    oneDNN compiles a kernel for every number of rows that it has not met, and keeps 1,024 of them.
    Compiling takes 3 to 10 ms where the product itself takes 0.4 to 0.9 (500 rows, 384 and 1,536
    columns in bf16; torch 2.13, AMX, one thread), and hardly a text has as many tokens as another.
    """
    if count <= _ANY_COUNT_TO:
        return count
    step = (1 << (count - 1).bit_length()) // (2 * _COUNTS_AN_OCTAVE)
    return -(-count // step) * step


class _Gather(torch.autograd.Function):
    """`index_select` along dimension 0 whose index has no duplicates.

    The general backward adds up gradients of equal indices, which costs much more than this copy.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, index_N: Tensor, spare: int) -> Tensor:
        ctx.save_for_backward(index_N)
        ctx.length = x.shape[0]
        count = len(index_N)
        out = x.new_empty(count + spare, *x.shape[1:])
        torch.index_select(x, 0, index_N, out=out[:count])
        out[count:] = 0
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (index_N,) = ctx.saved_tensors
        return _scatter(grads[0][: len(index_N)], index_N, ctx.length), None, None


class _Scatter(torch.autograd.Function):
    """The inverse: rows of zeros, and `x` at `index_N`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index_N: Tensor, length: int) -> Tensor:
        ctx.save_for_backward(index_N)
        return _scatter(x, index_N, length)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (index_N,) = ctx.saved_tensors
        return grads[0].index_select(0, index_N), None, None


def _scatter(x: Tensor, index_N: Tensor, length: int) -> Tensor:
    return x.new_zeros(length, *x.shape[1:]).index_copy_(0, index_N, x)


@dataclass(frozen=True)
class Layout:
    """Where N real tokens stand in a padded batch of `rows` x `width` positions."""

    rows: int
    width: int
    index_N: Tensor | None
    """Flat positions, int64 [N], without duplicates; None if all positions are real, in order."""
    spare: int = 0
    """Rows of nothing after the N, which `widen` adds and `narrow` takes off (`round_count`)."""

    @classmethod
    def of(cls, real_BW: Tensor | None, rows: int, width: int) -> Self:
        """The layout of a batch with real tokens where `real_BW` is True (None: everywhere)."""
        if real_BW is None or bool(real_BW.all()):
            return cls(rows, width, None)
        return cls(rows, width, real_BW.flatten().nonzero().squeeze(1))

    @property
    def count(self) -> int:
        """N."""
        return self.rows * self.width if self.index_N is None else len(self.index_N)

    def rounded(self, device: torch.device) -> Self:
        """The same with as many spare rows as make products quick on that device."""
        spare = round_count(self.count) - self.count if device.type == "cpu" else 0
        return replace(self, spare=spare)

    def widen(self, x_ND: Tensor) -> Tensor:
        """[N, D] -> [N + spare, D], with zeros."""
        return F.pad(x_ND, (0, 0, 0, self.spare)) if self.spare else x_ND

    def narrow(self, x_ND: Tensor) -> Tensor:
        """[N + spare, ...] -> [N, ...]."""
        return x_ND[: self.count] if self.spare else x_ND

    def pack(self, x_BWD: Tensor) -> Tensor:
        """[B, W, ...] -> the real tokens [N + spare, ...]."""
        flat = x_BWD.flatten(0, 1)
        if self.index_N is None:
            return self.widen(flat)
        packed: Tensor = _Gather.apply(flat, self.index_N, self.spare)  # type: ignore[no-untyped-call]
        return packed

    def pad(self, x_ND: Tensor) -> Tensor:
        """[N + spare, ...] -> [B, W, ...] with zeros at the padding."""
        x_ND = self.narrow(x_ND)
        if self.index_N is not None:
            length = self.rows * self.width
            x_ND = _Scatter.apply(x_ND, self.index_N, length)  # type: ignore[no-untyped-call]
        return x_ND.view(self.rows, self.width, *x_ND.shape[1:])

    def mask(self, device: torch.device) -> Tensor | None:
        """Bool [B, 1, 1, W] for attention; None if all positions are real (the faster kernel)."""
        if self.index_N is None:
            return None
        real = torch.zeros(self.rows * self.width, dtype=torch.bool, device=device)
        real[self.index_N] = True
        return real.view(self.rows, 1, 1, self.width)


def project(linear: nn.Module, x: Tensor) -> Tensor:
    """`linear` of x [..., S, D], of which it sees a few more than S for `round_count`.

    The other dimensions stay: adapters are chosen by the first.
    """
    *leading, length, _ = x.shape
    sets = math.prod(leading)
    spare = -(-round_count(sets * length) // sets) - length if x.device.type == "cpu" else 0
    out: Tensor = linear(F.pad(x, (0, 0, 0, spare)) if spare else x)
    return out[..., :length, :]


@dataclass(frozen=True)
class Source:
    """The real tokens of a batch and their two layouts: as rows, and as segments."""

    ids_N: Tensor
    segment_N: Tensor
    offset_N: Tensor
    rows: Layout
    segments: Layout

    @classmethod
    def of_segments(cls, ids: Sequence[Sequence[int]]) -> Self:
        """Rows of one segment each."""
        lengths = torch.tensor([len(each) for each in ids])
        width = attention_width(int(lengths.max()), len(ids))
        real = torch.arange(width) < lengths[:, None]
        layout = Layout.of(real, len(ids), width)
        segment_N, offset_N = real.nonzero().unbind(1)
        ids_N = torch.tensor([token for each in ids for token in each])
        return cls(ids_N, segment_N, offset_N, layout, layout)
