"""A teacher behind any OpenAI-compatible endpoint.

A request that fails for good, or an answer that is not the JSON asked for, is counted and costs
its chunk only: a long job never ends because of one row.
"""

import json
import logging
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data_pipelines.question_checks import clean_question, find_span, question_fault
from data_pipelines.sentences import Span, quote_around
from data_pipelines.teachers import (
    LEAK,
    TEACHER_ERROR,
    TeacherConfig,
    TeacherIdentity,
    TeacherRequest,
    TeacherResult,
    WrittenQuestion,
    is_leak,
)
from rayraft.metrics import normalise_answer
from rayraft.prompts import Message, answer_messages
from rayraft.records import digest

logger = logging.getLogger(__name__)

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
_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_MAX_WAIT_S = 30.0


class OpenAITeacher:
    """Asks a chat-completions endpoint for questions, quotes and answers as JSON."""

    def __init__(
        self,
        config: TeacherConfig,
        api_key: str = "",
        transport: httpx2.BaseTransport | None = None,
        first_wait_s: float = 0.5,
    ) -> None:
        identity = openai_identity(config)
        self.name, self.digest = identity.name, identity.digest
        self._config = config
        self._first_wait_s = first_wait_s
        self._client = httpx2.Client(
            base_url=config.url.rstrip("/") + "/",
            timeout=config.timeout_s,
            transport=transport,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
        )

    def write(self, requests: Sequence[TeacherRequest]) -> list[TeacherResult]:
        """One result a request, in order."""
        with ThreadPoolExecutor(self._config.max_in_flight) as pool:
            return list(pool.map(self._write_one, requests))

    def _write_one(self, request: TeacherRequest) -> TeacherResult:
        result = TeacherResult()
        try:
            content = self._complete(_messages(request), as_json=True)
        except httpx2.HTTPError as exc:
            logger.warning("teacher %s, chunk %s: %s", self.name, request.chunk_id, exc)
            result.dropped[TEACHER_ERROR] += 1
            return result
        rows = _parse(content)
        if rows is None:
            result.dropped["teacher_not_json"] += 1
            return result
        for row in rows:
            self._take(request, row, result)
        return TeacherResult(
            [written for written in result.written if not self._leaks(written, result.dropped)],
            result.dropped,
        )

    def _leaks(self, written: WrittenQuestion, dropped: Counter[str]) -> bool:
        """Counts a question that the endpoint answers without the document."""
        if self._config.leak_f1 > 1:
            return False
        try:
            output = self._complete(answer_messages(written.question, []), as_json=False)
        except httpx2.HTTPError as exc:
            logger.warning("teacher %s, %r: %s", self.name, written.question, exc)
            dropped[TEACHER_ERROR] += 1
            return True
        leaks = is_leak(output, written.answer, self._config.leak_f1)
        dropped[LEAK] += int(leaks)
        return leaks

    def _complete(self, messages: Sequence[Message], *, as_json: bool) -> str:
        body: dict[str, Any] = {
            "model": self._config.base_model,
            "messages": messages,
            "temperature": 0,
        }
        if as_json:
            body["response_format"] = {"type": "json_object"}
        for attempt in range(self._config.max_retries + 1):
            try:
                response = self._client.post("chat/completions", json=body)
                if response.status_code not in _RETRIED or attempt == self._config.max_retries:
                    return _content(response)
            except httpx2.TransportError:
                if attempt == self._config.max_retries:
                    raise
            time.sleep(min(self._first_wait_s * 2**attempt, _MAX_WAIT_S))
        raise AssertionError("the last attempt returns or raises")

    def _take(self, request: TeacherRequest, row: Any, result: TeacherResult) -> None:
        written, fault = _check(request, row, self._config.max_quote_chars)
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


def openai_identity(config: TeacherConfig) -> TeacherIdentity:
    """The identity of a teacher behind an endpoint: its prompt, address and model's name."""
    parts = [_SYSTEM, config.url, config.base_model, config.max_quote_chars, config.leak_f1]
    return TeacherIdentity(config.base_model, digest(parts))


def _messages(request: TeacherRequest) -> list[Message]:
    user = (
        f"Title: {request.title}\nDocument:\n{request.text}\n\n"
        f"Write {request.count} question(s), as different from one another as possible."
    )
    return [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": user}]


def _content(response: httpx2.Response) -> str:
    response.raise_for_status()
    try:
        return str(response.json()["choices"][0]["message"]["content"] or "")
    except (ValueError, KeyError, IndexError, TypeError):
        return ""


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
    """One example as the endpoint must send it."""

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
