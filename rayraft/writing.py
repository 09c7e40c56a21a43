"""What is asked of a text model in this process."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rayraft.prompts import Message
from rayraft.protocols import Combine, GenerateRequest, View


def always() -> bool:
    """Yes: somebody waits until the end."""
    return True


@dataclass(frozen=True)
class Row:
    """One output to be written in a batch, and who waits for it."""

    messages: list[Message]
    max_new_tokens: int = 96
    on_text: Callable[[str], None] | None = None
    """Takes the text piece by piece, in the thread that writes; joined, the pieces are the output's
    text."""
    wanted: Callable[[], bool] = always
    """Asked before each token; once it says no, no more are written for this row."""
    adapter: str | None = None
    """The loaded adapter that writes it; None is the base model."""
    reads: bool = True
    """Whether it may be answered by reading, where the model does; False: that was tried."""
    alternative: int = 0
    """0: the likeliest output; n: the one that begins with the n-th likeliest token after the
    likeliest and goes on greedily. Of rows that are written token by token and stay together."""


@dataclass(frozen=True)
class RowLimits:
    """What a model may hold at once while rows come and go."""

    rows: int = 8
    cache_tokens: int = 16384
    """Rows times the tokens that the longest of them may come to have: the memory of their keys
    and values."""
    prefill_tokens: int = 512
    """Tokens of a prompt that are read between two steps of the rows that are written."""


class Writer(Protocol):
    """The part of `rayraft.models.text.TextModel` that writes whole outputs."""

    def generate(
        self,
        prompts: Sequence[list[Message]],
        *,
        adapter: str | None = None,
        max_new_tokens: int = 96,
    ) -> Sequence[Any]:
        """Objects with text, prompt_tokens and completion_tokens."""
        ...

    def generate_combined(
        self, views: Sequence[View], combine: Combine, *, max_new_tokens: int = 96
    ) -> Any:
        """One such object."""
        ...


def write(model: Writer, request: GenerateRequest) -> Any:
    """The output: an object with text, prompt_tokens and completion_tokens."""
    if len(request.views) == 1:
        (view,) = request.views
        (output,) = model.generate(
            [view.messages], adapter=view.adapter, max_new_tokens=request.max_new_tokens
        )
        return output
    return model.generate_combined(
        request.views, request.combine, max_new_tokens=request.max_new_tokens
    )
