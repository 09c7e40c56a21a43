"""Reading of question files: one JSON object a line, checked line by line."""

import json
from pathlib import Path

from pydantic import ValidationError

from rayraft.config import explain
from rayraft.errors import InputError
from rayraft.records import Question


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
    for number, line in enumerate(_read(path).split("\n"), start=1):
        if not line.strip():
            continue
        question = _parse(line, f"{path} line {number}")
        if question.id in questions:
            raise InputError(f"{path} line {number}: id {question.id!r} comes twice")
        questions[question.id] = question
    if not questions:
        raise InputError(f"{path}: holds no question")
    return list(questions.values())[:limit]


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise InputError(f"questions file {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise InputError(f"questions file {path}: not UTF-8 at byte {exc.start}") from exc


def _parse(line: str, where: str) -> Question:
    try:
        values = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as exc:
        raise InputError(f"{where}: not JSON ({exc})") from exc
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected a JSON object, not {type(values).__name__}")
    meta = values.get("meta")
    if "kind" not in values and isinstance(meta, dict):
        values["kind"] = str(meta.get("kind", ""))
    try:
        return Question(**values)
    except ValidationError as exc:
        raise InputError(f"{where}: {explain(exc)}") from exc
