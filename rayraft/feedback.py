"""What people said of answers, as records; `data_pipelines.feedback` keeps them.

An accepted or corrected answer is a question with a known answer, and teaches (see `as_questions`);
a rejected one only says that something is wrong.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from rayraft.config import explain
from rayraft.errors import InputError
from rayraft.jsonl import read_objects
from rayraft.records import Question, Record, digest

Verdict = Literal["accepted", "corrected", "rejected"]


class Feedback(Record):
    """One person's word on one answer."""

    question: str = Field(min_length=1, max_length=20_000)
    verdict: Verdict
    answer: str = Field(default="", max_length=20_000)
    """accepted, rejected: the answer that was given; corrected: what it should have been."""
    document_ids: list[str] = Field(default_factory=list, max_length=100)
    """Where the answer stands: the documents that were cited, or that the person names."""
    groups: list[str] = Field(default_factory=list)
    """Of the person; set by the service."""
    mode: str = Field(default="", max_length=200)
    adapter: str = Field(default="", max_length=200)
    kb_version: int | None = Field(default=None, ge=0)
    """What the answer came from."""

    @model_validator(mode="after")
    def _teaches_something(self) -> "Feedback":
        if self.verdict != "rejected" and not self.answer.strip():
            raise ValueError(f"answer: must not be empty where verdict={self.verdict}")
        return self


def parse_feedback(path: str | Path) -> list[Feedback]:
    """The feedback of a JSONL file, in its order.

    Raises:
        InputError: No such file, or a broken line; names file, line number and what.
    """
    given = []
    for where, values in read_objects(path, "feedback"):
        try:
            given.append(Feedback(**values))
        except (ValidationError, TypeError) as exc:
            reason = explain(exc) if isinstance(exc, ValidationError) else str(exc)
            raise InputError(f"{where}: {reason}") from exc
    return given


def as_questions(given: Sequence[Feedback]) -> list[Question]:
    """Accepted and corrected answers as questions; of the same question the last word counts."""
    latest: dict[str, Feedback] = {}
    for one in given:
        latest[" ".join(one.question.lower().split())] = one
    return [
        Question(
            id=f"feedback-{digest(one.question)[:16]}",
            question=one.question,
            answers=[one.answer],
            gold_ids=one.document_ids,
            any_gold=True,  # what an answer cites need not all be needed
            kind="feedback",
            groups=one.groups,
        )
        for one in latest.values()
        if one.verdict != "rejected" and one.document_ids
    ]
