"""Distractors that differ from the golden passage in one name and the answer, and in nothing else.

Documents of a company are often alike: the price list of each branch, the manual of each model. A
reader that goes by the kind of sentence takes the answer from any of them. These passages make the
name decide: a copy of the golden passage speaks of somebody else and has another answer. In part of
them the name stands in the title alone, as it does in such documents. In the spirit of entity
substitution (arXiv 2109.05052), there used to tell reading from memory. Pure text, no model.
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from rayraft.records import Passage
from train.passage_windows import bare_passage

TITLE_ONLY = 0.4
"""Share in which the name is taken out of the text and put into the title."""
PRONOUN = "it"

_NAME = re.compile(r"[A-Z][\w'-]*(?: (?:of the |of |the |de )?[A-Z][\w'-]*)*")
_NOT_NAMES = re.compile(
    r"(an?|are|at|by|can|did|do|does|during|for|from|has|have|how|if|in|is|it|of|on|the|to|was|were"
    r"|wh(at|en|ere|ich|ile|o|om|ose|y)|will|with)",
    re.IGNORECASE,
)
"""Words that are capitalised because they begin a question."""


@dataclass(frozen=True)
class Contrast:
    """A golden passage and its copies about others."""

    golden: Passage
    quote: str
    copies: list[Passage]


class Counterfactuals:
    """Names and answers of a set, from which copies take theirs."""

    def __init__(self, questions: Iterable[tuple[str, str]]) -> None:
        """From pairs of question and answer."""
        self._names: dict[int, list[str]] = defaultdict(list)
        self._answers: dict[tuple[bool, int], list[str]] = defaultdict(list)
        for question, answer in questions:
            for name in names_in(question):
                self._names[_words(name)].append(name)
            self._answers[_shape(answer)].append(answer)

    def contrast(  # noqa: PLR0913
        self,
        question: str,
        golden: Passage,
        quote: str,
        answer: str,
        count: int,
        rng: random.Random,
    ) -> Contrast | None:
        """`count` copies at most; None where the question has no name that can be changed."""
        name = _changeable(question, golden, answer, rng)
        if name is None:
            return None
        if rng.random() < TITLE_ONLY:
            golden = bare_passage(name, _replace(golden.text, name, PRONOUN))
            quote = _replace(quote, name, PRONOUN)
        if quote not in golden.text or answer not in golden.text:
            return None
        copies: list[Passage] = []
        for _ in range(4 * count):  # some turn out to be about the same
            if len(copies) == count:
                break
            other_name = rng.choice(self._names[_words(name)])
            other_answer = rng.choice(self._answers[_shape(answer)])
            text = _replace(_replace(golden.text, answer, other_answer), name, other_name)
            title = _replace(golden.title, name, other_name)
            copy = bare_passage(title, text)
            if not _holds(copy, name) and not _holds(copy, answer) and copy not in copies:
                copies.append(copy)
        return Contrast(golden, quote, copies) if copies else None


def names_in(question: str) -> list[str]:
    """Runs of capitalised words, without the question's own first word."""
    found = []
    for match in _NAME.finditer(question):
        words = match.group().split()
        while words and _NOT_NAMES.fullmatch(words[0]):
            words = words[1:]
        name = " ".join(words).removesuffix("'s")
        if len(name) > 2:
            found.append(name)
    return found


def _changeable(question: str, golden: Passage, answer: str, rng: random.Random) -> str | None:
    names = [
        name
        for name in names_in(question)
        if _holds(golden, name)
        and name.lower() not in answer.lower()
        and answer.lower() not in name.lower()
    ]
    return rng.choice(names) if names and len(answer) > 1 else None


def _holds(passage: Passage, phrase: str) -> bool:
    return phrase.lower() in f"{passage.title}\n{passage.text}".lower()


def _replace(text: str, phrase: str, other: str) -> str:
    return re.sub(rf"(?<!\w){re.escape(phrase)}(?!\w)", lambda _: other, text)


def _words(name: str) -> int:
    return min(3, len(name.split()))


def _shape(answer: str) -> tuple[bool, int]:
    """Copies get an answer of the same kind: with or without a digit, about as long."""
    return any(char.isdigit() for char in answer), min(4, len(answer.split()))
