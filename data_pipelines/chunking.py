"""Cuts a document into chunks at headings, paragraphs and sentences.

The chunks' spans tile the text: joined, they give it back exactly. It knows nothing of storage.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from data_pipelines.config import Strategy
from rayraft.records import Chunk, Document
from rayraft.sentences import split_sentences

_HEADING = re.compile(r"^#{1,6}[ \t]", re.MULTILINE)
_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
_WORD = re.compile(r"\s+")
_MARKER = re.compile(r"[\s\-*+\u2022>|#\d.)\"'\u201c\u2018(\[]*")

_TABLE = re.compile(r"(?:^[ \t]*\|.*(?:\n|\Z))+", re.MULTILINE)

# A chunk ends at the last heading in reach if that leaves it at least so full, else at the last
# paragraph, and so on. Small sections are thus kept whole, and chunks do not become tiny. Because
# the cuts are places of the text, those behind an edit soon fall where they fell before it.
_MIN_FILL: dict[Strategy, dict[str, float]] = {
    "heading": {"heading": 0.35, "paragraph": 0.5, "sentence": 0.35, "row": 0.0, "word": 0.0},
    "sentence": {"sentence": 0.0, "row": 0.0, "word": 0.0},
    "fixed": {"word": 0.0},
}

_LONG_WORD = 100
"""Characters; WordPiece makes any longer word one unknown token, which would hide its length."""


class TokenCounter(Protocol):
    """What chunking needs of the embedder's tokenizer."""

    def count_tokens(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        """int64 [n]: tokens of each text, special tokens not counted."""
        ...

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Character span of each token."""
        ...


def chunk_document(
    document: Document,
    tokenizer: TokenCounter,
    chunk_tokens: int,
    strategy: Strategy = "heading",
) -> list[Chunk]:
    """The document's chunks in order; none if its text is blank.

    Args:
        document: The document.
        tokenizer: The embedder's.
        chunk_tokens: Most tokens in a chunk.
        strategy: Where it is cut.
    """
    spans = chunk_spans(document.text, tokenizer, chunk_tokens, strategy)
    return [
        Chunk(
            chunk_id=chunk_id_of(document.document_id, position),
            document_id=document.document_id,
            position=position,
            title=document.title,
            text=document.text[start:end],
            start=start,
            end=end,
            metadata=document.metadata,
            acl=document.acl,
        )
        for position, (start, end) in enumerate(spans)
    ]


def chunk_spans(
    text: str, tokenizer: TokenCounter, chunk_tokens: int, strategy: Strategy = "heading"
) -> list[tuple[int, int]]:
    """Half-open character spans that tile `text`, each of at most `chunk_tokens` tokens."""
    if not text.strip():
        return []
    layout = _Layout.of(text, tokenizer, chunk_tokens, strategy)
    spans = []
    start = 0
    while start < len(text):
        end = _fitting_end(text, start, layout, tokenizer, chunk_tokens)
        spans.append((start, end))
        start = end
    return spans


@dataclass
class _Layout:
    """Where the tokens of a text end, and where it may be cut, best kind first."""

    token_ends: list[int]
    cuts: dict[str, list[int]]
    fills: dict[str, float]
    """Kinds of cuts, best first, and how full each must leave the chunk."""

    @classmethod
    def of(
        cls, text: str, tokenizer: TokenCounter, chunk_tokens: int, strategy: Strategy
    ) -> "_Layout":
        ends = _token_ends(text, tokenizer)
        cuts = {
            "heading": [match.start() for match in _HEADING.finditer(text)],
            "paragraph": [match.end() for match in _PARAGRAPH.finditer(text)],
            "sentence": _sentence_cuts(text),
            "row": [],
            "word": [match.end() for match in _WORD.finditer(text)],
        }
        for table in _TABLE.finditer(text):
            tokens = bisect_right(ends, table.end()) - bisect_right(ends, table.start())
            _keep_table(text, table.span(), tokens <= chunk_tokens, cuts)
        return cls(ends, cuts, _MIN_FILL[strategy])

    def end(self, start: int, length: int, budget: int) -> int:
        """End of a chunk from `start` with at most `budget` tokens in a text of `length`."""
        first = bisect_right(self.token_ends, start)
        if len(self.token_ends) - first <= budget:
            return length
        furthest = self.token_ends[first + budget] - 1  # the next token is not complete here
        for kind, fill in self.fills.items():
            least = self.token_ends[first + int(budget * fill)]
            cuts = self.cuts[kind]
            at = bisect_right(cuts, furthest) - 1
            if at >= bisect_left(cuts, max(least, start + 1)):
                return cuts[at]
        # One long word: cut it after the last token that fits.
        return max(self.token_ends[first + budget - 1], start + 1)


def _fitting_end(
    text: str, start: int, layout: _Layout, tokenizer: TokenCounter, chunk_tokens: int
) -> int:
    budget = chunk_tokens
    end = layout.end(start, len(text), budget)
    # The rest of a word that was cut is made of other tokens than before, sometimes of more.
    while (tokens := int(tokenizer.count_tokens([text[start:end]])[0])) > chunk_tokens:
        budget = budget - max(1, tokens - chunk_tokens)
        end = layout.end(start, len(text), budget) if budget > 0 else start + (end - start + 1) // 2
    return end


def _keep_table(text: str, table: tuple[int, int], fits: bool, cuts: dict[str, list[int]]) -> None:
    """Takes the cuts inside a table away; one that is too large may be cut between its rows."""
    start, end = table
    for kind, places in cuts.items():
        if kind != "word" or fits:
            first, last = bisect_right(places, start), bisect_left(places, end)
            del places[first:last]
    if not fits:
        line = text.find("\n", start, end) + 1
        while 0 < line < end:
            cuts["row"].append(line)
            line = text.find("\n", line, end) + 1


def _token_ends(text: str, tokenizer: TokenCounter) -> list[int]:
    ends: list[int] = []
    for start, end in tokenizer.token_spans(text):
        if end - start <= _LONG_WORD:
            ends.append(end)
            continue
        for piece in range(start, end, _LONG_WORD):
            part = text[piece : min(end, piece + _LONG_WORD)]
            ends += [piece + inner for _, inner in tokenizer.token_spans(part)] or [piece + 1]
    return ends


def _sentence_cuts(text: str) -> list[int]:
    cuts = []
    for start, _ in split_sentences(text):
        line = text.rfind("\n", 0, start) + 1
        cuts.append(line if _MARKER.fullmatch(text, line, start) else start)
    return sorted(set(cuts))


def chunk_id_of(document_id: str, position: int) -> str:
    """The id of a document's chunk."""
    return f"{document_id}#{position}"


def document_of(chunk_id: str) -> str:
    """The document that a chunk id names."""
    return chunk_id.rpartition("#")[0]
