"""Which part of a passage a training row shows, and where in it an answer stands."""

import random

from rayraft.records import Passage
from rayraft.sentences import Span, sentence_around


def locate(question: str, answer: str, text: str, sentences: list[Span]) -> tuple[Span, Span]:
    """The answer's occurrence in the sentence that shares most words with the question.

    Returns:
        The answer's span and the sentence's, which holds it.
    """
    asked = set(question.lower().split())
    best: tuple[int, Span, Span] | None = None
    start = text.lower().find(answer.lower())
    while start >= 0:
        found = Span(start, start + len(answer))
        sentence = sentence_around(found, sentences)
        shared = len(asked & set(text[sentence.start : sentence.end].lower().split()))
        if best is None or shared > best[0]:
            best = (shared, found, sentence)
        start = text.lower().find(answer.lower(), start + 1)
    assert best is not None, (question, answer)
    return best[1], best[2]


def window(
    text: str, sentences: list[Span], keep: Span, max_words: int, rng: random.Random
) -> tuple[str, int]:
    """Whole sentences around `keep`, grown at random to either side; and where they begin."""
    start, end = keep
    before = [s for s in sentences if s.end <= start]
    after = [s for s in sentences if s.start >= end]
    words = len(text[start:end].split())
    while before or after:
        left = bool(before) and (not after or rng.random() < 0.5)
        span = before[-1] if left else after[0]
        words += len(text[span.start : span.end].split())
        if words > max_words:
            break
        if left:
            start = before.pop().start
        else:
            end = after.pop(0).end
    return text[start:end], start


def bare_passage(title: str, text: str) -> Passage:
    """A passage that is shown and comes from no document of a store."""
    return Passage(chunk_id="", document_id="", title=title, text=text)
