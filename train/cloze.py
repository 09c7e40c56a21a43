"""Questions cut from the text itself: a sentence with a gap that the rest of its passage fills.

Recurring span selection (Splinter, arXiv 2101.00438): a name or number that stands in two sentences
of a passage is taken out of one of them, which becomes the question; the passage keeps the other.
A reader learns from it to find what fits, from any text, without people's questions.
"""

import random
import re
from collections import defaultdict
from dataclasses import dataclass

from rayraft.sentences import Span, split_sentences

_NAME = r"[A-Z][\w'\u2019-]+(?:\s(?:of\s(?:the\s)?|the\s)?[A-Z][\w'\u2019-]+)*"
_PHRASE = re.compile(rf"\b(?:{_NAME}|\d[\d,.]*\d|\d)(?:\s?%)?")
_YEAR = re.compile(r"1\d{3}|20\d\d")
MAX_WORDS = 28
"""Of a question: people's have ten, a sentence may have sixty."""


@dataclass(frozen=True)
class Cloze:
    """A question about `text`, which holds the answer."""

    question: str
    text: str
    answer: str


def cloze(text: str, title: str, rng: random.Random) -> Cloze | None:
    """A question from one sentence of `text` about the others; None if nothing recurs."""
    sentences = split_sentences(text)
    places = _recurring(text, sentences, title)
    if not places:
        return None
    phrase = rng.choice(sorted(places))
    number, at = rng.choice(places[phrase])
    asked = sentences[number]
    rest = " ".join(text[s.start : s.end].strip() for i, s in enumerate(sentences) if i != number)
    if phrase not in rest:  # it stood across a boundary that is gone now
        return None
    question = _question(text, asked, Span(at, at + len(phrase)), rng)
    return Cloze(question, rest, phrase)


def _recurring(text: str, sentences: list[Span], title: str) -> dict[str, list[tuple[int, int]]]:
    """Phrase -> (sentence, start) of its occurrences, where it stands in several sentences."""
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    named = set(title.lower().split())
    for number, sentence in enumerate(sentences):
        for match in _PHRASE.finditer(text, sentence.start, sentence.end):
            if not set(match.group().lower().split()) <= named:
                found[match.group()].append((number, match.start()))
    return {
        phrase: where
        for phrase, where in found.items()
        if len(phrase) > 1
        and len({number for number, _ in where}) > 1
        # A capital at a sentence's beginning alone is no name.
        and any(at > sentences[number].start for number, at in where)
    }


def _question(text: str, sentence: Span, gap: Span, rng: random.Random) -> str:
    before = text[sentence.start : gap.start].split()
    after = text[gap.end : sentence.end].strip().rstrip(".!;:").split()
    left = min(len(before), max(MAX_WORDS // 2, MAX_WORDS - len(after)))
    before = before[len(before) - left :]
    after = after[: MAX_WORDS - left]
    return " ".join([*before, _asking_word(text[gap.start : gap.end], rng), *after]).strip() + "?"


def _asking_word(phrase: str, rng: random.Random) -> str:
    if _YEAR.fullmatch(phrase):
        return rng.choice(["what year", "which year", "when"])
    if phrase[0].isdigit():
        return rng.choice(["how many", "how much", "what number of"])
    return rng.choice(["what", "which", "who", "which one"])
