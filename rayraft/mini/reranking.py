"""The mini reranker: a cross-encoder over MiniLM's layers that scores passages for a question.

A row is one or more segments `[CLS] question [SEP] passage [SEP]`, each read by itself; its [CLS]
state gives the score (monoBERT, arXiv 1910.14424). Trained listwise: a row holds a question's
passages, one of them right, and the loss is the softmax's over them (arXiv 2101.08751).

Shapes: B rows, S tokens, G segments of the row with most, N real tokens, D width.
"""

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import SequenceClassifierOutput

from rayraft.mini.configuration import MiniRerankerConfig
from rayraft.mini.modeling import MiniForConditionalGeneration
from rayraft.mini.packing import MASKED
from rayraft.mini.pretrained import MiniPreTrainedModel
from rayraft.mini.segments import SegmentReader


class MiniForSequenceClassification(MiniPreTrainedModel):
    """Scores segments; the word embeddings are MiniLM's, frozen."""

    config_class = MiniRerankerConfig

    def __init__(self, config: MiniRerankerConfig) -> None:
        super().__init__(config)
        self.encoder = SegmentReader(config, self.shared)
        self.score = nn.Linear(config.hidden_size, 1)
        self.post_init()  # type: ignore[no-untyped-call]

    @classmethod
    @torch.no_grad()
    def from_reader(cls, reader: MiniForConditionalGeneration) -> Self:
        """An untrained reranker that reads, and scores relevance, as `reader` does."""
        sizes = ("hidden_size", "intermediate_size", "num_attention_heads", "encoder_layers")
        settings = {name: getattr(reader.config, name) for name in sizes}
        model = cls(MiniRerankerConfig(**settings))
        states = reader.encoder.state_dict()
        wanted = model.encoder.state_dict().keys()
        model.encoder.load_state_dict({name: states[name] for name in wanted})
        model.score.load_state_dict(reader.encoder.span.segment.state_dict())
        return model

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        **_: Any,
    ) -> SequenceClassifierOutput:
        """Scores float32 [B, G], very low where a row has fewer segments.

        Args:
            input_ids: int64 [B, S]; each segment begins with [CLS].
            attention_mask: 1 for real tokens, [B, S].
            labels: int64 [B, 1], the number of the right segment; with them, the mean loss.
        """
        source = self.encoder.source(input_ids, attention_mask)
        x_ND = self.encoder.read(source)
        starts_N = source.offset_N == 0
        scores = self.score(x_ND[starts_N]).float().squeeze(-1)
        row = torch.arange(len(input_ids), device=input_ids.device)
        row_N = source.rows.pack(row[:, None].expand_as(input_ids))
        row_of_segment = row_N[starts_N]
        first = torch.searchsorted(row_of_segment, row)
        place = torch.arange(len(scores), device=scores.device) - first[row_of_segment]
        logits = scores.new_full((len(input_ids), int(place.max()) + 1), MASKED)
        logits = logits.index_put((row_of_segment, place), scores)
        loss = None if labels is None else F.cross_entropy(logits, labels.squeeze(-1))
        return SequenceClassifierOutput(loss=loss, logits=logits)
