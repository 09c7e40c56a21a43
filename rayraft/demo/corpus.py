"""What the demo runs on: the example corpus with its questions and update, or a person's folder.

Pure reading and writing of files; knows nothing of processes and HTTP.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rayraft.errors import InputError, NotFoundError
from rayraft.questions import sample_questions
from rayraft.records import Question

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "support_center"
SHOWN = "update-023"
"""How long a camera keeps its clips: 14 days, then 30."""


@dataclass(frozen=True)
class Corpus:
    """Documents and, where there are any, questions and an update."""

    documents: Path
    questions: Path | None = None
    """None: they are taken from the validation split of the RAFT examples."""
    updates: Path | None = None
    """Folder with `documents/`, `deleted.txt` and `questions.jsonl`; None: facts are edited."""


@dataclass(frozen=True)
class Edit:
    """A document as it shall be, and the question whose answer changes with it."""

    document_id: str
    text: str
    question: str
    before: list[str]
    after: list[str]

    def as_question(self) -> Question:
        """The question with the answer that is right after the edit."""
        return Question(
            id=self.document_id,
            question=self.question,
            answers=self.after,
            gold_ids=[self.document_id],
        )


@dataclass(frozen=True)
class ChangedFact:
    """A question of an update, with the answers that were right before it."""

    question: Question
    before: tuple[str, ...]

    def as_it_was(self) -> Question:
        """The question with the answer that is right before the update."""
        return self.question.model_copy(update={"answers": list(self.before)})


def find_corpus(data: Path | None) -> Corpus:
    """The corpus in folder `data`, or the example corpus of this checkout.

    Raises:
        NotFoundError: There is no such folder.
    """
    folder = data if data is not None else EXAMPLE
    if not folder.is_dir():
        hint = "" if data else "; it comes with a checkout alone: name a folder of your own"
        raise NotFoundError(f"{folder}: no such folder of documents{hint}")
    if data is not None:
        return Corpus(documents=folder)
    return Corpus(
        documents=folder / "documents",
        questions=folder / "questions.jsonl",
        updates=folder / "updates",
    )


def validation_questions(raft_folder: Path) -> list[tuple[Question, str]]:
    """Questions of the newest RAFT run's validation split, each with its quote.

    Their documents were held out of training. Only answerable rows are used.

    Raises:
        InputError: No run, or its validation split holds no question.
    """
    import pyarrow.parquet as pq  # the front needs it here alone

    files = sorted(raft_folder.glob("*/validation.parquet"), key=lambda file: file.stat().st_mtime)
    rows: list[dict[str, Any]] = pq.read_table(files[-1]).to_pylist() if files else []
    found = [
        (
            Question(
                id=row["example_id"],
                question=row["question"],
                answers=[row["answer"]],
                gold_ids=[row["document_id"]],
            ),
            row["quote"],
        )
        for row in rows
        if row["answer"] and row["quote"]
    ]
    if not found:
        raise InputError(f"{raft_folder}: no question in the validation split; add documents")
    return found


def known_questions(
    questions: Sequence[Question],
    asked: Sequence[Question],
    facts: Sequence[ChangedFact],
    share: float = 1.0,
) -> list[Question]:
    """What can be learned by heart before an update: a share of what is not kept for asking.

    The facts that will change are among them, all of them, with the answers of before.
    """
    was = {fact.question.question: fact.as_it_was() for fact in facts}
    kept = {question.question for question in asked}
    rest = [q for q in questions if q.question not in was and q.question not in kept]
    rest = [question for question in rest if question.answers]
    wanted = max(0, round(share * (len(rest) + len(was))) - len(was))
    sample = rest if wanted >= len(rest) else sample_questions(rest, wanted, seed=0)
    return [*sample, *(question for question in was.values() if question.answers)]


def changed_facts(updates: Path) -> list[ChangedFact]:
    """The facts that an update changes and everybody may read, the one to show first.

    It is shown in a conversation with a small model, so it is a plain one: a span of days.
    """
    lines = (updates / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    facts = [
        ChangedFact(Question(**row), tuple(row["answers_before"]))
        for row in rows
        if row.get("change") == "changed"
        and row["gold_ids"] == row["gold_ids_before"]  # else the fact moved to a new document
        and row["answers"]
        and not row.get("groups")
    ]
    return sorted(facts, key=lambda fact: (fact.question.id != SHOWN, fact.question.id))


def edited_document(fact: ChangedFact, text: str) -> Edit | None:
    """The document's text with the new answer for the old one; None if that is not in it."""
    for old in fact.before:
        if old in text:
            return Edit(
                document_id=fact.question.gold_ids[0],
                text=text.replace(old, fact.question.answers[0], 1),
                question=fact.question.question,
                before=list(fact.before),
                after=fact.question.answers,
            )
    return None


def edited_fact(question: Question, quote: str, text: str, others: Sequence[str]) -> Edit | None:
    """The document's text with another answer in the quoted sentence; None if it is not there."""
    old = question.answers[0]
    start = text.find(quote)
    at = text.find(old, start, start + len(quote)) if start >= 0 else -1
    new = other_answer(old, others)
    if at < 0 or new is None:
        return None
    return Edit(
        document_id=question.gold_ids[0],
        text=text[:at] + new + text[at + len(old) :],
        question=question.question,
        before=[old],
        after=[new],
    )


def other_answer(answer: str, others: Sequence[str]) -> str | None:
    """A different answer of the same look: the last number raised, or somebody else's answer."""
    numbers = list(re.finditer(r"\d+", answer))
    if numbers:
        last = numbers[-1]
        raised = str(int(last.group()) + 3).zfill(len(last.group()))
        return answer[: last.start()] + raised + answer[last.end() :]
    unlike = (o for o in others if o.lower() not in answer.lower() and not re.search(r"\d", o))
    return next((o for o in unlike if answer.lower() not in o.lower()), None)
