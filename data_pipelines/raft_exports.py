"""RAFT examples in the forms that other trainers read.

| format | a row |
|---|---|
| `parquet` | every field of `RaftExample` |
| `messages` | `messages`: system, user, assistant; for OpenAI's chat fine-tuning and for TRL |
| `prompt-completion` | `prompt` and `completion`, lists of messages; TRL's loss is on the latter |
| `gorilla-hf`, `-completion`, `-chat`, `-eval` | those of the gorilla project's `raft.py` |

The first three hold this project's own prompts. The last four have that project's: documents
between `<DOCUMENT>` tags, then the question, and `<ANSWER>: ` before the answer. No model, no Ray.
"""

import io
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from data_pipelines.raft_examples import to_table
from rayraft.errors import InputError
from rayraft.prompts import ABSTAIN, ANSWER, answer_messages
from rayraft.records import RaftExample

ExportFormat = Literal[
    "parquet",
    "messages",
    "prompt-completion",
    "gorilla-hf",
    "gorilla-completion",
    "gorilla-chat",
    "gorilla-eval",
]
FORMATS: tuple[str, ...] = get_args(ExportFormat)
GORILLA_ANSWER = "<ANSWER>: "


def export(examples: Sequence[RaftExample], form: str, parquet: bool) -> bytes:
    """The examples as a file's bytes: JSONL, or Parquet if `parquet`.

    Raises:
        InputError: There is no such format, or none of the examples has a row in it.
    """
    if form == "parquet":
        table = to_table(examples)
    elif form in _ROWS:
        rows = list(_ROWS[form](examples))
        if not rows:
            raise InputError(f"format {form!r}: no example has an answer to export")
        if not parquet:
            return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        table = pa.Table.from_pylist(rows)
    else:
        raise InputError(f"format {form!r} does not exist; formats: {', '.join(FORMATS)}")
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _messages(examples: Sequence[RaftExample]) -> Iterable[dict[str, Any]]:
    for example in examples:
        yield {"messages": [*_prompt(example), _assistant(example.completion)]}


def _prompt_completion(examples: Sequence[RaftExample]) -> Iterable[dict[str, Any]]:
    for example in examples:
        yield {"prompt": _prompt(example), "completion": [_assistant(example.completion)]}


def _prompt(example: RaftExample) -> list[dict[str, str]]:
    return [
        {"role": message["role"], "content": message["content"]}
        for message in answer_messages(example.question, example.passages)
    ]


def _assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def _gorilla_hf(examples: Sequence[RaftExample]) -> Iterable[dict[str, Any]]:
    for example in examples:
        shown = [passage.text for passage in example.passages]
        golden = [p.text for p in example.passages if p.chunk_id in example.golden_ids]
        yield {
            "id": example.example_id,
            "type": "general",
            "question": example.question,
            # Lists in lists, as the scripts of that project make them.
            "context": {
                "title": [[passage.title for passage in example.passages]],
                "sentences": [shown],
            },
            "oracle_context": "\n".join(golden) if golden else None,
            "cot_answer": _gorilla_answer(example),
            "instruction": _gorilla_context(example) + example.question,
        }


def _gorilla_completion(examples: Sequence[RaftExample]) -> Iterable[dict[str, Any]]:
    for row in _gorilla_hf(examples):
        yield {"prompt": row["instruction"], "completion": row["cot_answer"]}


def _gorilla_chat(examples: Sequence[RaftExample]) -> Iterable[dict[str, Any]]:
    for row in _gorilla_completion(examples):
        user = {"role": "user", "content": row["prompt"]}
        yield {"messages": [user, _assistant(row["completion"])]}


def _gorilla_eval(examples: Sequence[RaftExample]) -> Iterable[dict[str, Any]]:
    for example in examples:
        yield {
            "question": example.question,
            "gold_final_answer": _gorilla_answer(example).split(GORILLA_ANSWER)[-1],
            "context": _gorilla_context(example).rstrip("\n"),
        }


def _gorilla_context(example: RaftExample) -> str:
    return "".join(f"<DOCUMENT>{passage.text}</DOCUMENT>\n" for passage in example.passages)


def _gorilla_answer(example: RaftExample) -> str:
    reason = example.completion.split(ANSWER)[0].strip() if example.quote else ""
    answer = ABSTAIN if ABSTAIN in example.completion else example.answer
    return (f"##Reason: {reason}\n" if reason else "") + f"{GORILLA_ANSWER}{answer}"


_ROWS: dict[str, Callable[[Sequence[RaftExample]], Iterable[dict[str, Any]]]] = {
    "messages": _messages,
    "prompt-completion": _prompt_completion,
    "gorilla-hf": _gorilla_hf,
    "gorilla-completion": _gorilla_completion,
    "gorilla-chat": _gorilla_chat,
    "gorilla-eval": _gorilla_eval,
}
