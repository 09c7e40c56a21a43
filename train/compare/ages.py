"""Which questions are about old documents and which about new ones.

A document's age is the date in its metadata; where no golden document has one, the version of the
knowledge base in which it was last written.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from data_pipelines.kb import KnowledgeBase
from data_pipelines.kb_table import UPDATED_IN
from rayraft.records import Question

GROUPS = 4
LEAST = 8
"""Fewer questions make no group: a figure of three says nothing."""
UNDATED = "no date"


@dataclass(frozen=True)
class Ages:
    """The groups, oldest first, and whose question belongs to which."""

    by: str = ""
    """`date` of the metadata, or `version` of the knowledge base."""
    groups: list[str] = field(default_factory=list)
    group_of: dict[str, str] = field(default_factory=dict)
    """Question id -> group; questions without golden documents are in none."""


def question_ages(kb: KnowledgeBase, questions: Sequence[Question], name: str) -> Ages:
    """The ages of what questions are about.

    Args:
        kb: Has the golden documents.
        questions: Those asked.
        name: Of the date in the metadata; dates sort as text, as ISO 8601 does.
    """
    golden = {document for question in questions for document in question.gold_ids}
    rows = kb.read_chunks(["document_id", "metadata", UPDATED_IN], "position = 0").to_pylist()
    own = [row for row in rows if row["document_id"] in golden]
    dates = {row["document_id"]: json.loads(row["metadata"]).get(name) for row in own}
    dated = {document: str(date) for document, date in dates.items() if date is not None}
    by = "date" if dated else "version"
    # As text, versions sort like numbers where all have as many digits.
    ages = dated or {row["document_id"]: f"{row[UPDATED_IN]:06d}" for row in own}
    newest = _newest(questions, ages)
    group_of = age_groups(newest)
    if not dated:
        group_of = {key: re.sub(r"\b0+(?=\d)", "", group) for key, group in group_of.items()}
    groups = list(dict.fromkeys(group_of[i] for i in sorted(newest, key=newest.__getitem__)))
    undated = [q.id for q in questions if q.gold_ids and q.id not in newest]
    if undated:
        groups.append(UNDATED)
    return Ages(by, groups, group_of | dict.fromkeys(undated, UNDATED))


def age_groups(dates: Mapping[str, str], count: int = GROUPS) -> dict[str, str]:
    """Key -> `oldest to newest` of its group: at most so many groups, of about equal size.

    Keys with the same date are in the same group; there are fewer groups where `LEAST` keys would
    not be in each.
    """
    count = max(1, min(count, len(dates) // LEAST))
    order = sorted(dates, key=lambda key: (dates[key], key))
    number: dict[str, int] = {}  # date -> group, by the first key that has the date
    for place, key in enumerate(order):
        number.setdefault(dates[key], place * count // len(order))
    found: dict[int, list[str]] = {}
    for date in sorted(number):
        found.setdefault(number[date], []).append(date)
    names = {
        g: own[0] if own[0] == own[-1] else f"{own[0]} to {own[-1]}" for g, own in found.items()
    }
    return {key: names[number[dates[key]]] for key in dates}


def _newest(questions: Sequence[Question], ages: Mapping[str, str]) -> dict[str, str]:
    """Question id -> the age of its newest golden document."""
    found = {q.id: [ages[d] for d in q.gold_ids if d in ages] for q in questions}
    return {key: max(own) for key, own in found.items() if own}
