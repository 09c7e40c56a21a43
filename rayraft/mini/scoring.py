"""How likely the decoder finds whole outputs, all of them in one pass.

Shapes: K outputs, T tokens of the longest, M tokens that are scored, S source tokens, D width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from rayraft.mini.copying import written_last
from rayraft.mini.modeling import MiniForConditionalGeneration
from rayraft.mini.packing import MASKED, Layout
from rayraft.mini.stacks import MiniEncoderOutput


def answer_log_probs(
    model: MiniForConditionalGeneration, encoded: MiniEncoderOutput, outputs: Sequence[list[int]]
) -> list[Tensor]:
    """Log-probabilities float32 [...] of each output's tokens from its answer marker on.

    Args:
        model: The reader.
        encoded: Of one row's source, without padding.
        outputs: Token ids; each holds `config.answer_token_id`.
    """
    config = model.config
    source = encoded.source_ids
    width = max(map(len, outputs))
    target_KT = torch.full((len(outputs), width), config.pad_token_id, device=source.device)
    scored_KT = torch.zeros_like(target_KT, dtype=torch.bool)
    real_KT = torch.zeros_like(scored_KT)
    for row, tokens in enumerate(outputs):
        target_KT[row, : len(tokens)] = torch.tensor(tokens, device=source.device)
        real_KT[row, : len(tokens)] = True
        scored_KT[row, tokens.index(config.answer_token_id) : len(tokens)] = True
    given_KT = F.pad(target_KT, (1, 0), value=config.decoder_start_token_id)[:, :-1]
    layout = Layout.of(real_KT, len(outputs), width)
    decoded_ND = model.decoder(given_KT, layout, encoded.last_hidden_state, None, None)
    decoded_MD, target_M = decoded_ND[layout.pack(scored_KT)], target_KT[scored_KT]
    written_MC = written_last(given_KT, width, config.copy_context)[scored_KT]
    # All outputs have the same source: to the copy head they are one row of M tokens.
    one_row = Layout.of(None, 1, len(target_M))
    mask_1S = torch.ones_like(source)
    pointer_MS = model.pointer(decoded_MD, one_row, encoded, mask_1S, written_MC[None])[0]
    copying_M, generating_M = model.copy.log_gate(decoded_MD)
    logits_MV = model.vocabulary_logits(decoded_MD)
    generated_M = generating_M - F.cross_entropy(logits_MV, target_M, reduction="none")
    here_MS = source == target_M[:, None]
    copied_M = copying_M + pointer_MS.masked_fill(~here_MS, MASKED).logsumexp(-1)
    counts: list[int] = scored_KT.sum(1).tolist()
    return list(torch.split(torch.logaddexp(copied_M, generated_M), counts))
