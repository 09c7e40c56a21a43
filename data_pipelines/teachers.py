"""Teachers write questions, quotes and answers for chunks, and reasoning for questions.

A teacher knows nothing of distractors, stores or Ray. What it leaves out it counts by reason, and
what it cannot write costs its own chunk only.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rayraft.metrics import token_f1
from rayraft.prompts import parse_answer
from rayraft.records import Passage

TEACHER_ERROR = "teacher_error"
"""Reason of what a teacher could not be asked: another time it may answer."""
BUDGET_SPENT = "token_budget_spent"
"""Reason of what was not asked because the tokens are spent: the next run asks."""
ASK_AGAIN = frozenset({TEACHER_ERROR, BUDGET_SPENT})
LEAK = "answerable_without_documents"
"""Reason of questions whose answer the teacher knows by heart."""


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
class Support:
    """A further golden passage of a question, and the sentence of it that is needed."""

    passage: Passage
    quote: str


@dataclass(frozen=True)
class WrittenQuestion:
    """A question, the sentence that answers it (verbatim from the chunk), and the answer."""

    question: str
    quote: str
    answer: str
    """Empty: nobody can answer it from the documents, and there is no quote either."""
    reasoning: str = ""
    """Sentences around quotes, each between its markers; empty: the quotes are the reasoning."""
    supports: tuple[Support, ...] = ()
    """Where the answer needs several documents: all but the chunk's own."""

    @property
    def is_answerable(self) -> bool:
        """Whether there is an answer."""
        return bool(self.answer)

    @property
    def quotes(self) -> list[str]:
        """Of each golden passage, the chunk's own first."""
        return [quote for quote in (self.quote, *(s.quote for s in self.supports)) if quote]


@dataclass(frozen=True)
class TeacherResult:
    """What was written for one chunk, and why other attempts were left out."""

    written: list[WrittenQuestion] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    """As far as an endpoint told them."""


class Teacher(Protocol):
    """Writes questions for chunks."""

    name: str
    digest: str
    """Changes with anything that can change what the teacher writes."""

    def write(self, requests: Sequence[TeacherRequest]) -> list[TeacherResult]:
        """One result a request, in order; a result depends on its own request alone."""
        ...

    def explain(
        self, requests: Sequence[TeacherRequest], results: Sequence[TeacherResult]
    ) -> list[TeacherResult]:
        """The results with reasoning; a question whose reasoning fails keeps its quotes."""
        ...


@dataclass(frozen=True)
class TeacherIdentity:
    """What a teacher is known by before it is loaded."""

    name: str
    digest: str


class HandedOut:
    """A teacher of what was written before: people's questions, or an engine's that ran first.

    Args:
        identity: Of who wrote it.
        results: By chunk; a chunk that is not among them has nothing.
        explainer: Writes the reasoning for it; None: it is as it is.
    """

    def __init__(
        self,
        identity: TeacherIdentity,
        results: Mapping[str, TeacherResult],
        explainer: Teacher | None = None,
    ) -> None:
        self.name, self.digest = identity.name, identity.digest
        self._results = results
        self._explainer = explainer

    def write(self, requests: Sequence[TeacherRequest]) -> list[TeacherResult]:
        """All that was written for each chunk, whatever the count asked for."""
        results = [self._results.get(r.chunk_id, TeacherResult()) for r in requests]
        return results if self._explainer is None else self._explainer.explain(requests, results)

    def explain(
        self, requests: Sequence[TeacherRequest], results: Sequence[TeacherResult]
    ) -> list[TeacherResult]:
        """The results as they are."""
        return list(results)


def is_leak(output: str, answer: str, min_f1: float) -> bool:
    """Whether an output made without any document holds the intended answer."""
    said = parse_answer(output)
    return not said.abstained and token_f1(said.text, [answer]) >= min_f1
