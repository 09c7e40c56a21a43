"""The copy head: a pointer-generator whose pointer knows how to go on.

Source: pointer-generator networks, arXiv 1704.04368. Ours adds a bias for source positions whose
preceding tokens equal the tokens written last (the longer the match, the higher), so that a phrase
once begun is copied to its end; it takes the place of a learned induction head.

Shapes: B rows, T target tokens, N packed target tokens, S source tokens, D width.
"""

import torch
from torch import Tensor, nn

from rayraft.mini.configuration import MiniConfig
from rayraft.mini.packing import MASKED, Layout


class CopyHead(nn.Module):
    """Where the next token stands in the source, and whether to take it from there."""

    def __init__(self, config: MiniConfig) -> None:
        super().__init__()
        self.context = config.copy_context
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.gate = nn.Linear(config.hidden_size, 1)
        self.match_bias = nn.Parameter(torch.ones(config.copy_context))

    def log_pointer(
        self,
        decoded_ND: Tensor,
        layout: Layout,
        copy_keys_BSD: Tensor,
        matches_BTS: Tensor,
        copyable_BS: Tensor,
    ) -> Tensor:
        """Log-probabilities float32 [B, T, S] of taking the next token from a source position."""
        query_BTD = layout.pad(self.query(decoded_ND) * decoded_ND.shape[-1] ** -0.5)
        scores = torch.bmm(query_BTD, copy_keys_BSD.transpose(1, 2)).float()
        steps = torch.cat([self.match_bias.new_zeros(1), self.match_bias]).float().cumsum(0)
        scores = scores + steps[matches_BTS]
        scores = scores.masked_fill(~copyable_BS[:, None, :], MASKED)
        return scores.log_softmax(-1)

    def log_gate(self, decoded: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities float32 [...] of copying and of generating, of states [..., D]."""
        logit = self.gate(decoded).squeeze(-1).float()
        return nn.functional.logsigmoid(logit), nn.functional.logsigmoid(-logit)


def written_last(history_BH: Tensor, targets: int, context: int) -> Tensor:
    """The tokens before each next token, the last one first, int64 [B, T, context].

    Args:
        history_BH: Output tokens so far, the last `targets` of them being the current inputs.
        targets: T, the number of next tokens to be predicted.
        context: Tokens before each; -1 where there are none.
    """
    padded = nn.functional.pad(history_BH, (context, 0), value=-1)
    windows = padded[:, padded.shape[1] - targets - context + 1 :].unfold(1, context, 1)
    return windows.flip(-1)


def match_lengths(written_BTC: Tensor, source_BS: Tensor) -> Tensor:
    """How many of the tokens written last stand right before each source position.

    Args:
        written_BTC: What `written_last` gives; no match is counted as longer than C.
        source_BS: Source tokens.

    Returns:
        int64 [B, T, S] in 0..C.
    """
    batch, length = source_BS.shape
    lengths = source_BS.new_zeros(batch, written_BTC.shape[1], length)
    running = torch.ones_like(lengths, dtype=torch.bool)
    for back, written_BT in enumerate(written_BTC.unbind(-1), 1):
        shifted = nn.functional.pad(source_BS, (back, 0), value=-2)[:, :length]
        running = running & (written_BT[:, :, None] == shifted[:, None, :])
        lengths += running
    return lengths


def copied_from(labels_BT: Tensor, source_BS: Tensor) -> Tensor:
    """Where each label was taken from, bool [B, T, S]: all False where it is not in the source.

    A word stands in many places of a source, but the phrase around it in one. So a label comes from
    where the longest run of equal tokens passes through it, and of equally long runs from the one
    that lies where the row's longest was taken from: an answer comes from the quote before it.
    Without this the pointer would learn to point at the right word anywhere (arXiv 1704.04368).
    """
    equal = labels_BT[:, :, None] == source_BS[:, None, :]
    runs = _run_lengths(equal) + _run_lengths(equal.flip(1, 2)).flip(1, 2) - 1
    runs = runs.masked_fill(~equal, 0)
    longest_BT = runs.amax(-1)
    in_longest_BS = (runs == longest_BT.amax(1)[:, None, None]).any(1)
    preference = 2 * runs + in_longest_BS[:, None, :]
    return equal & (preference == preference.masked_fill(~equal, -1).amax(-1, keepdim=True))


def _run_lengths(equal_BTS: Tensor) -> Tensor:
    """Length of the diagonal run of True that ends at each place, int16 [B, T, S]."""
    runs = equal_BTS.short()
    for step in range(1, runs.shape[1]):
        runs[:, step, 1:] *= 1 + runs[:, step - 1, :-1]
    return runs
