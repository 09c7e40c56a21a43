"""What crosses between the generator and vLLM's deployment: token ids, never text.

The two may run in environments of their own, with other versions of Transformers: prompts are
written, and outputs read, by the generator alone.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class VllmRequest:
    """One output to be written."""

    prompt: tuple[int, ...]
    max_new_tokens: int
    end_ids: tuple[int, ...]
    """Tokens that end the output."""
    adapter: str | None = None
    """`name-vN`; None is the base model."""
    deadline_at: float | None = None
    """As in `AskRequest`."""


@dataclass(frozen=True)
class VllmPiece:
    """The output's next tokens, an end token included."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Of each token, nats."""
