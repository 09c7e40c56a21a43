"""Teachers write questions, quotes and answers for chunks.

A teacher knows nothing of distractors, stores or Ray. What it leaves out it counts by reason.
`LocalTeacher` works with any text model, the shipped one included, and needs no network:
answer spans are chosen first, a question is written for each, and a question is kept only if the
same model, reading the chunk, answers it with the intended span (round trip).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pydantic import Field

from data_pipelines.answer_spans import AnswerSpan, choose_answer_spans
from data_pipelines.question_checks import clean_question, question_fault
from data_pipelines.sentences import quote_around
from rayraft.config import Config
from rayraft.metrics import normalise_answer, token_f1
from rayraft.prompts import Message, answer_messages, parse_answer, prompt_digest, question_messages
from rayraft.records import Passage, digest


class TeacherConfig(Config):
    """Who writes the questions, and what is kept of them."""

    kind: Literal["local", "openai"] = "local"
    """`local`: a text model in the process; `openai`: an OpenAI-compatible HTTP endpoint."""
    base_model: str = Field(default="mini", min_length=1)
    """The local text model, or the endpoint's name of its model."""
    candidates_per_question: int = Field(default=3, ge=1, le=20)
    """Local: answer spans tried for each question wanted; most fail a check."""
    min_round_trip_f1: float = Field(default=0.6, ge=0, le=1)
    """Local: token F1 between the intended answer and the one read back; 0 keeps everything."""
    leak_f1: float = Field(default=0.6, gt=0, le=2)
    """A question that the teacher answers without the document, with at least this token F1, needs
    no document and is left out; above 1 nothing is, and nothing is asked."""
    max_quote_chars: int = Field(default=320, ge=20, le=4000)
    """A longer sentence is cut to the words around its answer."""
    max_new_tokens: int = Field(default=96, ge=8, le=2048)
    """Local: length limit of a written question and of the answer read back."""
    url: str = "http://localhost:8000/v1"
    """openai: base URL. The key is read from the environment variable OPENAI_API_KEY."""
    timeout_s: float = Field(default=60.0, gt=0)
    """openai: time limit of one request."""
    max_retries: int = Field(default=3, ge=0, le=20)
    """openai: further tries after a timeout, a refused connection, or status 408, 429 or 5xx."""
    max_in_flight: int = Field(default=8, ge=1, le=256)
    """openai: requests under way at a time from one actor."""


@dataclass(frozen=True)
class TeacherRequest:
    """One chunk to write questions for."""

    chunk_id: str
    title: str
    text: str
    count: int
    """Questions wanted, at most."""
    seed: int


@dataclass(frozen=True)
class WrittenQuestion:
    """A question, the sentence that answers it (verbatim from the chunk), and the answer."""

    question: str
    quote: str
    answer: str


@dataclass(frozen=True)
class TeacherResult:
    """What was written for one chunk, and why other attempts were left out."""

    written: list[WrittenQuestion] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


class Teacher(Protocol):
    """Writes questions for chunks."""

    name: str
    digest: str
    """Changes with anything that can change what the teacher writes."""

    def write(self, requests: Sequence[TeacherRequest]) -> list[TeacherResult]:
        """One result a request, in order; a result depends on its own request alone."""
        ...


@dataclass(frozen=True)
class TeacherIdentity:
    """What a teacher is known by before it is loaded."""

    name: str
    digest: str


def local_identity(base_digest: str, config: TeacherConfig) -> TeacherIdentity:
    """The identity of a local teacher with this base model."""
    parts = [base_digest, prompt_digest(), config.model_dump()]
    return TeacherIdentity(config.base_model, digest(parts))


class Writer(Protocol):
    """The part of `rayraft.models.text.TextModel` that a teacher uses."""

    base_digest: str

    def generate(
        self, prompts: Sequence[list[Message]], *, max_new_tokens: int
    ) -> Sequence["Generated"]:
        """One output a prompt, in order."""
        ...


class Generated(Protocol):
    """One output of a text model."""

    @property
    def text(self) -> str:
        """The text without special tokens."""
        ...


TEACHER_ERROR = "teacher_error"
"""Reason of what a teacher could not be asked: another time it may answer."""
LEAK = "answerable_without_documents"
"""Reason of questions whose answer the teacher knows by heart."""


def is_leak(output: str, answer: str, min_f1: float) -> bool:
    """Whether an output made without any document holds the intended answer."""
    said = parse_answer(output)
    return not said.abstained and token_f1(said.text, [answer]) >= min_f1


class LocalTeacher:
    """Span first, question second, round trip last, with one text model."""

    def __init__(self, model: Writer, config: TeacherConfig) -> None:
        identity = local_identity(model.base_digest, config)
        self.name, self.digest = identity.name, identity.digest
        self._model = model
        self._config = config

    def write(self, requests: Sequence[TeacherRequest]) -> list[TeacherResult]:
        """One result a request, in order."""
        # Batches never mix chunks: padding to another chunk's length moves bf16 logits, and the
        # same chunk must give the same questions in every partition.
        return [self._write_one(request) for request in requests]

    def _write_one(self, request: TeacherRequest) -> TeacherResult:
        result = TeacherResult()
        spans = choose_answer_spans(
            request.text,
            request.count * self._config.candidates_per_question,
            request.seed,
            request.chunk_id,
        )
        if not spans:
            result.dropped["no_answer_span"] += 1
            return result
        asked = self._ask(request, spans, result.dropped)
        kept = self._round_trip(request, asked, result.dropped)
        kept = self._without_leaks(kept, result.dropped)
        for question, span in kept[: request.count]:
            quote = quote_around(
                request.text, span.sentence, span.span, self._config.max_quote_chars
            )
            result.written.append(WrittenQuestion(question, quote, span.text))
        if len(kept) > request.count:
            result.dropped["more_than_wanted"] += len(kept) - request.count
        return result

    def _ask(
        self, request: TeacherRequest, spans: Sequence[AnswerSpan], dropped: Counter[str]
    ) -> list[tuple[str, AnswerSpan]]:
        prompts = [question_messages(request.title, request.text, span.text) for span in spans]
        asked: dict[str, tuple[str, AnswerSpan]] = {}
        for output, span in zip(self._generate(prompts), spans, strict=True):
            question = clean_question(output)
            fault = question_fault(question, span.text)
            if fault is None and normalise_answer(question) in asked:
                fault = "duplicate_question"
            if fault is not None:
                dropped[fault] += 1
            else:
                asked[normalise_answer(question)] = (question, span)
        return list(asked.values())

    def _round_trip(
        self,
        request: TeacherRequest,
        asked: Sequence[tuple[str, AnswerSpan]],
        dropped: Counter[str],
    ) -> list[tuple[str, AnswerSpan]]:
        if not asked or self._config.min_round_trip_f1 == 0:
            return list(asked)
        golden = Passage(
            chunk_id=request.chunk_id, document_id="", title=request.title, text=request.text
        )
        outputs = self._generate([answer_messages(question, [golden]) for question, _ in asked])
        kept = []
        for output, (question, span) in zip(outputs, asked, strict=True):
            answer = parse_answer(output)
            if answer.abstained:
                dropped["round_trip_abstained"] += 1
            elif token_f1(answer.text, [span.text]) < self._config.min_round_trip_f1:
                dropped["round_trip_differs"] += 1
            else:
                kept.append((question, span))
        return kept

    def _without_leaks(
        self, asked: Sequence[tuple[str, AnswerSpan]], dropped: Counter[str]
    ) -> list[tuple[str, AnswerSpan]]:
        if not asked or self._config.leak_f1 > 1:
            return list(asked)
        outputs = self._generate([answer_messages(question, []) for question, _ in asked])
        kept = []
        for output, (question, span) in zip(outputs, asked, strict=True):
            if is_leak(output, span.text, self._config.leak_f1):
                dropped[LEAK] += 1
            else:
                kept.append((question, span))
        return kept

    def _generate(self, prompts: Sequence[list[Message]]) -> list[str]:
        limit = self._config.max_new_tokens
        return [output.text for output in self._model.generate(prompts, max_new_tokens=limit)]
