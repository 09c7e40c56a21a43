"""Encoder and decoder of the mini model.

Shapes: B rows, T target tokens, S source tokens, N real tokens, D width.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import EncoderDecoderCache
from transformers.utils.generic import ModelOutput

from rayraft.mini.answer_span import AnswerSpan
from rayraft.mini.configuration import MiniConfig
from rayraft.mini.layers import DecoderLayer, causal_mask
from rayraft.mini.packing import Layout, project
from rayraft.mini.segments import SegmentReader


@dataclass
class MiniEncoderOutput(ModelOutput):
    """What the decoder needs of the source."""

    last_hidden_state: Tensor
    copy_keys: Tensor = None  # type: ignore[assignment]  # ModelOutput wants defaults
    source_ids: Tensor = None  # type: ignore[assignment]
    span_log: Tensor = None  # type: ignore[assignment]


class MiniEncoder(SegmentReader):
    """Reads the source, marks where the answer stands, and prepares copying."""

    main_input_name = "input_ids"

    def __init__(self, config: MiniConfig, words: nn.Embedding) -> None:
        super().__init__(config, words)
        self.span = AnswerSpan(config)
        self.copy_key = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any
    ) -> MiniEncoderOutput:
        """Hidden states and copy keys [B, S, D] of `input_ids` [B, S], and where the answer is."""
        source = self.source(input_ids, attention_mask)
        x_ND, span_log = self.span(self.read(source), source)
        return MiniEncoderOutput(
            last_hidden_state=source.rows.pad(x_ND),
            copy_keys=source.rows.pad(project(self.copy_key, x_ND)),
            source_ids=input_ids,
            span_log=span_log,
        )


class MiniDecoder(nn.Module):
    """Writes the target, attending to all source segments."""

    def __init__(self, config: MiniConfig, words: nn.Embedding) -> None:
        super().__init__()
        self._words = [words]
        self.positions = nn.Embedding(config.max_target_positions, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(
            DecoderLayer(config, i) for i in range(config.num_hidden_layers)
        )

    def forward(  # noqa: PLR0913
        self,
        ids_BT: Tensor,
        layout: Layout,
        states_BSD: Tensor,
        source_mask: Tensor | None,
        cache: EncoderDecoderCache | None,
        position: Tensor | None = None,
        target_mask: Tensor | None = None,
    ) -> Tensor:
        """Decoded states of the layout's real tokens, [N, D].

        Args:
            ids_BT: The target, or with a cache its new tokens.
            layout: Of the target.
            states_BSD: Of each row's source, or of one source for all rows.
            source_mask: Of the source, as `padding_mask` makes it.
            cache: Of the tokens before.
            position: Of the tokens, [B, T]; None: one after the other.
            target_mask: Bool [B, 1, T, T], True where attention may go; None: to all before.
        """
        past = cache.self_attention_cache.get_seq_length() if cache is not None else 0
        if position is None:
            position = torch.arange(past, past + layout.width, device=ids_BT.device)
        position = position.clamp(max=self.positions.num_embeddings - 1)
        x_BTD = self.norm(self._words[0](ids_BT) + self.positions(position))
        layout = layout.rounded(ids_BT.device)
        x_ND: Tensor = self.dropout(layout.pack(x_BTD))
        if target_mask is None:
            target_mask = causal_mask(layout.width, past, ids_BT.device)
        for layer in self.layers:
            x_ND = layer(x_ND, layout, states_BSD, source_mask, target_mask, cache)
        return layout.narrow(x_ND)
