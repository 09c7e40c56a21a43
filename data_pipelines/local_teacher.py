"""A teacher that is any text model in the process, the shipped one included; no network.

Answer spans are chosen first, a question is written for each, and a question is kept only if the
same model, reading the chunk, answers it with the intended span (round trip). While questions are
missing, spans whose question failed are asked about once more, with a question that begins with the
next likely word: over-generation before the filter (Heilman and Smith, NAACL 2010).
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from data_pipelines.answer_spans import AnswerSpan, choose_answer_spans
from data_pipelines.question_checks import clean_question, question_fault, says_twice
from data_pipelines.reasoning import MAX_TOKENS as REASONING_TOKENS
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
from rayraft.errors import InputError
from rayraft.metrics import normalise_answer, token_f1
from rayraft.prompts import Message, answer_messages, parse_answer, prompt_digest, question_messages
from rayraft.records import Passage, digest
from rayraft.sentences import quote_around

TOO_LONG = "prompt_refused"
"""Reason of chunks that the model cannot read: longer than its context, or with its own marks."""


def local_identity(base_digest: str, config: TeacherConfig) -> TeacherIdentity:
    """The identity of a local teacher with this base model."""
    parts = [base_digest, prompt_digest(), config.deciding()]
    return TeacherIdentity(config.base_model, digest(parts))


class Writer(Protocol):
    """The part of `rayraft.models.text.TextModel` that a teacher uses."""

    base_digest: str

    def generate(
        self, prompts: Sequence[list[Message]], *, max_new_tokens: int, alternative: int = 0
    ) -> Sequence["Generated"]:
        """One output a prompt, in order; `alternative` as `rayraft.writing.Row` has it."""
        ...


class Generated(Protocol):
    """One output of a text model."""

    @property
    def text(self) -> str:
        """The text without special tokens."""
        ...

    @property
    def mean_logprob(self) -> float | None:
        """Of its tokens, nats; None where it was not measured."""
        ...


class Asked(NamedTuple):
    """A question for an answer span."""

    question: str
    span: AnswerSpan
    logprob: float
    """Mean over the question's tokens: how sure the model was of its words."""


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
        results = [self._write_or_count(request) for request in requests]
        return self.explain(requests, results) if self._config.reasoning == "written" else results

    def explain(
        self, requests: Sequence[TeacherRequest], results: Sequence[TeacherResult]
    ) -> list[TeacherResult]:
        """The results with reasoning; a question whose reasoning fails keeps its quotes."""
        return explain_results(requests, results, self._complete)

    def _complete(self, prompts: Sequence[list[Message]]) -> list[str]:
        outputs: list[str] = []
        for prompt in prompts:  # one by one, for the reason that `write` has
            try:
                made = self._model.generate([prompt], max_new_tokens=REASONING_TOKENS)
                outputs.append(made[0].text)
            except InputError:
                outputs.append("")
        return outputs

    def _write_or_count(self, request: TeacherRequest) -> TeacherResult:
        try:
            return self._write_one(request)
        except InputError:  # one chunk that cannot be read never ends the job
            return TeacherResult(dropped=Counter({TOO_LONG: 1}))

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
        kept: list[Asked] = []
        seen: set[str] = set()
        for number in range(self._config.questions_per_span):
            passed = {one.span for one in kept}
            left = [span for span in spans if span not in passed]
            if len(kept) >= request.count or not left:
                break
            asked = self._ask(request, left, number, seen, result.dropped)
            read = self._round_trip(request, asked, result.dropped)
            kept += self._without_leaks(read, result.dropped)
        # Of more than are wanted, those of whose words the model was surest read best.
        kept.sort(key=lambda one: -one.logprob)
        for question, span, _ in kept[: request.count]:
            quote = quote_around(
                request.text, span.sentence, span.span, self._config.max_quote_chars
            )
            result.written.append(WrittenQuestion(question, quote, span.text))
        if len(kept) > request.count:
            result.dropped["more_than_wanted"] += len(kept) - request.count
        return result

    def _ask(
        self,
        request: TeacherRequest,
        spans: Sequence[AnswerSpan],
        alternative: int,
        seen: set[str],
        dropped: Counter[str],
    ) -> list[Asked]:
        """Questions without a fault that are not among the `seen` ones, to which they are added."""
        prompts = [question_messages(request.title, request.text, span.text) for span in spans]
        asked = []
        outputs = self._generate(prompts, alternative)
        for output, span in zip(outputs, spans, strict=True):
            question = clean_question(output.text)
            fault = question_fault(question, span.text)
            if fault is None and says_twice(question):
                fault = "question_stutters"
            if fault is None and normalise_answer(question) in seen:
                fault = "duplicate_question"
            if fault is not None:
                dropped[fault] += 1
            else:
                seen.add(normalise_answer(question))
                logprob = output.mean_logprob
                asked.append(Asked(question, span, 0.0 if logprob is None else logprob))
        return asked

    def _round_trip(
        self,
        request: TeacherRequest,
        asked: Sequence[Asked],
        dropped: Counter[str],
    ) -> list[Asked]:
        if not asked or self._config.min_round_trip_f1 == 0:
            return list(asked)
        golden = Passage(
            chunk_id=request.chunk_id, document_id="", title=request.title, text=request.text
        )
        outputs = self._generate([answer_messages(one.question, [golden]) for one in asked])
        kept = []
        for output, one in zip(outputs, asked, strict=True):
            answer = parse_answer(output.text)
            if answer.abstained:
                dropped["round_trip_abstained"] += 1
            elif token_f1(answer.text, [one.span.text]) < self._config.min_round_trip_f1:
                dropped["round_trip_differs"] += 1
            else:
                kept.append(one)
        return kept

    def _without_leaks(self, asked: Sequence[Asked], dropped: Counter[str]) -> list[Asked]:
        if not asked or self._config.leak_f1 > 1:
            return list(asked)
        outputs = self._generate([answer_messages(one.question, []) for one in asked])
        kept = []
        for output, one in zip(outputs, asked, strict=True):
            if is_leak(output.text, one.span.text, self._config.leak_f1):
                dropped[LEAK] += 1
            else:
                kept.append(one)
        return kept

    def _generate(
        self, prompts: Sequence[list[Message]], alternative: int = 0
    ) -> Sequence[Generated]:
        return self._model.generate(
            prompts, max_new_tokens=self._config.max_new_tokens, alternative=alternative
        )
