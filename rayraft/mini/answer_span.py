"""The answer span: the encoder itself says where the answer stands, or that it stands nowhere.

An extractive reader's start and end scores (BERT, arXiv 1810.04805), normalised over all segments
of a row together (arXiv 1710.10723) with one more place for "nowhere" (SQuAD 2.0, arXiv
1806.03822). Each segment's scores are raised or lowered by what its [CLS] state says of the whole
passage. The states inside the likely span are marked before the decoder sees them, so that it has
to write what is marked, not to find it; the span's own loss reaches the encoder on a short way.

Shapes: B rows, T target tokens, S source tokens, N real source tokens, D width.
"""

import torch
from torch import Tensor, nn

from rayraft.mini.configuration import MiniConfig
from rayraft.mini.packing import MASKED, Layout, Source, project

MARK_SCALE = 20.0
"""Marks are learned in this unit: at a learning rate fit for all the other weights they would stay
too small for the decoder to see."""

NOWHERE = -1
"""Index of the last place of a row: the answer stands in no segment."""


class AnswerSpan(nn.Module):
    """Scores places, and marks the states between them."""

    def __init__(self, config: MiniConfig) -> None:
        super().__init__()
        self.config = config
        self.ends = nn.Linear(config.hidden_size, 2)
        self.segment = nn.Linear(config.hidden_size, 1)
        self.nowhere = nn.Parameter(torch.zeros(2))
        self.marks = nn.Parameter(torch.zeros(2, config.hidden_size))

    def forward(self, x_ND: Tensor, source: Source) -> tuple[Tensor, Tensor]:
        """The marked states [N, D], and log-probabilities float32 [B, S + 1, 2].

        Of the two, one is of the answer's first and one of its last token; the last place of a row
        is `NOWHERE`.
        """
        relevance = self.segment(x_ND[source.offset_N == 0]).float()
        scores_N2 = project(self.ends, x_ND).float() + relevance[source.segment_N]
        scores_N2 = scores_N2.masked_fill(~self._in_passage(source)[:, None], MASKED)
        scores = source.rows.pad(scores_N2)
        if (real := source.rows.mask(scores.device)) is not None:
            scores = scores.masked_fill(~real.view(*scores.shape[:2], 1), MASKED)
        nowhere = self.nowhere.float().expand(source.rows.rows, 1, 2)
        log = torch.cat([scores, nowhere], dim=1).log_softmax(1)
        inside_N = _inside(source.rows.pack(log[:, :NOWHERE].exp()), source.segments)
        nowhere_N = source.rows.pack(log[:, NOWHERE:, 0].exp().expand(-1, log.shape[1] - 1))
        share_N2 = torch.stack([inside_N, nowhere_N], dim=-1).to(x_ND.dtype)
        marks_2D = (MARK_SCALE * self.marks).to(x_ND.dtype)
        return x_ND + share_N2 @ marks_2D, log

    def _in_passage(self, source: Source) -> Tensor:
        """Bool [N]: of the passage, which comes after its segment's first [SEP]."""
        ends = source.ids_N == self.config.eos_token_id
        before = ends.long().cumsum(0) - ends.long()
        begun = before - before[source.offset_N == 0][source.segment_N]
        inside: Tensor = (begun == 1) & ~ends
        return inside


def _inside(probability_N2: Tensor, segments: Layout) -> Tensor:
    """About how likely each token lies in the span, float32 [N]: begun before, not yet ended."""
    start, end = segments.pad(probability_N2).unbind(-1)
    inside = start.cumsum(1) * end.flip(1).cumsum(1).flip(1)
    return segments.pack(inside[..., None]).squeeze(-1)


def span_loss(log: Tensor, labels_BT: Tensor, copied_BTS: Tensor, config: MiniConfig) -> Tensor:
    """Sum over the rows of the negative log-likelihood of their answers' first and last token.

    Rows without an answer that stands in their passages, such as written questions, add nothing.

    Args:
        log: Log-probabilities [B, S + 1, 2] of `AnswerSpan`.
        labels_BT: Labels; the answer comes after `config.answer_token_id`.
        copied_BTS: Where each label was taken from (`copying.copied_from`).
        config: Of the model.
    """
    batch = torch.arange(len(labels_BT), device=labels_BT.device)
    marker_BT = labels_BT == config.answer_token_id
    first_B = (marker_BT.int().argmax(1) + 1).clamp(max=labels_BT.shape[1] - 1)
    written_BT = (labels_BT >= 0) & (labels_BT != config.eos_token_id)
    last_B = written_BT.shape[1] - 1 - written_BT.flip(1).int().argmax(1)
    abstains_B = labels_BT[batch, first_B] == config.abstain_token_id
    places = torch.stack([copied_BTS[batch, first_B], copied_BTS[batch, last_B]], dim=-1)
    places = places & ~abstains_B[:, None, None]
    nowhere = abstains_B[:, None, None].expand(-1, 1, 2)
    wanted = torch.cat([places, nowhere], dim=1) & (log > MASKED / 2)
    counted_B = marker_BT.any(1) & wanted.any(1).all(-1)
    likelihood = log.masked_fill(~wanted, MASKED).logsumexp(1).mean(-1)
    return -torch.where(counted_B, likelihood, 0.0).sum()
