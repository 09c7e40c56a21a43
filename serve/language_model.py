"""What the text engine needs of a model in this process, and the configured one."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from rayraft.protocols import Combine, View
from rayraft.writing import Row, RowLimits
from serve.config import GeneratorConfig
from serve.row_worker import Rows


class LanguageModel(Protocol):
    """What the engine needs of `rayraft.models.text.TextModel`."""

    base_digest: str

    reads_at_once: int
    """Calls of `read` that gain by running at the same time; 0: it answers nothing by reading."""

    def read(self, row: Row) -> Any | None:
        """An output that need not be written, or None; may be called by several threads."""

    def load_adapter(self, name: str, path: Any) -> None:
        """Makes the adapter usable under `name`."""

    def unload_adapter(self, name: str) -> None:
        """Forgets the adapter."""

    def shares_batches(self, adapter: str | None) -> bool:
        """Whether it is loaded and may share forward passes with others; asked by any thread."""
        ...

    def generate_rows(self, rows: Sequence[Row]) -> list[Any]:
        """Objects with text, prompt_tokens and completion_tokens.

        May be called by several threads at the same time.
        """
        ...

    def open_rows(self, limits: RowLimits) -> Rows | None:
        """Rows that come and go between steps; None if the model cannot do that."""

    def generate_combined(
        self,
        views: Sequence[View],
        combine: Combine,
        *,
        max_new_tokens: int = 96,
        wanted: Callable[[], bool] | None = None,
    ) -> Any:
        """One such object for several prompts."""
        ...


def load_model(config: GeneratorConfig) -> LanguageModel:
    """The configured base model."""
    from rayraft.models.text import TextModel

    return TextModel.load(
        config.base_model, device=config.device, dtype=config.dtype, threads=config.threads
    )
