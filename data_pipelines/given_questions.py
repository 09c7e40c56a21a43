"""People's own questions in the place of a teacher's: each is put to the chunk that answers it.

The golden document is known from `gold_ids`; which of its chunks answers is decided by where an
answer stands, and of several places by the sentence that shares most words with the question. The
reasoning is that sentence, quoted. Pure: no store, no model, no Ray.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from data_pipelines.sentences import Span, quote_around, sentence_around, split_sentences
from data_pipelines.teachers import (
    TeacherIdentity,
    TeacherRequest,
    TeacherResult,
    WrittenQuestion,
)
from rayraft.metrics import normalise_answer
from rayraft.records import Passage, Question, digest

NAME = "given"
"""Of the teacher that hands given questions out."""


@dataclass(frozen=True)
class PlacedQuestions:
    """Questions by the chunk that answers them."""

    written: dict[str, list[WrittenQuestion]] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    """Reasons and counts of questions that were not placed."""


class GivenTeacher:
    """Hands out what was placed; a chunk without a question gets none."""

    name = NAME

    def __init__(self, written: Mapping[str, Sequence[WrittenQuestion]], made_of: str) -> None:
        self.digest = made_of
        self._written = written

    def write(self, requests: Sequence[TeacherRequest]) -> list[TeacherResult]:
        """All questions of each chunk, whatever the count asked for."""
        return [TeacherResult(list(self._written.get(r.chunk_id, ()))) for r in requests]


def given_identity(questions: Sequence[Question]) -> TeacherIdentity:
    """Changes with any question."""
    return TeacherIdentity(NAME, digest([question.model_dump() for question in questions]))


def place_questions(
    questions: Sequence[Question], chunks: Mapping[str, Sequence[Passage]], max_quote_chars: int
) -> PlacedQuestions:
    """Each question with its quote and its answer, as the text spells it, by chunk.

    Args:
        questions: With answers and gold ids.
        chunks: Document id -> its chunks that may be learned.
        max_quote_chars: Longest quote.
    """
    placed = PlacedQuestions()
    seen: set[str] = set()
    for question in questions:
        own = [chunk for document in question.gold_ids for chunk in chunks.get(document, ())]
        found = _best_place(question, own)
        if not question.answers:
            placed.dropped["no_answer_given"] += 1
        elif not own:
            placed.dropped["no_golden_document"] += 1
        elif found is None:
            placed.dropped["answer_not_in_document"] += 1
        elif normalise_answer(question.question) in seen:
            placed.dropped["duplicate_question"] += 1
        else:
            seen.add(normalise_answer(question.question))
            chunk, answer, sentence = found
            quote = quote_around(chunk.text, sentence, answer, max_quote_chars)
            written = WrittenQuestion(question.question, quote, chunk.text[slice(*answer)])
            placed.written.setdefault(chunk.chunk_id, []).append(written)
    return placed


def _best_place(question: Question, chunks: Sequence[Passage]) -> tuple[Passage, Span, Span] | None:
    """Chunk, answer and sentence; of equally good places the first, of the first answer."""
    asked = set(re.findall(r"\w+", question.question.lower()))
    best: tuple[int, Passage, Span, Span] | None = None
    for answer in question.answers:
        words = [re.escape(word) for word in answer.split()]
        if not words:
            continue
        # Whole words: "7" is no answer in "1974".
        phrase = r"\s+".join(words)
        pattern = re.compile(rf"(?<!\w){phrase}(?!\w)", re.IGNORECASE)
        for chunk in chunks:
            places = [Span(*match.span()) for match in pattern.finditer(chunk.text)]
            sentences = split_sentences(chunk.text) if places else []
            for place in places:
                sentence = sentence_around(place, sentences)
                held = set(re.findall(r"\w+", chunk.text[slice(*sentence)].lower()))
                if best is None or len(asked & held) > best[0]:
                    best = (len(asked & held), chunk, place, sentence)
    return None if best is None else best[1:]
