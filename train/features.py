"""Training rows to token ids. Knows prompts and tokenizers, not models or workers."""

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import pyarrow as pa

from rayraft.errors import InputError
from rayraft.models.base_config import is_encoder_decoder, load_tokenizer
from rayraft.models.rendering import render_completion, render_prompt
from rayraft.prompts import Message, answer_messages, completion
from rayraft.records import Passage, RaftExample
from train.config import Method, TrainConfig
from train.example_views import ExampleView, kinds, viewed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""Label of a token that the loss does not count (PyTorch's convention)."""

FEATURES = pa.schema(
    [("input_ids", pa.list_(pa.int32())), ("labels", pa.list_(pa.int32()))],
)


class Row(TypedDict):
    """One training row; `alternatives` are shorter prompts for when `messages` is too long."""

    messages: list[Message]
    completion: str
    alternatives: NotRequired[list[list[Message]]]


class Features(TypedDict):
    """Token ids of one row; for causal models both lists have the same length."""

    input_ids: list[int]
    labels: list[int]


def rows_from_example(
    example: RaftExample, method: Method, closed_book_share: float = 0.5, seed: int = 0
) -> Iterator[Row]:
    """The rows that `method` makes of a RAFT example: with passages, closed book, or both."""
    with_passages, closed_book = kinds(example.example_id, method, closed_book_share, seed)
    if with_passages:
        shown = _fewer_and_fewer(example)
        prompts = [answer_messages(example.question, passages) for passages in shown]
        yield {
            "messages": prompts[0],
            "completion": example.completion,
            "alternatives": prompts[1:],
        }
    if closed_book and example.answer:
        yield {
            "messages": answer_messages(example.question, []),
            "completion": completion("", example.answer),
        }


def encode_row(
    row: Row, tokenizer: "PreTrainedTokenizerBase", causal: bool, config: TrainConfig
) -> Features | None:
    """The ids of a row; None if prompt or completion exceed their limits.

    Raises:
        InputError: Nothing of the row would be supervised.
    """
    if not row["completion"].strip():
        raise InputError(
            f"training row: empty completion after {row['messages'][-1]['content'][-80:]!r}"
        )
    target = render_completion(tokenizer, row["completion"])
    if len(target) > config.max_completion_tokens:
        return None
    for messages in [row["messages"], *(row.get("alternatives") or [])]:
        prompt = render_prompt(tokenizer, messages, not causal)
        if len(prompt) <= config.max_prompt_tokens:
            if not causal:
                return {"input_ids": prompt, "labels": target}
            return {"input_ids": prompt + target, "labels": [IGNORED] * len(prompt) + target}
    return None


def encode_rows(table: pa.Table, *, config: dict[str, Any]) -> pa.Table:
    """Batch function: columns `messages`, `completion` (and `alternatives`) to features.

    Rows above the limits are left out.
    """
    settings = TrainConfig(**config)
    rows: list[Any] = table.select(
        [name for name in ("messages", "completion", "alternatives") if name in table.column_names]
    ).to_pylist()
    return _encode(rows, settings)


def encode_examples(
    table: pa.Table, *, config: dict[str, Any], view: ExampleView | None = None
) -> pa.Table:
    """Batch function: RAFT examples (columns of `RaftExample`) to features."""
    settings = TrainConfig(**config)
    examples = [RaftExample.model_validate(values) for values in table.to_pylist()]
    share, seed = settings.closed_book_share, settings.seed
    rows = [
        row
        for example in examples
        for row in rows_from_example(
            viewed(example, view) if view else example, settings.method, share, seed
        )
    ]
    return _encode(rows, settings)


def _encode(rows: Sequence[Row], config: TrainConfig) -> pa.Table:
    tokenizer, causal = _tokenizer(config.base_model)
    encoded = [encode_row(row, tokenizer, causal, config) for row in rows]
    return pa.Table.from_pylist([dict(row) for row in encoded if row], schema=FEATURES)


@functools.lru_cache(maxsize=2)
def _tokenizer(base_model: str) -> "tuple[PreTrainedTokenizerBase, bool]":
    return load_tokenizer(base_model), not is_encoder_decoder(base_model)


def _fewer_and_fewer(example: RaftExample) -> list[list[Passage]]:
    """The shown passages, then with one last distractor less each time; golden ones stay."""
    shown = [list(example.passages)]
    golden = set(example.golden_ids)
    while len(shown[-1]) > 1:
        distractors = [i for i, p in enumerate(shown[-1]) if p.chunk_id not in golden]
        if not distractors:
            break
        shown.append([p for i, p in enumerate(shown[-1]) if i != distractors[-1]])
    return shown
