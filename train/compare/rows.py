"""What is asked of an arm, and what came of it."""

import math
from collections.abc import Sequence

from pydantic import Field

from rayraft.metrics import ndcg_at_k, recall_at_k, score_answer
from rayraft.records import Answer, Passage, Question, Record
from train.compare.measures import RIGHT, is_supported, reciprocal_rank, rouge_l

RANKED = 10
"""Passages whose order is scored."""


class Task(Record):
    """One question for one arm under one condition."""

    arm: str
    question: Question
    condition: str = ""
    """Of `train.compare.conditions`; empty: as the service answers."""
    secret: list[str] = Field(default_factory=list)
    """What must not be said."""


class ArmRow(Record):
    """One answer with its measures."""

    arm: str
    condition: str = ""
    question: Question
    secret: list[str] = Field(default_factory=list)
    prediction: str = ""
    """Empty where the arm abstained."""
    raw: str = ""
    abstained: bool = False
    exact_match: float | None = None
    """None where nothing was answered: retrieval alone."""
    token_f1: float | None = None
    rouge_l: float | None = None
    supported: bool | None = None
    """Whether a verified quote holds the answer; None where the arm abstained."""
    recall_at_k: float | None = None
    """None without retrieval or without gold documents."""
    ndcg_at_10: float | None = None
    reciprocal_rank: float | None = None
    """These two of retrieval alone, which ranks ten passages."""
    answered_by: str = ""
    confidence: float | None = None
    """Mean probability (geometric) of the tokens that the model wrote; None where it says none."""
    route: str = ""
    documents: list[str] = Field(default_factory=list)
    """Of the passages shown, in order."""
    quotes: list[str] = Field(default_factory=list)
    """Verified ones."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    timings_ms: dict[str, float] = Field(default_factory=dict)
    cpu_s: float = 0.0
    """CPU seconds of the process that answered."""
    memory_mb: float = 0.0
    """Peak resident memory of that process so far, all arms' adapters among it."""

    @property
    def hallucinated(self) -> bool:
        """Whether an answer was given that is wrong and that no verified quote holds."""
        wrong = (self.token_f1 or 0.0) < RIGHT
        return not self.abstained and wrong and not self.supported


def answered_row(task: Task, given: Answer) -> ArmRow:
    """The row of an answer."""
    asked = task.question
    said = "" if given.abstained else given.text
    score = score_answer(given.text, given.abstained, asked.answers)
    quotes = [citation.quote for citation in given.citations]
    documents = [passage.document_id for passage in given.passages]
    searched = given.mode != "closed_book"
    return ArmRow(
        arm=task.arm,
        condition=task.condition,
        question=asked,
        secret=task.secret,
        prediction=said,
        raw=given.raw,
        abstained=given.abstained,
        exact_match=score.exact_match,
        token_f1=score.token_f1,
        rouge_l=rouge_l(said, asked.answers) if asked.answers and said else score.token_f1,
        supported=None if given.abstained else is_supported(given.text, quotes),
        recall_at_k=recall_at_k(documents, asked.gold_ids) if searched else None,
        answered_by=given.mode,
        confidence=None if given.mean_logprob is None else math.exp(given.mean_logprob),
        route=given.route,
        documents=documents,
        quotes=quotes,
        prompt_tokens=given.usage.prompt_tokens,
        completion_tokens=given.usage.completion_tokens,
        timings_ms=given.timings_ms,
    )


def searched_row(task: Task, found: Sequence[Passage], k: int, milliseconds: float) -> ArmRow:
    """The row of a search without an answer."""
    asked = task.question
    documents = [passage.document_id for passage in found]
    return ArmRow(
        arm=task.arm,
        question=asked,
        recall_at_k=recall_at_k(documents[:k], asked.gold_ids),
        ndcg_at_10=ndcg_at_k(documents, asked.gold_ids, RANKED),
        reciprocal_rank=reciprocal_rank(documents[:RANKED], asked.gold_ids),
        documents=documents,
        timings_ms={"retrieve": milliseconds, "total": milliseconds},
    )


def rescored(row: ArmRow, question: Question) -> ArmRow:
    """The same answer against other right answers: what was said before an update, after it."""
    score = score_answer(row.prediction, row.abstained, question.answers)
    overlap = rouge_l(row.prediction, question.answers)
    return row.model_copy(
        update={
            "question": question,
            "exact_match": score.exact_match,
            "token_f1": score.token_f1,
            "rouge_l": overlap if question.answers and not row.abstained else score.token_f1,
        }
    )
