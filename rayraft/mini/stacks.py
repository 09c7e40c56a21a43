"""Encoder and decoder of the mini model.

Shapes: B rows, T target tokens, S source tokens, G segments, W widest segment, D width.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import EncoderDecoderCache
from transformers.utils.generic import ModelOutput

from rayraft.mini.configuration import MiniConfig
from rayraft.mini.layers import (
    LAYER_NORM_EPS,
    DecoderLayer,
    EncoderLayer,
    causal_mask,
    padding_mask,
)


@dataclass
class MiniEncoderOutput(ModelOutput):
    """What the decoder needs of the source."""

    last_hidden_state: Tensor
    copy_keys: Tensor = None  # type: ignore[assignment]  # ModelOutput wants defaults
    source_ids: Tensor = None  # type: ignore[assignment]


class MiniEncoder(nn.Module):
    """Reads every segment of the source by itself."""

    main_input_name = "input_ids"

    def __init__(self, config: MiniConfig, words: nn.Embedding) -> None:
        super().__init__()
        self.config = config
        self._words = [words]  # in a list: the embedding is the model's, not a second entry of ours
        self.positions = nn.Embedding(config.max_positions, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=LAYER_NORM_EPS)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.copy_key = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any
    ) -> MiniEncoderOutput:
        """Hidden states and copy keys [B, S, D] of `input_ids` [B, S]."""
        mask_BS = attention_mask if attention_mask is not None else torch.ones_like(input_ids)
        real = mask_BS.bool()
        segment, offset = self._segments(input_ids, real)
        groups, width = int(segment.max()) + 1, int(offset.max()) + 1
        ids_GW = input_ids.new_zeros(groups, width)
        mask_GW = torch.zeros(groups, width, dtype=torch.bool, device=input_ids.device)
        ids_GW[segment, offset] = input_ids[real]
        mask_GW[segment, offset] = True
        x_GWD = self._read(ids_GW, mask_GW)
        states = x_GWD.new_zeros(*input_ids.shape, x_GWD.shape[-1])
        states[real] = x_GWD[segment, offset]
        return MiniEncoderOutput(
            last_hidden_state=states, copy_keys=self.copy_key(states), source_ids=input_ids
        )

    def _segments(self, input_ids: Tensor, real_BS: Tensor) -> tuple[Tensor, Tensor]:
        """Segment number and offset within it, int64 [n real tokens]."""
        starts = (input_ids == self.config.cls_token_id) & real_BS
        # A source that does not begin with [CLS] still is a segment.
        first = real_BS & (real_BS.long().cumsum(1) == 1)
        starts = starts | first
        index = torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)
        begin = torch.where(starts, index, 0).cummax(1).values
        segment = starts.flatten().long().cumsum(0).view_as(input_ids) - 1
        return segment[real_BS], (index - begin)[real_BS]

    def _read(self, ids_GW: Tensor, mask_GW: Tensor) -> Tensor:
        position = torch.arange(ids_GW.shape[1], device=ids_GW.device)
        # Past the last known position there is no better guess than the last one.
        position = position.clamp(max=self.config.max_positions - 1)
        x_GWD = self.norm(self._words[0](ids_GW) + self.positions(position))
        mask = padding_mask(mask_GW)
        for layer in self.layers:
            x_GWD = layer(x_GWD, mask)
        return x_GWD


class MiniDecoder(nn.Module):
    """Writes the target, attending to all source segments."""

    def __init__(self, config: MiniConfig, words: nn.Embedding) -> None:
        super().__init__()
        self._words = [words]
        self.positions = nn.Embedding(config.max_target_positions, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=LAYER_NORM_EPS)
        self.layers = nn.ModuleList(
            DecoderLayer(config, i) for i in range(config.num_hidden_layers)
        )

    def forward(
        self,
        ids_BT: Tensor,
        states_BSD: Tensor,
        source_mask: Tensor | None,
        cache: EncoderDecoderCache | None,
    ) -> Tensor:
        """Decoded states [B, T, D]."""
        past = cache.self_attention_cache.get_seq_length() if cache is not None else 0
        new = ids_BT.shape[1]
        position = torch.arange(past, past + new, device=ids_BT.device)
        position = position.clamp(max=self.positions.num_embeddings - 1)
        x_BTD = self.norm(self._words[0](ids_BT) + self.positions(position))
        target_mask = causal_mask(new, past, ids_BT.device)
        for layer in self.layers:
            x_BTD = layer(x_BTD, states_BSD, source_mask, target_mask, cache)
        return x_BTD
