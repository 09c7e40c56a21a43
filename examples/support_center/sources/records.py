"""The two records of the corpus, a source document and a question, and the readers of its data.

Knows nothing about file formats: `formats` and `binary` turn sources into files.
"""

from __future__ import annotations

import csv
import random
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
SEED = 2025


@dataclass(frozen=True)
class Source:
    """One document before it is written in a file format."""

    document_id: str
    """Path below `documents/`, or the `id` of a JSONL row."""
    file: str
    """Path below `documents/` of the file that holds the document; many rows share a JSONL file."""
    title: str
    body: str
    """Markdown (headings, paragraphs, lists) without the title; for a CSV file, its content."""
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """All text of the document, with white space folded to single spaces."""
        return " ".join(f"{self.title} {self.body}".split())


@dataclass(frozen=True)
class Question:
    """One question with its answers, which stand verbatim in a golden document."""

    kind: str
    question: str
    answers: list[str]
    gold_ids: list[str]
    groups: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Change:
    """A question whose right answer differs before and after the update."""

    change: str
    """`changed`, `appeared` or `disappeared`."""
    before: Question
    after: Question


def seeded(*key: object) -> random.Random:
    """Returns a random generator that depends on `key` alone, so that changes stay local."""
    return random.Random(":".join(str(part) for part in (SEED, *key)))


def load_yaml(name: str) -> Any:
    """Returns the content of `data/<name>`."""
    return yaml.safe_load((ROOT / "data" / name).read_text(encoding="utf-8"))


def load_csv(name: str) -> list[dict[str, str]]:
    """Returns the rows of `data/<name>`."""
    with (ROOT / "data" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def dong(amount: str) -> list[str]:
    """Returns the answers for an amount in prose: with its unit and without."""
    return [f"{amount} dong", amount]


def slug(name: str) -> str:
    """Returns `name` in lower case with dashes, for paths and ids."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
