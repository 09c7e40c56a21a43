"""The encoder that embedder, reranker and reader have in common: BERT without padding.

Without Transformers, whose models take three times as long to import as all that is needed here.

Shapes: B rows, S source tokens, G segments, W widest segment, N real tokens, D width.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from rayraft.mini.layers import EncoderConfig, EncoderLayer
from rayraft.mini.packing import Layout, Source, attention_width

_OF_BERT = {
    "embeddings.LayerNorm.": "norm.",
    "encoder.layer.": "layers.",
    "attention.self.": "attention.",
    "attention.output.dense.": "attention.output.",
    "attention.output.LayerNorm.": "attention.norm.",
    "intermediate.dense.": "ffn.up.",
    "output.dense.": "ffn.down.",
    "output.LayerNorm.": "ffn.norm.",
}
"""In this order: the last two names are also the ends of others."""


class SegmentReader(nn.Module):
    """BERT's layers over every segment of a batch by itself."""

    def __init__(self, config: EncoderConfig, words: nn.Embedding) -> None:
        super().__init__()
        self.config = config
        self._words = [words]  # in a list: the embedding is the model's, not a second entry of ours
        self.positions = nn.Embedding(config.max_positions, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))

    def source(self, input_ids: Tensor, attention_mask: Tensor | None) -> Source:
        """The real tokens of `input_ids` [B, S], as rows and as segments."""
        mask_BS = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        rows = Layout.of(
            None if attention_mask is None else attention_mask.bool(), *input_ids.shape
        )
        segment_N, offset_N = self._segments(input_ids, mask_BS.bool())
        count = int(segment_N.max()) + 1
        width = attention_width(int(offset_N.max()) + 1, count)
        segments = Layout(count, width, segment_N * width + offset_N)
        if segments.rows * width == len(segment_N):
            segments = replace(segments, index_N=None)
        return Source(rows.pack(input_ids), segment_N, offset_N, rows, segments)

    def read(self, source: Source) -> Tensor:
        """States of the real tokens, [N, D]."""
        # Past the last known position there is no better guess than the last one.
        position_N = source.offset_N.clamp(max=self.config.max_positions - 1)
        embedded_ND = self.norm(self._words[0](source.ids_N) + self.positions(position_N))
        x_ND: Tensor = self.dropout(embedded_ND)
        mask = source.segments.mask(x_ND.device)
        layout = source.segments.rounded(x_ND.device)
        x_ND = layout.widen(x_ND)
        for layer in self.layers:
            x_ND = layer(x_ND, layout, mask)
        return layout.narrow(x_ND)

    def _segments(self, input_ids: Tensor, real_BS: Tensor) -> tuple[Tensor, Tensor]:
        """Segment number and offset within it of the real tokens, int64 [N]."""
        starts = (input_ids == self.config.cls_token_id) & real_BS
        # A source that does not begin with [CLS] still is a segment.
        starts = starts | (real_BS & (real_BS.long().cumsum(1) == 1))
        index = torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)
        begin = torch.where(starts, index, 0).cummax(1).values
        segment = starts.flatten().long().cumsum(0).view_as(input_ids) - 1
        return segment[real_BS], (index - begin)[real_BS]


def load_segment_reader(
    config: EncoderConfig, words: Tensor, states: Mapping[str, Tensor]
) -> SegmentReader:
    """A reader for inference whose weights are these very tensors, pages of a file or not.

    Args:
        config: Its sizes.
        words: Word embeddings [V, D].
        states: Its other weights, by the names of its `state_dict`.
    """
    # Not on the device "meta", which imports the compiler: that takes longer than random weights.
    rows, width = words.shape
    reader = SegmentReader(config, nn.Embedding(rows, width, _weight=words, _freeze=True))
    reader.load_state_dict(states, assign=True)
    return reader.requires_grad_(False).eval()


def bert_states(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A BERT's weights by the names of `SegmentReader`, its word embeddings left out.

    All tokens are of BERT's first token type, which becomes part of the positions.
    """
    types = weights["embeddings.token_type_embeddings.weight"]
    states = {"positions.weight": weights["embeddings.position_embeddings.weight"] + types[0]}
    for name, tensor in weights.items():
        if name.startswith(("encoder.layer.", "embeddings.LayerNorm.")):
            for theirs, ours in _OF_BERT.items():
                name = name.replace(theirs, ours)
            states[name] = tensor
    return states
