"""A request to a text model in this process: one prompt, or several combined."""

from collections.abc import Sequence
from typing import Any, Protocol

from rayraft.prompts import Message
from rayraft.protocols import Combine, GenerateRequest, View


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
