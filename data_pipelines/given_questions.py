"""People's own questions in the place of a teacher's: each is put to the chunk that answers it.

The golden documents are known from `gold_ids`, and all of them are needed unless the question says
that any will do. Which of a document's chunks answers is decided by where an answer stands, and of
several places by the sentence that shares most words with the question; from each further document
the sentence is taken that shares most words with question, answer and the other documents' titles
(a heuristic: nobody marked it). The quotes are the reasoning unless a teacher writes one.

A question without an answer is put to the chunk that is nearest to it: what a search shows for it
is what to abstain from. Pure: no store, no model, no Ray.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from data_pipelines.question_duplicates import content_words
from data_pipelines.teachers import Support, TeacherIdentity, TeacherResult, WrittenQuestion
from rayraft.metrics import normalise_answer
from rayraft.prompts import VERDICTS
from rayraft.records import Passage, Question, digest
from rayraft.sentences import Span, quote_around, sentence_around, split_sentences

NAME = "given"
"""Of the teacher that hands given questions out."""


@dataclass(frozen=True)
class PlacedQuestions:
    """Questions by the chunk that answers them."""

    written: dict[str, list[WrittenQuestion]] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    """Reasons and counts of questions that were not placed."""

    def results(self) -> dict[str, TeacherResult]:
        """As a teacher's."""
        return {chunk_id: TeacherResult(list(own)) for chunk_id, own in self.written.items()}


def given_identity(
    questions: Sequence[Question], explainer: TeacherIdentity | None = None
) -> TeacherIdentity:
    """Changes with any question, and with who writes the reasoning."""
    parts = [question.model_dump() for question in questions]
    return TeacherIdentity(NAME, digest([*parts, explainer.digest] if explainer else parts))


def place_questions(
    questions: Sequence[Question],
    chunks: Mapping[str, Sequence[Passage]],
    max_quote_chars: int,
    nearest: Callable[[str], str | None] = lambda question: None,
) -> PlacedQuestions:
    """Each question with its quotes and its answer, as the text spells it, by chunk.

    Args:
        questions: With answers and gold ids, or without both.
        chunks: Document id -> its chunks that may be learned.
        max_quote_chars: Longest quote.
        nearest: Id of the chunk that is nearest to a question that has no answer; None: there is
            none.
    """
    placed = PlacedQuestions()
    seen: set[str] = set()
    for question in questions:
        documents = dict.fromkeys(question.gold_ids)
        if question.answers:
            own = [chunks.get(i, ()) for i in documents]
            found, fault = _place(question, own, max_quote_chars)
        else:
            near = nearest(question.question)
            found = None if near is None else (near, WrittenQuestion(question.question, "", ""))
            fault = "no_answer_given"
        if found is not None and normalise_answer(question.question) in seen:
            found, fault = None, "duplicate_question"
        if found is None:
            placed.dropped[fault] += 1
        else:
            seen.add(normalise_answer(question.question))
            placed.written.setdefault(found[0], []).append(found[1])
    return placed


def _place(
    question: Question, documents: Sequence[Sequence[Passage]], max_quote_chars: int
) -> tuple[tuple[str, WrittenQuestion] | None, str]:
    """Chunk id and question, or why there is none."""
    if not any(documents):
        return None, "no_golden_document"
    if question.any_gold:
        documents = [[chunk for own in documents for chunk in own]]
    if not all(documents):
        return None, "golden_document_missing"
    found = _best_place(question, [chunk for own in documents for chunk in own])
    if found is None:
        return _place_verdict(question, documents, max_quote_chars)
    chunk, answer, sentence = found
    further = [own for own in documents if chunk not in own]
    written = WrittenQuestion(
        question.question,
        quote_around(chunk.text, sentence, answer, max_quote_chars),
        chunk.text[slice(*answer)],
        supports=_supports(question, chunk.text[slice(*answer)], chunk, further, max_quote_chars),
    )
    return (chunk.chunk_id, written), ""


def _place_verdict(
    question: Question, documents: Sequence[Sequence[Passage]], max_quote_chars: int
) -> tuple[tuple[str, WrittenQuestion] | None, str]:
    """A question that is answered by yes or no, which stands nowhere in its documents."""
    verdict = next((a for a in question.answers if normalise_answer(a) in VERDICTS), None)
    if verdict is None:
        return None, "answer_not_in_document"
    titles = " ".join(own[0].title for own in documents)
    first, *others = (
        _support(f"{question.question} {titles}", own, max_quote_chars) for own in documents
    )
    written = WrittenQuestion(question.question, first.quote, verdict, supports=tuple(others))
    return (first.passage.chunk_id, written), ""


def _supports(
    question: Question,
    answer: str,
    golden: Passage,
    documents: Sequence[Sequence[Passage]],
    max_quote_chars: int,
) -> tuple[Support, ...]:
    named = f"{question.question} {answer} {golden.title}"
    return tuple(_support(named, own, max_quote_chars) for own in documents)


def _support(named: str, chunks: Sequence[Passage], max_quote_chars: int) -> Support:
    """The sentence of a document that shares most words with what was named."""
    wanted = content_words(named)
    best: tuple[int, Support] | None = None
    for chunk in chunks:
        for sentence in split_sentences(chunk.text) or [Span(0, len(chunk.text))]:
            text = chunk.text[slice(*sentence)]
            # The subject of a text is often in its title alone.
            shared = len(wanted & content_words(f"{chunk.title} {text}"))
            if best is None or shared > best[0]:
                at = Span(sentence.start, sentence.start)
                quote = quote_around(chunk.text, sentence, at, max_quote_chars)
                best = shared, Support(chunk, quote)
    assert best is not None, "a document that may be learned has chunks"
    return best[1]


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
