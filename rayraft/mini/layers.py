"""Post-norm transformer layers as in BERT, with a key-value cache and cross-attention.

Layers work on packed real tokens; see `packing`.

Shapes: B rows, T target tokens, S source tokens, N packed tokens, D width.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rayraft.mini.packing import MASKED, Layout, project

if TYPE_CHECKING:  # an embedder has these layers, and starts in a third of the time without them
    from transformers.cache_utils import EncoderDecoderCache

    from rayraft.mini.configuration import MiniConfig

LAYER_NORM_EPS = 1e-12
"""BERT's."""


@dataclass(frozen=True)
class Sizes:
    """Those of an encoder: the part of `MiniConfig` that its layers need."""

    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    encoder_layers: int
    max_positions: int
    cls_token_id: int = 101
    dropout: float = 0.0
    layer_norm_eps: float = LAYER_NORM_EPS


EncoderConfig = Union["MiniConfig", Sizes]


class Attention(nn.Module):
    """Multi-head attention, its output projection, residual and layer norm."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.output = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def split(self, x_BSD: Tensor) -> Tensor:
        """[B, S, D] -> [B, heads, S, D / heads]."""
        rows, length, _ = x_BSD.shape
        return x_BSD.view(rows, length, self.heads, -1).transpose(1, 2)

    def forward(  # noqa: PLR0913
        self,
        x_ND: Tensor,
        layout: Layout,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        causal: bool = False,
    ) -> Tensor:
        """`key` and `value` are already split into heads; `mask` is True where attention may go."""
        query = self.split(layout.pad(self.query(x_ND)))
        mixed = attend(query, key, value, mask, causal and mask is None)
        mixed_ND = layout.pack(mixed.transpose(1, 2).flatten(2))
        out_ND: Tensor = self.norm(x_ND + self.dropout(self.output(mixed_ND)))
        return out_ND

    def own_keys(self, x_ND: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
        """Keys and values of the tokens themselves, [B, heads, T, D / heads]."""
        return (
            self.split(layout.pad(self.key(x_ND))),
            self.split(layout.pad(self.value(x_ND))),
        )


class FeedForward(nn.Module):
    """GELU feed-forward block with residual and layer norm."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.hidden_size, config.intermediate_size)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x_ND: Tensor) -> Tensor:
        """[N, D] -> [N, D]."""
        up = self.up(x_ND)
        # In place where no gradient asks for the input: the widest tensor of all is not made twice.
        up = F.gelu(up) if torch.is_grad_enabled() else torch.ops.aten.gelu_(up)
        out_ND: Tensor = self.norm(x_ND + self.dropout(self.down(up)))
        return out_ND


class EncoderLayer(nn.Module):
    """One BERT layer."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.ffn = FeedForward(config)

    def forward(self, x_ND: Tensor, layout: Layout, mask: Tensor | None) -> Tensor:
        """`mask` is the layout's own, made once for all layers."""
        key, value = self.attention.own_keys(x_ND, layout)
        out_ND: Tensor = self.ffn(self.attention(x_ND, layout, key, value, mask))
        return out_ND


class DecoderLayer(nn.Module):
    """Causal self-attention, cross-attention into the encoder's states, feed-forward."""

    def __init__(self, config: "MiniConfig", layer_index: int) -> None:
        super().__init__()
        self.layer_index = layer_index
        self.attention = Attention(config)
        self.cross = Attention(config)
        self.ffn = FeedForward(config)

    def forward(  # noqa: PLR0913
        self,
        x_ND: Tensor,
        layout: Layout,
        states_BSD: Tensor,
        source_mask: Tensor | None,
        target_mask: Tensor | None,
        cache: "EncoderDecoderCache | None",
    ) -> Tensor:
        """`target_mask` None means plain causal attention over the T tokens given.

        `states_BSD` are of each row's source, or one source for all rows.
        """
        own, cross = self.attention, self.cross
        key, value = own.own_keys(x_ND, layout)
        if cache is not None:
            key, value = cache.self_attention_cache.update(key, value, self.layer_index)
        x_ND = own(x_ND, layout, key, value, target_mask, causal=layout.width > 1)
        key, value = self.read_source(states_BSD, cache)
        # To a source that all rows have in common they are one row, without padding.
        reading = layout if len(key) == layout.rows else Layout.of(None, 1, len(x_ND))
        out_ND: Tensor = self.ffn(cross(x_ND, reading, key, value, source_mask))
        return out_ND

    def read_source(
        self, states_BSD: Tensor, cache: "EncoderDecoderCache | None"
    ) -> tuple[Tensor, Tensor]:
        """The source's keys and values [B, heads, S, D / heads], which a cache keeps."""
        cross = self.cross
        if cache is not None and cache.is_updated.get(self.layer_index):
            layer: Any = cache.cross_attention_cache.layers[self.layer_index]
            return layer.keys, layer.values
        key = cross.split(project(cross.key, states_BSD))
        value = cross.split(project(cross.value, states_BSD))
        if cache is not None:
            key, value = cache.cross_attention_cache.update(key, value, self.layer_index)
            cache.is_updated[self.layer_index] = True
        return key, value


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """Attention output [B, heads, T, D / heads]; `mask` is True where attention may go."""
    if not (query.device.type == "cpu" and torch.is_grad_enabled()):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
    # The fused kernel's backward on CPU is slow for small heads: 57 ms against 25 ms for these
    # lines at 8 x 12 heads x 180 x 32 in bf16 on one core (torch 2.13).
    scores = torch.matmul(query * query.shape[-1] ** -0.5, key.transpose(-1, -2))
    if causal:
        allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        mask = allowed if mask is None else mask & allowed
    if mask is not None:
        scores = scores.masked_fill(~mask, MASKED)
    return torch.matmul(scores.softmax(-1), value)


def padding_mask(mask_BS: Tensor) -> Tensor | None:
    """Bool [B, 1, 1, S] for attention; None if every position is real (the faster kernel)."""
    return None if bool(mask_BS.all()) else mask_BS.bool()[:, None, None, :]


def causal_mask(new: int, past: int, device: torch.device) -> Tensor | None:
    """Bool [new, past + new]; None where the plain causal kernel or no mask will do."""
    if new == 1 or past == 0:
        return None
    rows = torch.arange(past, past + new, device=device)[:, None]
    return torch.arange(past + new, device=device)[None, :] <= rows
