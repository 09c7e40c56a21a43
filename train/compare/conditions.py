"""What is shown under each condition of the robustness test, by hand instead of by retrieval.

| condition | passages |
|---|---|
| `golden` | the golden documents' best |
| `distractors-N` | those among N hard distractors |
| `absent` | retrieved ones, none of them golden: to abstain is right |
| `contradicting` | golden ones, and a copy of one with another answer in it |
| `shuffled` | retrieved ones, in another order |
| `reworded` | retrieved for the question in other words (by rule: a polite frame) |

Pure but for the searcher that is handed in.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from data_pipelines.in_process import Searcher, retrieve_from
from rayraft.demo.corpus import other_answer
from rayraft.protocols import Retrieve, Retrieved
from rayraft.records import Passage, Question, digest

ABSENT, CONTRADICTING, SHUFFLED, REWORDED = "absent", "contradicting", "shuffled", "reworded"
GOLDEN = "golden"
DISTRACTORS = "distractors-"
_SPARE = 16
"""Hits searched beyond those shown, because golden ones are taken out."""


@dataclass(frozen=True)
class Staged:
    """How a condition is staged."""

    k: int
    seed: int = 0
    other_answers: list[str] = field(default_factory=list)
    """Answers of other questions, for contradictions."""


def retrieve_under(condition: str, asked: Question, searcher: Searcher, staged: Staged) -> Retrieve:
    """What stands in the place of retrieval for one question under one condition."""
    if condition in ("", REWORDED):
        return retrieve_from(searcher)

    async def retrieve(
        question: str,
        k: int,
        where: dict[str, Any] | None,
        groups: Sequence[str],
        min_kb_version: int | None,
    ) -> Retrieved:
        return Retrieved(staged_passages(condition, asked, searcher, staged), searcher.version)

    return retrieve


def staged_passages(
    condition: str, asked: Question, searcher: Searcher, staged: Staged
) -> list[Passage]:
    """The passages of one condition, in the order in which they are shown."""
    k, gold = staged.k, set(asked.gold_ids)
    hits = searcher.search([asked.question], k + _SPARE, groups=asked.groups)[0]
    others = [passage for passage in hits if passage.document_id not in gold]
    shuffle = random.Random(digest([staged.seed, condition, asked.id])).shuffle
    if condition == ABSENT:
        return others[:k]
    if condition == SHUFFLED:
        shown = hits[:k]
    else:
        own = {"document_id": list(asked.gold_ids)}
        golden = searcher.search([asked.question], k, where=own, groups=asked.groups)[0]
        golden = _answering(golden, asked)[: max(1, len(gold))]
        if condition == CONTRADICTING:
            shown = [*golden, *contradictions(golden, asked, staged.other_answers)]
        else:
            shown = golden + others[: distractors(condition)]
    shuffle(shown)
    return shown


def distractors(condition: str) -> int:
    """The number in `distractors-N`; 0 for `golden`."""
    return int(condition.removeprefix(DISTRACTORS)) if condition.startswith(DISTRACTORS) else 0


def contradictions(
    golden: Sequence[Passage], asked: Question, others: Sequence[str]
) -> list[Passage]:
    """A copy of the first golden passage that holds an answer, with another answer in its place."""
    for passage in golden:
        for answer in asked.answers:
            found = re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", passage.text, re.IGNORECASE)
            other = other_answer(answer, others)
            if found is None or other is None:
                continue
            text = passage.text[: found.start()] + other + passage.text[found.end() :]
            name = f"{passage.chunk_id}-contradicting"
            return [passage.model_copy(update={"chunk_id": name, "text": text})]
    return []


def reworded(question: str) -> str:
    """The question in a polite frame, with an end that says nothing: other words, same sense.

    A rule, and no paraphrasing model: it shows whether the surface matters, not whether meaning
    is understood.
    """
    body = question.strip()
    first = body.split(" ", 1)[0]
    if first.isalpha() and not first.isupper():
        body = body[:1].lower() + body[1:]
    return f"Hello, could you please help me with this: {body} Thank you very much."


def _answering(passages: Sequence[Passage], asked: Question) -> list[Passage]:
    """Passages that hold an answer first, otherwise as they were."""

    def misses(passage: Passage) -> bool:
        return not any(a.lower() in passage.text.lower() for a in asked.answers)

    return sorted(passages, key=misses)
