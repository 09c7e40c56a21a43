"""How likely the decoder finds whole outputs, all of them in one pass.

Outputs with the same quote differ in their answers alone. What they have in common is read once:
one row of the decoder holds a quote and all its answers, each of which sees the quote and itself
(as drafts in a token tree do: SpecInfer, arXiv 2305.09781).

Shapes: K outputs, R rows, T tokens of the longest row, N tokens of all rows, M tokens that are
scored, S source tokens, D width.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from rayraft.mini.copying import written_last
from rayraft.mini.modeling import MiniForConditionalGeneration
from rayraft.mini.packing import MASKED, Layout
from rayraft.mini.stacks import MiniEncoderOutput

_COMMON = 0
_NOTHING = -1
"""Branch of padding."""


def answer_log_probs(
    model: MiniForConditionalGeneration, encoded: MiniEncoderOutput, outputs: Sequence[list[int]]
) -> list[Tensor]:
    """Log-probabilities float32 [...] of each output's tokens from its answer marker on.

    Args:
        model: The reader.
        encoded: Of one row's source, without padding.
        outputs: Token ids; each holds `config.answer_token_id`, and something after it.
    """
    source = encoded.source_ids
    decoded_MD = _decode(model, encoded, outputs)
    target_M, written_MC, counts = _scored(model, outputs, source.device)
    # All outputs have the same source: to the copy head they are one row of M tokens.
    one_row = Layout.of(None, 1, len(target_M))
    mask_1S = torch.ones_like(source)
    pointer_MS = model.pointer(decoded_MD, one_row, encoded, mask_1S, written_MC[None])[0]
    copying_M, generating_M = model.copy.log_gate(decoded_MD)
    logits_MV = model.vocabulary_logits(decoded_MD)
    generated_M = generating_M - F.cross_entropy(logits_MV, target_M, reduction="none")
    here_MS = source == target_M[:, None]
    copied_M = copying_M + pointer_MS.masked_fill(~here_MS, MASKED).logsumexp(-1)
    return list(torch.split(torch.logaddexp(copied_M, generated_M), counts))


def _scored(
    model: MiniForConditionalGeneration, outputs: Sequence[list[int]], device: torch.device
) -> tuple[Tensor, Tensor, list[int]]:
    """The scored tokens [M], the tokens before each [M, C], and how many each output has."""
    config = model.config
    targets, written, counts = [], [], []
    for tokens in outputs:
        marker = tokens.index(config.answer_token_id)
        given = torch.tensor([[config.decoder_start_token_id, *tokens[:-1]]], device=device)
        counts.append(len(tokens) - marker)
        written.append(written_last(given, counts[-1], config.copy_context)[0])
        targets += tokens[marker:]
    return torch.tensor(targets, device=device), torch.cat(written), counts


@dataclass
class _Row:
    """What the decoder is given of outputs with the same quote."""

    ids: list[int]
    """At first the start token, the quote and the answer marker: what they have in common."""
    position: list[int] = field(init=False)
    """Of each token in its own output."""
    branch: list[int] = field(init=False)
    """Which answer a token is of."""

    def __post_init__(self) -> None:
        self.position = list(range(len(self.ids)))
        self.branch = [_COMMON] * len(self.ids)
        self._common = len(self.ids)

    def add(self, answer: Sequence[int]) -> list[int]:
        """Adds an answer; gives the places whose states say its marker and its tokens."""
        begin, given = len(self.ids), answer[:-1]  # after its last token nothing is asked
        self.ids += given
        self.position += range(self._common, self._common + len(given))
        self.branch += [self.branch[-1] + 1] * len(given)
        return [self._common - 2, self._common - 1, *range(begin, len(self.ids))]


def _decode(
    model: MiniForConditionalGeneration, encoded: MiniEncoderOutput, outputs: Sequence[list[int]]
) -> Tensor:
    """The decoder's states that say the scored tokens of all outputs, [M, D]."""
    config, device = model.config, encoded.source_ids.device
    numbers: dict[tuple[int, ...], int] = {}
    rows: list[_Row] = []
    places: list[tuple[int, list[int]]] = []
    for tokens in outputs:
        answer = tokens.index(config.answer_token_id) + 1
        common = tuple(tokens[:answer])
        number = numbers.setdefault(common, len(rows))
        if number == len(rows):
            rows.append(_Row([config.decoder_start_token_id, *common]))
        places.append((number, rows[number].add(tokens[answer:])))

    def padded(values: Sequence[list[int]], padding: int) -> Tensor:
        columns = [torch.tensor(each, device=device) for each in values]
        return pad_sequence(columns, batch_first=True, padding_value=padding)

    branch_RT = padded([row.branch for row in rows], _NOTHING)
    seen_RTT = (branch_RT[:, None] == _COMMON) | (branch_RT[:, None] == branch_RT[:, :, None])
    layout = Layout.of(branch_RT != _NOTHING, *branch_RT.shape)
    decoded_ND: Tensor = model.decoder(
        padded([row.ids for row in rows], config.pad_token_id),
        layout,
        encoded.last_hidden_state,
        None,
        None,
        position=padded([row.position for row in rows], 0),
        target_mask=seen_RTT.tril()[:, None],
    )
    begins = [0, *itertools.accumulate(len(row.ids) for row in rows)]
    index = [begins[number] + place for number, own in places for place in own]
    return decoded_ND[torch.tensor(index, device=device)]
