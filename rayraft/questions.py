"""Question files (one JSON object a line, checked line by line), samples, questions of examples."""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rayraft.config import explain
from rayraft.errors import InputError
from rayraft.jsonl import read_objects
from rayraft.records import Question, RaftExample


def read_questions(path: str | Path, limit: int | None = None) -> list[Question]:
    """The questions of a JSONL file in file order, the first `limit` of them.

    A line is `{"id", "question", "answers", "gold_ids"?, "kind"?, "groups"?, "meta"?}`; where
    `kind` is missing, `meta.kind` stands in. Every line is checked, also those beyond `limit`, so
    that a broken file is never half used. Blank lines are skipped.

    Raises:
        InputError: No such file, not UTF-8, no question in it, a broken line or an id that comes
            twice; names file, line number and what.
    """
    questions: dict[str, Question] = {}
    for where, values in read_objects(path, "questions"):
        question = _parse(values, where)
        if question.id in questions:
            raise InputError(f"{where}: id {question.id!r} comes twice")
        questions[question.id] = question
    if not questions:
        raise InputError(f"{path}: holds no question")
    return list(questions.values())[:limit]


def _parse(values: dict[str, Any], where: str) -> Question:
    meta = values.get("meta")
    if "kind" not in values and isinstance(meta, dict):
        values["kind"] = str(meta.get("kind", ""))
    try:
        return Question(**values)
    except ValidationError as exc:
        raise InputError(f"{where}: {explain(exc)}") from exc


def sample_questions(questions: Sequence[Question], count: int, seed: int) -> list[Question]:
    """At most `count` questions, the kinds as evenly as there are some of each; seeded."""
    kinds: dict[str, list[Question]] = defaultdict(list)
    for question in sorted(questions, key=lambda question: question.id):
        kinds[question.kind].append(question)
    generator = random.Random(seed)
    piles = [generator.sample(kinds[kind], len(kinds[kind])) for kind in sorted(kinds)]
    taken: list[Question] = []
    while len(taken) < count and any(piles):
        taken += [pile.pop() for pile in piles if pile]
    return sorted(taken[:count], key=lambda question: question.id)


def write_questions(path: Path, questions: Iterable[Question]) -> Path:
    """Writes a question file and returns its path."""
    lines = [question.model_dump_json() + "\n" for question in questions]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def question_of(example: RaftExample, groups: Sequence[str] = ()) -> Question:
    """What a RAFT example asks, to be measured; `groups` are those of the person who asks."""
    return Question(
        id=example.example_id,
        question=example.question,
        answers=[example.answer] if example.answer else [],
        gold_ids=example.golden_documents,
        groups=list(groups),
    )
