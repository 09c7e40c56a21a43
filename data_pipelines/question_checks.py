"""What is wrong with a written question, without asking a model."""

import re
from itertools import pairwise

from rayraft.metrics import normalise_answer
from rayraft.sentences import Span

MIN_WORDS = 4
MAX_WORDS = 40
_QUESTION_WORD = re.compile(
    r"\b(?:who|whom|whose|what|when|where|which|why|how)\b|"
    r"^(?:is|are|was|were|do|does|did|can|could|will|would|has|have|had|should|may|must)\b",
    re.IGNORECASE,
)
# Uncased models write word pieces with spaces between: "britain ' s", "u . s . , 5 %".
_CLITIC = re.compile(r"(?<=\w) (['\u2019]) (s|t|d|m|re|ve|ll)\b", re.IGNORECASE)
_SPACED = re.compile(r" ([,;:%)])")
_WORDS = re.compile(r"[^\W_]+")
_SHORT = 4  # "of the", "in which"
_STUTTER = re.compile(r"\b(\w+(?:\W+\w+){0,3})\W+\1\b", re.IGNORECASE)


def clean_question(text: str) -> str:
    """The first line of a model's output as a question: one question mark, single spaces."""
    lines = text.strip().splitlines()
    first = " ".join(lines[0].split()) if lines else ""
    first = _SPACED.sub(r"\1", _CLITIC.sub(r"\1\2", first))
    first = first.removeprefix("Question:").strip().strip("\"'").rstrip("?. ")
    return f"{first}?" if first else ""


def question_fault(question: str, answer: str) -> str | None:
    """Why a question is not used, as a name to count under; None if nothing is wrong with it."""
    words = question.split()
    if not MIN_WORDS <= len(words) <= MAX_WORDS:
        return "question_too_short" if len(words) < MIN_WORDS else "question_too_long"
    if not _QUESTION_WORD.search(question):
        return "no_question_word"
    if "##" in question:
        return "question_has_markers"
    if _STUTTER.search(question):
        return "question_stutters"
    if holds_answer(question, answer):
        return "question_holds_answer"
    return None


def says_twice(question: str) -> bool:
    """Whether two words in a row come again, one of them longer than those that often do.

    Small models write so; in a larger one's question it may be meant.
    """
    words = _WORDS.findall(question.lower())
    pairs = [pair for pair in pairwise(words) if max(map(len, pair)) > _SHORT]
    return len(set(pairs)) < len(pairs)


def holds_answer(text: str, answer: str) -> bool:
    """True if the answer's words stand in `text` in a row, as SQuAD normalises them."""
    words = normalise_answer(answer)
    return bool(words) and f" {words} " in f" {normalise_answer(text)} "


def find_span(text: str, piece: str) -> Span | None:
    """Where `piece` stands in `text`, ignoring case and runs of white space; None if nowhere."""
    words = [re.escape(word) for word in piece.split()]
    match = re.search(r"\s+".join(words), text, re.IGNORECASE) if words else None
    return Span(*match.span()) if match else None
