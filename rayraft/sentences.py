"""Sentences of plain or Markdown text as character spans.

Knows nothing about questions or models. Every span is verbatim: `text[start:end]`.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

_MARKER = re.compile(r"\s*(?:[-*+•>]\s+|\d{1,3}[.)]\s+|#{1,6}\s+|\|\s*)")
_STANDS_ALONE = re.compile(r"\s*[#|]")
_END = re.compile(r"[.!?]+[\"'\u201d\u2019)\]]*(?=\s+[\"'\u201c\u2018(\[]*[A-Z0-9])")
_ABBREVIATION = re.compile(
    r"(?:\b(?:[A-Z]|[Mm]rs?|Ms|Dr|Prof|St|Sr|Jr|[Nn]os?|[Vv]ols?|[Ff]igs?|[Aa]rt|[Ss]ec|vs|etc|"
    r"approx|ca?|e\.g|i\.e|al|Inc|Ltd|Co|Corp|Gen|Col|Lt|Sgt|Rev|Gov|Sen|Rep)|\.[A-Z])\.$"
)


class Span(NamedTuple):
    """A half-open character range."""

    start: int
    end: int


def split_sentences(text: str) -> list[Span]:
    """The sentences of `text` in order, trimmed, without list and heading markers.

    Headings, list items and table rows end where their line ends; other lines run on, so that text
    wrapped at a line width (PDF) keeps whole sentences.
    """
    sentences = []
    for block in _blocks(text):
        start = block.start
        for match in _END.finditer(text, block.start, block.end):
            if match.group() == "." and _ABBREVIATION.search(text, start, match.end()):
                continue
            sentences.append(_trim(text, start, match.end()))
            start = match.end()
        sentences.append(_trim(text, start, block.end))
    return [span for span in sentences if span.start < span.end]


def _blocks(text: str) -> list[Span]:
    blocks: list[Span] = []
    open_block = False
    position = 0
    for line in text.splitlines(keepends=True):
        end = position + len(line)
        if not line.strip():
            open_block = False
        elif open_block and not _MARKER.match(line):
            blocks[-1] = Span(blocks[-1].start, end)
        else:
            marker = _MARKER.match(line)
            blocks.append(Span(position + (marker.end() if marker else 0), end))
            open_block = not _STANDS_ALONE.match(line)
        position = end
    return blocks


def _trim(text: str, start: int, end: int) -> Span:
    piece = text[start:end]
    left, right = len(piece) - len(piece.lstrip()), len(piece.rstrip(" \t\r\n\f\v|"))
    return Span(start + left, start + max(left, right))


def sentence_around(place: Span, sentences: Sequence[Span]) -> Span:
    """The sentence that `place` begins in, as far as both reach; `place` where it is in none."""
    begun = [s for s in sentences if s.start <= place.start < s.end] or [place]
    return Span(min(begun[0].start, place.start), max(begun[0].end, place.end))


def quote_around(text: str, sentence: Span, inner: Span, max_chars: int) -> str:
    """The sentence verbatim, or the words around `inner` that fit into `max_chars`.

    `inner` (the answer) is always whole, even when it alone is longer.
    """
    if sentence.end - sentence.start <= max_chars:
        return text[sentence.start : sentence.end]
    room = max(0, max_chars - (inner.end - inner.start))
    start = max(sentence.start, min(inner.start - room // 2, sentence.end - max_chars))
    end = min(sentence.end, max(start + max_chars, inner.end))
    # Whole words only: a cut one is no quote that a person would make.
    while start > sentence.start and start < inner.start and not text[start - 1].isspace():
        start += 1
    while end < sentence.end and end > inner.end and not text[end].isspace():
        end -= 1
    return text[start:end].strip()
