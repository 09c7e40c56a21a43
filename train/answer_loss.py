"""The loss of causal models over answer tokens, without the logits of all the others.

The prompt is most of a row, and a row of logits is as wide as the vocabulary: only the positions
are computed of which the next token is supervised.
"""

import inspect
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from train.features import IGNORED


def keeps_logits(model: Any) -> bool:
    """Whether the model computes logits of chosen positions alone (`logits_to_keep`)."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "logits_to_keep" in inspect.signature(base.forward).parameters


def answer_loss(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean negative log-likelihood of the supervised tokens, float32.

    Args:
        model: Called with the batch but for its labels.
        batch: As `EncodedRows.batch` gives it; `labels` int64 [B, T].
    """
    labels_BT = batch["labels"]
    keep_BT = torch.zeros_like(labels_BT, dtype=torch.bool)
    keep_BT[:, :-1] = labels_BT[:, 1:] != IGNORED
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    # A cache would be filled for nothing, and undo the bounds between packed rows.
    logits_NV = model(**inputs, logits_to_keep=keep_BT, use_cache=False).logits
    return cross_entropy(logits_NV.float(), labels_BT[:, 1:][keep_BT[:, :-1]])
