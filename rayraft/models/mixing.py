"""How the next-token distributions of several views become one; pure functions of tensors.

A copy head or an answer span is inside a view: what is mixed is each view's whole distribution over
the vocabulary, after its own pointer was added to it.

Source: Retrieval-Augmented Generation, arXiv 2005.11401, section 2.1.

Shapes: N views, T tokens, V vocabulary.
"""

import torch
from torch import Tensor


def mix(log_probs: Tensor, log_weights: Tensor) -> Tensor:
    """Log of the weighted mean of distributions.

    Args:
        log_probs: float32 [N, ..., V].
        log_weights: float32 [N]; the weights sum to 1.

    Returns:
        float32 [..., V].
    """
    weights = log_weights.view(-1, *[1] * (log_probs.dim() - 1))
    return torch.logsumexp(log_probs + weights, dim=0)


def token_score(target_log_probs: Tensor, log_weights: Tensor) -> Tensor:
    """RAG-Token: log of the product over tokens of the weighted mean over views.

    Args:
        target_log_probs: float32 [N, T], of the target's tokens in each view.
        log_weights: float32 [N].

    Returns:
        float32 [].
    """
    return torch.logsumexp(target_log_probs + log_weights[:, None], dim=0).sum()


def sequence_score(target_log_probs: Tensor, log_weights: Tensor) -> Tensor:
    """RAG-Sequence: log of the weighted mean over views of the product over tokens.

    Args:
        target_log_probs: float32 [N, T], of the target's tokens in each view.
        log_weights: float32 [N].

    Returns:
        float32 [].
    """
    return torch.logsumexp(target_log_probs.sum(-1) + log_weights, dim=0)


def log_shares(weights: list[float]) -> Tensor:
    """The logarithms of weights, normalised to sum to 1: float32 [N]."""
    return torch.tensor(weights, dtype=torch.float32).log().log_softmax(0)
