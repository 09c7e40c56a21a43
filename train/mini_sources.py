"""Question-answering sets in memory: the passages and questions that training rows are cut from."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rayraft.errors import InputError
from rayraft.records import digest
from train.mini_config import DataSet, Mixture


@dataclass(frozen=True)
class Item:
    """A question with the one passage to read."""

    question: str
    answer: str
    """Stands in the passage; empty if the passage does not hold the answer."""
    passage_id: str


@dataclass
class Source:
    """One set in memory."""

    settings: DataSet
    title: dict[str, str] = field(default_factory=dict)
    text: dict[str, str] = field(default_factory=dict)
    by_title: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    answerable: list[Item] = field(default_factory=list)
    unanswerable: list[Item] = field(default_factory=list)


def read_source(folder: Path, settings: DataSet, mixture: Mixture, validation: bool) -> Source:
    """A set's passages, and the questions of its training or its held-out part.

    Raises:
        InputError: A file of the set is missing.
    """
    source = Source(settings)
    for passage in _lines(folder / settings.name / "corpus.jsonl"):
        source.title[passage["id"]] = passage.get("title", "")
        source.text[passage["id"]] = " ".join(passage["text"].split())
        source.by_title[passage.get("title", "")].append(passage["id"])
    for row in _lines(folder / settings.name / "queries.train.jsonl"):
        if is_held_out(row["id"], mixture.held_out) == validation:
            _add(source, row)
    return source


def is_held_out(question_id: str, share: float) -> bool:
    """Whether a question is kept for the validation loss: the same ones in every set and run."""
    return int(digest(question_id)[:8], 16) / 0xFFFFFFFF < share


def _lines(path: Path) -> Iterable[dict[str, Any]]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; --data names a folder of question-answering sets")
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _add(source: Source, row: dict[str, Any]) -> None:
    if not row["answers"]:
        context = row.get("meta", {}).get("context_id")
        if context in source.text:
            source.unanswerable.append(Item(row["question"], "", context))
        return
    votes = Counter(row.get("meta", {}).get("all_answers") or row["answers"])
    # What most people marked; among equals the shortest.
    for answer, _ in sorted(votes.items(), key=lambda vote: (-vote[1], len(vote[0]))):
        for passage_id in row["gold_ids"]:
            if answer.strip() and answer.lower() in source.text.get(passage_id, "").lower():
                source.answerable.append(Item(row["question"], answer.strip(), passage_id))
                return
