"""How likely the decoder finds whole outputs, all of them in one pass.

Shapes: K outputs, T tokens of the longest, M tokens that are scored, S source tokens, D width.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

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
    for row, tokens in enumerate(outputs):
        target_KT[row, : len(tokens)] = torch.tensor(tokens, device=source.device)
        scored_KT[row, tokens.index(config.answer_token_id) : len(tokens)] = True
    given_KT = F.pad(target_KT, (1, 0), value=config.decoder_start_token_id)[:, :-1]
    layout = Layout.of(None, len(outputs), width)
    decoded_ND = model.decoder(
        given_KT,
        layout,
        encoded.last_hidden_state,
        None,
        _source_read_once(model, encoded, given_KT),
    )
    spread = MiniEncoderOutput(
        last_hidden_state=encoded.last_hidden_state,
        copy_keys=encoded.copy_keys.expand(len(outputs), -1, -1),
        source_ids=source.expand(len(outputs), -1),
    )
    mask_KS = torch.ones_like(spread.source_ids)
    pointer_KTS = model.pointer(decoded_ND, layout, spread, mask_KS, given_KT)
    decoded_MD, target_M = layout.pad(decoded_ND)[scored_KT], target_KT[scored_KT]
    copying_M, generating_M = model.copy.log_gate(decoded_MD)
    logits_MV = model.vocabulary_logits(decoded_MD)
    generated_M = generating_M - F.cross_entropy(logits_MV, target_M, reduction="none")
    here_MS = source == target_M[:, None]
    copied_M = copying_M + pointer_KTS[scored_KT].masked_fill(~here_MS, MASKED).logsumexp(-1)
    counts: list[int] = scored_KT.sum(1).tolist()
    return list(torch.split(torch.logaddexp(copied_M, generated_M), counts))


def _source_read_once(
    model: MiniForConditionalGeneration, encoded: MiniEncoderOutput, given_KT: Tensor
) -> EncoderDecoderCache:
    """A cache that holds the source's keys and values for all outputs, and no target token yet."""
    filled = EncoderDecoderCache(DynamicCache(), DynamicCache())
    layers: Any = model.decoder.layers
    for layer in layers:
        layer.read_source(encoded.last_hidden_state, filled)
    read: Any = filled.cross_attention_cache.layers
    for kept in read:
        kept.keys = kept.keys.expand(len(given_KT), -1, -1, -1)
        kept.values = kept.values.expand(len(given_KT), -1, -1, -1)
    return filled
