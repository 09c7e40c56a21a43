"""Spans of a chunk that are worth asking about, chosen without a language model.

Four patterns, the more telling first: quoted terms, dates, numbers with their unit, and
capitalised names; what is left between stop words and punctuation is a phrase. A lone word, often a
verb, is taken where a chunk has nothing else. The choice is seeded by `(seed, chunk_id)` and spread
over sentences: each sentence gives one span before any gives a second.
"""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rayraft.metrics import normalise_answer
from rayraft.records import digest
from rayraft.sentences import Span, split_sentences

_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|"
    r"Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\b\.?"
)
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_YEAR = r"(?:,?\s+\d{3,4}\b)"
_DATE = re.compile(
    rf"\b(?:{_DAY}\s+(?:of\s+)?{_MONTH}{_YEAR}?|{_MONTH}\s+{_DAY}\b{_YEAR}?|{_MONTH}{_YEAR}|"
    rf"\d{{4}}-\d{{2}}-\d{{2}})"
)
_NUMBER = re.compile(
    r"(?<![\w.,$€£¥])(?:(?:[A-Z]{0,3}[$€£¥]|\b[A-Z]{3})\s?)?"
    r"\d+(?:[.,:/\u2013-]\d+)*(?:\s?%|(?:st|nd|rd|th|s|k|m)\b)?"
    r"(?:[ -](?:thousand|million|billion|trillion|per cent|percent))?"
    r"(?:[ -][a-z]{3,14}\b(?!['\u2019]))?(?:\s+ago\b)?"
)
_CAPITALISED = r"[A-Z][\w'\u2019&.-]*(?<!'s)(?<!\u2019s)(?<=\w)"
_NAME = re.compile(
    rf"\b{_CAPITALISED}"
    rf"(?:\s+(?:(?:of|and|for|de|van|von|the|&)\s+(?:the\s+)?)?(?:{_CAPITALISED}|\d+\b))*"
)
_QUOTED = re.compile(r"[\"\u201c]([^\"\u201c\u201d\n]{3,60})[\"\u201d]")
_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_STOP_TEXT = """
    a about above according across after again against all almost also although always am among
    an and any are around as at available away back be became because become been before began
    being below between both but by called came can cannot could did do does done down due
    during each either else enough even ever every few first following for found from further
    gave get give given go had has have having he held her here hers herself him himself his how
    however i if in including instead into is it its itself just kept known last later least
    less like made make many may me might mine more most much must my named near neither never
    next no nor not now of off often on once one only or other our out over own per quite rather
    said same second see seen several shall she should since so some such take taken than that
    the their theirs them themselves then there these they this those though through thus to too
    took toward two under until up upon us use used using usually very was we well went were
    what when where whether which while who whom whose why will with within without would yet
    you your
"""
_STOP_WORDS = frozenset(_STOP_TEXT.split())
_WEIGHTS = {"quoted": 2.0, "date": 3.0, "number": 3.0, "name": 3.0, "phrase": 1.0, "word": 1.0}
_MIN_SENTENCE_WORDS = 5
"""Shorter ones are headings and labels: they hold no statement to ask about."""
_MAX_WORDS = 6
_BLOT = "\0"
_MAX_CHARS = 60


@dataclass(frozen=True)
class AnswerSpan:
    """A candidate answer and the sentence that holds it, as character spans of the text."""

    text: str
    span: Span
    sentence: Span
    kind: str


def choose_answer_spans(text: str, count: int, seed: int, chunk_id: str) -> list[AnswerSpan]:
    """At most `count` different answer spans of `text`, the same for the same seed and chunk."""
    rng = random.Random(digest(["answer spans", seed, chunk_id]))
    # A race of exponential clocks: order by weighted sampling without replacement
    # (Efraimidis and Spirakis 2006), one draw a candidate.
    sentences = [
        [
            (rng.expovariate(_WEIGHTS[candidate.kind]), candidate)
            for candidate in sentence_candidates(text, sentence)
        ]
        for sentence in split_sentences(text)
    ]
    chosen: dict[str, AnswerSpan] = {}
    for candidate in [*_in_turns(sentences, words=False), *_in_turns(sentences, words=True)]:
        if len(chosen) < count:
            chosen.setdefault(normalise_answer(candidate.text), candidate)
    return list(chosen.values())


_Keyed = tuple[float, AnswerSpan]


def _in_turns(sentences: Sequence[Sequence[_Keyed]], words: bool) -> Iterator[AnswerSpan]:
    """The first of each sentence, then the second of each, and so on; both by their keys.

    Either of lone words or of everything else.
    """
    wanted = [[each for each in keyed if (each[1].kind == "word") is words] for keyed in sentences]
    queues = [sorted(keyed, key=lambda pair: pair[0]) for keyed in wanted if keyed]
    queues.sort(key=lambda queue: queue[0][0])
    for turn in range(max(map(len, queues), default=0)):
        yield from (queue[turn][1] for queue in queues if turn < len(queue))


def sentence_candidates(text: str, sentence: Span) -> list[AnswerSpan]:
    """Every candidate of one sentence, in order, none overlapping another."""
    words = [Span(*m.span()) for m in _WORD.finditer(text, sentence.start, sentence.end)]
    if len(words) < _MIN_SENTENCE_WORDS:
        return []
    taken: list[tuple[Span, str]] = []
    left = text  # what is taken is blotted out, so that no later pattern reaches into it
    for kind, find in _FINDERS.items():
        for span in list(find(left, sentence)):
            piece = text[span.start : span.end]
            if _is_usable(piece):
                taken.append((span, "word" if kind == "phrase" and " " not in piece else kind))
                left = left[: span.start] + _BLOT * len(piece) + left[span.end :]
    return [
        AnswerSpan(text[span.start : span.end], span, sentence, kind)
        for span, kind in sorted(taken)
    ]


def _is_usable(answer: str) -> bool:
    words = answer.split()
    whole = "\n" not in answer and len(answer) <= _MAX_CHARS and len(words) <= _MAX_WORDS
    return whole and bool(normalise_answer(answer))


def _matches(pattern: re.Pattern[str], group: int = 0) -> Callable[[str, Span], Iterator[Span]]:
    def find(text: str, sentence: Span) -> Iterator[Span]:
        for match in pattern.finditer(text, sentence.start, sentence.end):
            yield Span(*match.span(group))

    return find


def _numbers(text: str, sentence: Span) -> Iterator[Span]:
    for match in _NUMBER.finditer(text, sentence.start, sentence.end):
        unit = re.search(r"[ -]([a-z]+)$", match.group())
        # "15.20 per": the word that follows is no unit.
        surplus = len(unit.group()) if unit and unit.group(1) in _STOP_WORDS else 0
        yield Span(match.start(), match.end() - surplus)


def _names(text: str, sentence: Span) -> Iterator[Span]:
    for match in _NAME.finditer(text, sentence.start, sentence.end):
        span = _without_leading_stop_words(text, Span(*match.span()))
        single = not any(character.isspace() for character in text[span.start : span.end])
        # The first word of a sentence is capitalised whatever it is.
        if span.start < span.end and not (single and span.start == sentence.start):
            yield span


def _without_leading_stop_words(text: str, span: Span) -> Span:
    for word in _WORD.finditer(text, span.start, span.end):
        if word.group().lower() not in _STOP_WORDS:
            return Span(word.start(), span.end)
    return Span(span.end, span.end)


def _phrases(text: str, sentence: Span) -> Iterator[Span]:
    run: list[Span] = []
    for word in [*_WORD.finditer(text, sentence.start, sentence.end), None]:
        broken = word is None or (run and text[run[-1].end : word.start()].strip())
        stops = word is not None and (word.group().lower() in _STOP_WORDS or _is_clitic(text, word))
        if run and (broken or stops):
            yield from _phrase(text, run)
            run = []
        if word is not None and not stops:
            run.append(Span(*word.span()))


def _is_clitic(text: str, word: re.Match[str]) -> bool:
    """The s of a possessive whose name is taken."""
    return len(word.group()) == 1 and text.endswith(("'", "\u2019"), 0, word.start())


def _phrase(text: str, run: list[Span]) -> Iterator[Span]:
    # An adverb at either end belongs to the verb, not to the thing.
    while run and text[run[0].start : run[0].end].endswith("ly"):
        run = run[1:]
    while run and text[run[-1].start : run[-1].end].endswith("ly"):
        run = run[:-1]
    if run and len(run) <= 4 and run[-1].end - run[0].start >= 4:
        yield Span(run[0].start, run[-1].end)


_FINDERS: dict[str, Callable[[str, Span], Iterator[Span]]] = {
    "quoted": _matches(_QUOTED, group=1),
    "date": _matches(_DATE),
    "number": _numbers,
    "name": _names,
    "phrase": _phrases,
}
