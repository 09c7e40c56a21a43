"""How many passages fit into a prompt.

Counts tokens by an estimate that needs no tokenizer, so that the answering logic can run apart
from the model; a caller that has a tokenizer passes its own counter.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rayraft.prompts import answer_messages
from rayraft.records import Passage

_PIECE = re.compile(r"[A-Za-z]+|\d|[^\sA-Za-z\d]")
_LETTERS_PER_TOKEN = 5
"""Word pieces of English vocabularies hold 4 to 6 letters where a word is split at all."""


def estimate_tokens(text: str) -> int:
    """Tokens of `text`, seldom too few: words by length, digits and all other signs singly."""
    return sum(math.ceil(len(piece) / _LETTERS_PER_TOKEN) for piece in _PIECE.findall(text))


@dataclass(frozen=True)
class PromptBudget:
    """The room that a prompt has."""

    max_prompt_tokens: int = 1536
    count_tokens: Callable[[str], int] = estimate_tokens


def fit_passages(question: str, passages: Sequence[Passage], budget: PromptBudget) -> list[Passage]:
    """The first passages that fit together; if not even one does, the beginning of the first."""
    if _prompt_tokens(question, passages, budget) <= budget.max_prompt_tokens:
        return list(passages)
    kept: list[Passage] = []
    for passage in passages:
        if _prompt_tokens(question, [*kept, passage], budget) > budget.max_prompt_tokens:
            break
        kept.append(passage)
    if not kept and passages:
        kept = _beginning(question, passages[0], budget)
    return kept


def _beginning(question: str, passage: Passage, budget: PromptBudget) -> list[Passage]:
    """The longest beginning of `passage` that fits, by bisection over its words; may be none."""
    ends = [match.end() for match in re.finditer(r"\S+", passage.text)]
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high + 1) // 2
        cut = _cut(passage, ends[middle - 1])
        if _prompt_tokens(question, [cut], budget) <= budget.max_prompt_tokens:
            low = middle
        else:
            high = middle - 1
    return [_cut(passage, ends[low - 1])] if low else []


def _cut(passage: Passage, length: int) -> Passage:
    text = passage.text[:length]
    return passage.model_copy(update={"text": text, "end": passage.start + len(text)})


def _prompt_tokens(question: str, passages: Sequence[Passage], budget: PromptBudget) -> int:
    messages = answer_messages(question, passages)
    return sum(budget.count_tokens(message["content"]) for message in messages)
