"""What a comparison is asked for, checked before any work. Needs neither Ray nor torch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from rayraft.config import explain
from rayraft.errors import InputError, NotFoundError
from rayraft.feedback import Feedback
from rayraft.jsonl import read_objects
from rayraft.metrics import normalise_answer
from rayraft.records import Question, Record, digest
from train.compare.config import CompareConfig
from train.compare.needs import Needs


class ChangedFact(Record):
    """A question whose right answer an update changes, brings or takes away."""

    after: Question
    before: Question
    change: str
    """changed, appeared or disappeared."""


@dataclass(frozen=True)
class Update:
    """A folder with `documents/` (changed and new files), `deleted.txt` and `questions.jsonl`."""

    documents: Path | None
    deleted: list[str]
    facts: list[ChangedFact]


@dataclass(frozen=True)
class Request:
    """One comparison."""

    store: str
    questions: Sequence[Question]
    config: CompareConfig
    learn: Sequence[Question] = ()
    """People's questions that adapters may learn; those asked are left out."""
    update: Update | None = None
    needs: Needs = field(default_factory=Needs)
    run: str | None = None


def read_update(folder: Path) -> Update:
    """The update in a folder.

    A line of its questions has `answers_before` and `gold_ids_before` beside what every question
    has; `answers == []` after it means that the fact is gone.

    Raises:
        NotFoundError: There is no such folder.
        InputError: It changes nothing, has no questions, or one of them is broken.
    """
    if not folder.is_dir():
        raise NotFoundError(f"--updates {folder}: no such folder")
    documents = folder / "documents"
    listed = folder / "deleted.txt"
    text = listed.read_text(encoding="utf-8") if listed.is_file() else ""
    deleted = [line.strip() for line in text.splitlines() if line.strip()]
    if not documents.is_dir() and not deleted:
        raise InputError(f"--updates {folder}: has neither documents/ nor deleted.txt")
    facts = [
        _fact(values, where)
        for where, values in read_objects(folder / "questions.jsonl", "update questions")
    ]
    if not facts:
        raise InputError(f"{folder / 'questions.jsonl'}: holds no question")
    return Update(documents if documents.is_dir() else None, deleted, facts)


def affected(update: Update, count: int) -> Update:
    """The update with at most so many of its facts: as evenly by change as there are some of each.

    The same ones every time; facts that changed come first where the number is odd.
    """
    piles: dict[str, list[ChangedFact]] = {"changed": [], "appeared": [], "disappeared": []}
    for fact in sorted(update.facts, key=lambda f: digest(["affected", f.after.id])):
        piles[fact.change].append(fact)
    taken: list[ChangedFact] = []
    while len(taken) < count and any(piles.values()):
        taken += [pile.pop(0) for pile in piles.values() if pile]
    facts = sorted(taken[:count], key=lambda fact: fact.after.id)
    return Update(update.documents, update.deleted, facts)


def _fact(values: dict[str, object], where: str) -> ChangedFact:
    missing = [name for name in ("answers_before", "answers") if name not in values]
    if missing:
        raise InputError(f"{where}: {missing[0]} is missing")
    was = {"answers": values["answers_before"], "gold_ids": values.get("gold_ids_before", [])}
    try:
        after = Question.model_validate(values)
        before = Question.model_validate(values | was)
    except ValidationError as exc:
        raise InputError(f"{where}: {explain(exc)}") from exc
    change = "changed" if after.answers else "disappeared"
    return ChangedFact(after=after, before=before, change=change if before.answers else "appeared")


def not_asked(learn: Sequence[Question], asked: Sequence[Question]) -> list[Question]:
    """Questions to learn that are not among those asked, and that have an answer."""
    kept = {normalise_answer(question.question) for question in asked}
    return [q for q in learn if q.answers and normalise_answer(q.question) not in kept]


def taught_before(update: Update | None, config: CompareConfig) -> list[Question]:
    """The affected facts as they were, for adapters to learn before the update."""
    if update is None or not config.update.taught:
        return []
    return [fact.before for fact in update.facts if fact.before.answers]


def corrections(facts: Sequence[ChangedFact]) -> list[Feedback]:
    """What people would say of stale answers after the update."""
    return [
        Feedback(
            question=fact.after.question,
            verdict="corrected",
            answer=fact.after.answers[0],
            document_ids=fact.after.gold_ids,
            groups=fact.after.groups,
        )
        for fact in facts
        if fact.after.answers and fact.after.gold_ids
    ]
