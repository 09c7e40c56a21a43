"""A teacher that is any chat model which follows instructions.

What it is asked, and what of its answers holds, is here; an HTTP client or an engine carries the
prompts to the model.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data_pipelines.question_checks import clean_question, find_span, question_fault
from data_pipelines.reasoning import SYSTEM as REASONING_SYSTEM
from data_pipelines.reasoning import explain_results
from data_pipelines.teacher_config import TeacherConfig
from data_pipelines.teachers import (
    LEAK,
    TeacherIdentity,
    TeacherRequest,
    TeacherResult,
    WrittenQuestion,
    is_leak,
)
from rayraft.metrics import normalise_answer
from rayraft.prompts import Message, answer_messages, prompt_digest
from rayraft.records import digest
from rayraft.sentences import Span, quote_around

# Stands here and not in rayraft.prompts because no model of this project ever sees it: its digest
# belongs to the teacher, not to adapters.
_SYSTEM = (
    "You write training data for a question-answering model. Given a document, write questions "
    "that it answers. Each question names its subject, so that it can be understood without the "
    "document. Reply with one JSON object and nothing else: "
    '{"examples": [{"question": "...", "quote": "...", "answer": "..."}]}, where quote is the '
    "sentence of the document that answers the question, copied character by character, and answer "
    "is a few words of that quote."
)


@dataclass(frozen=True)
class Reply:
    """What came back for one prompt."""

    text: str = ""
    failed: str = ""
    """The reason to count where nothing came back."""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Carrier(Protocol):
    """Carries prompts to a model."""

    def __call__(self, prompts: Sequence[list[Message]], *, as_json: bool) -> list[Reply]:
        """One reply a prompt, in order; a failure is a reply too."""
        ...


def chat_identity(config: TeacherConfig) -> TeacherIdentity:
    """The identity of a chat model: its prompts, its name and where it is."""
    parts = [_SYSTEM, REASONING_SYSTEM, prompt_digest(), config.deciding()]
    return TeacherIdentity(config.base_model, digest(parts))


class ChatTeacher:
    """Asks for questions, quotes and answers as JSON, then each question without its document."""

    def __init__(self, config: TeacherConfig, carry: Carrier) -> None:
        identity = chat_identity(config)
        self.name, self.digest = identity.name, identity.digest
        self._config = config
        self._carry = carry

    def write(self, requests: Sequence[TeacherRequest]) -> list[TeacherResult]:
        """One result a request, in order."""
        replies = self._carry([write_messages(request) for request in requests], as_json=True)
        results = [
            parse_reply(request, reply, self._config.max_quote_chars)
            for request, reply in zip(requests, replies, strict=True)
        ]
        if self._config.leak_f1 <= 1:
            results = self._without_leaks(results)
        return self.explain(requests, results) if self._config.reasoning == "written" else results

    def explain(
        self, requests: Sequence[TeacherRequest], results: Sequence[TeacherResult]
    ) -> list[TeacherResult]:
        """The results with reasoning; a question whose reasoning fails keeps its quotes.

        Where nothing came back the result is counted as such, so that the next run asks again.
        """
        asked: list[Reply] = []

        def complete(prompts: Sequence[list[Message]]) -> list[str]:
            asked.extend(self._carry(prompts, as_json=False))
            return [reply.text for reply in asked]

        explained = explain_results(requests, results, complete)
        counts = [sum(w.is_answerable for w in result.written) for result in results]
        return _counted(explained, counts, asked)

    def _without_leaks(self, results: Sequence[TeacherResult]) -> list[TeacherResult]:
        asked = [written for result in results for written in result.written]
        prompts = [answer_messages(written.question, []) for written in asked]
        replies = self._carry(prompts, as_json=False)
        counts = [len(result.written) for result in results]
        leaks = iter(
            bool(reply.failed) or is_leak(reply.text, written.answer, self._config.leak_f1)
            for reply, written in zip(replies, asked, strict=True)
        )
        failures = iter(bool(reply.failed) for reply in replies)
        kept = []
        for result in results:
            flags = [next(leaks) for _ in result.written]
            unasked = sum(next(failures) for _ in result.written)
            dropped = result.dropped + Counter({LEAK: sum(flags) - unasked})
            written = [w for w, leaked in zip(result.written, flags, strict=True) if not leaked]
            kept.append(
                TeacherResult(written, dropped, result.prompt_tokens, result.completion_tokens)
            )
        return _counted(kept, counts, replies)


def _counted(
    results: Sequence[TeacherResult], prompts: Sequence[int], replies: Sequence[Reply]
) -> list[TeacherResult]:
    """The results with the failures and tokens of so many further prompts each."""
    left = iter(replies)
    counted = []
    for result, count in zip(results, prompts, strict=True):
        own = [next(left) for _ in range(count)]
        counted.append(
            TeacherResult(
                result.written,
                result.dropped + Counter(reply.failed for reply in own if reply.failed),
                result.prompt_tokens + sum(reply.prompt_tokens for reply in own),
                result.completion_tokens + sum(reply.completion_tokens for reply in own),
            )
        )
    return counted


def write_messages(request: TeacherRequest) -> list[Message]:
    """The prompt for the questions of one chunk."""
    user = (
        f"Title: {request.title}\nDocument:\n{request.text}\n\n"
        f"Write {request.count} question(s), as different from one another as possible."
    )
    return [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": user}]


def parse_reply(request: TeacherRequest, reply: Reply, max_quote_chars: int) -> TeacherResult:
    """What of a reply holds, and counts of what does not."""
    result = TeacherResult(
        prompt_tokens=reply.prompt_tokens, completion_tokens=reply.completion_tokens
    )
    if reply.failed:
        result.dropped[reply.failed] += 1
        return result
    rows = _parse(reply.text)
    if rows is None:
        result.dropped["teacher_not_json"] += 1
    for row in rows or ():
        _take(request, row, result, max_quote_chars)
    return result


def _take(request: TeacherRequest, row: Any, result: TeacherResult, max_quote_chars: int) -> None:
    written, fault = _check(request, row, max_quote_chars)
    if written is not None and any(
        normalise_answer(other.question) == normalise_answer(written.question)
        for other in result.written
    ):
        written, fault = None, "duplicate_question"
    if written is not None and len(result.written) >= request.count:
        written, fault = None, "more_than_wanted"
    if written is None:
        result.dropped[fault] += 1
    else:
        result.written.append(written)


def _parse(content: str) -> list[Any] | None:
    # Small models wrap the object in prose or a code fence.
    start, end = content.find("{"), content.rfind("}")
    try:
        value = json.loads(content[start : end + 1]) if start >= 0 else None
    except (json.JSONDecodeError, RecursionError):
        return None
    if isinstance(value, dict) and "examples" not in value:
        value = {"examples": [value]}
    rows = value.get("examples") if isinstance(value, dict) else None
    return rows if isinstance(rows, list) else None


class _Row(BaseModel):
    """One example as the model must send it."""

    model_config = ConfigDict(str_strip_whitespace=True)

    question: str
    quote: str = Field(min_length=1)
    answer: str = Field(min_length=1)


def _check(
    request: TeacherRequest, row: Any, max_quote_chars: int
) -> tuple[WrittenQuestion | None, str]:
    try:
        sent = _Row.model_validate(row)
    except ValidationError:
        return None, "teacher_field_wrong"
    question, answer = clean_question(sent.question), " ".join(sent.answer.split())
    fault = question_fault(question, answer)
    if fault is not None:
        return None, fault
    span = find_span(request.text, sent.quote)
    if span is None:
        return None, "quote_not_in_chunk"
    inner = find_span(request.text[span.start : span.end], answer)
    if inner is None:
        return None, "answer_not_in_quote"
    held = Span(span.start + inner.start, span.start + inner.end)
    quote = quote_around(request.text, span, held, max_quote_chars)
    return WrittenQuestion(question, quote, request.text[held.start : held.end]), ""
