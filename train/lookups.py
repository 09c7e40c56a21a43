"""Questions about single facts of invented documents: sheets, lists, records and tables.

Companies keep most facts in such forms, reading sets have hardly any: a reader that saw only prose
takes the name of a field for its value, and the value of the next branch's sheet for that of the
branch that was asked about. So the subject decides here: other subjects have documents of the same
form, with other values. Templates are in `lookups.yaml`; names and values are drawn. The forms are
those that ingestion gives to records and tables. Pure text, no model.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rayraft.records import Passage
from rayraft.sentences import Span, quote_around, sentence_around, split_sentences
from train.lookup_forms import BEGIN, END, TableStyle, capital, titled
from train.lookup_series import Series
from train.lookup_values import Lists, sign, subject_name, value
from train.passage_windows import bare_passage

LISTS = 0.4
"""Share of the sheets that are lists of fields, and not prose."""
TITLE_ONLY = 0.25
"""Share of the sheets whose text does not name their subject; the title does."""
RECORDS = 0.4
"""Share of the documents that hold several subjects, as records or as a table."""
SERIES = 0.5
"""Share of those whose rows are told apart by a date, too."""


@dataclass(frozen=True)
class Lookup:
    """A question, the passage that answers it, and passages of the same form that do not."""

    question: str
    golden: Passage
    quote: str
    answer: str
    """In the golden passage's spelling; empty where the golden passage leaves the fact out."""
    others: list[Passage]


@dataclass(frozen=True)
class _Subject:
    name: str
    noun: str
    kind: str


@dataclass(frozen=True)
class _Asked:
    """A fact of a sheet or a column of a table, and which of them (a fault's sign)."""

    fact: dict[str, Any]
    label: str
    prose: str
    sign: str

    @property
    def column(self) -> str:
        """Its name in a list or a table."""
        return f"{self.label} {self.sign}".strip()


_Valued = Sequence[tuple[_Asked, str]]


class Lookups:
    """Writes them.

    Args:
        max_quote_chars: Of the sentence that is quoted.
    """

    def __init__(self, max_quote_chars: int) -> None:
        text = Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")
        self._all: dict[str, Any] = yaml.safe_load(text)
        self._lists: Lists = self._all["lists"]
        self._series = Series(self._all)
        self._max_quote_chars = max_quote_chars

    def make(self, rng: random.Random, others: int, absent: bool = False) -> Lookup:
        """One of them.

        Args:
            rng: Decides everything.
            others: Passages about other subjects.
            absent: The golden passage leaves out what is asked for.
        """
        if rng.random() >= RECORDS:
            return self._sheet(rng, others, absent)
        if rng.random() < SERIES:
            return self._placed(*self._series.make(rng, others, absent))
        return self._records(rng, others, absent)

    def _sheet(self, rng: random.Random, others: int, absent: bool) -> Lookup:
        """One document a subject: prose, or a list of fields."""
        subjects, facts = self._subjects_and_facts(rng, 1 + others, rng.randint(2, 5))
        asked = rng.choice(facts)
        as_list = rng.random() < LISTS
        title_only = subjects[0].kind != "person" and rng.random() < TITLE_ONLY
        write = self._list if as_list else self._prose
        heading = rng.choice(["{s}", "{s}", "{s}: what to know", "{noun} {s}", "{s} - terms"])
        passages = []
        for number, subject in enumerate(subjects):
            shown = [f for f in facts if number or not (absent and f is asked)]
            marked = None if number or absent else asked
            text = write(
                subject, [(f, self._value(f, f is marked, rng)) for f in shown], title_only, rng
            )
            title = heading.format(s=subject.name, noun=subject.noun)
            passages.append(bare_passage(titled(title, title_only, rng), text))
        question = self._question(subjects[0], asked, rng)
        return self._placed(question, passages)

    def _value(self, asked: _Asked, marked: bool, rng: random.Random) -> str:
        written = value(asked.fact["value"], rng, self._lists)
        return f"{BEGIN}{written}{END}" if marked else written

    def _list(self, subject: _Subject, facts: _Valued, title_only: bool, rng: random.Random) -> str:
        bullet = rng.choice(["- ", "- ", "* ", ""])
        lines = [] if title_only else [rng.choice(["# ", "", "Name: "]) + subject.name]
        lines += [f"{bullet}{capital(one.column)}: {written}" for one, written in facts]
        return "\n".join(lines)

    def _prose(
        self, subject: _Subject, facts: _Valued, title_only: bool, rng: random.Random
    ) -> str:
        sentences = rng.sample(self._all["filler"], rng.randint(0, 3))
        for one, written in facts:
            plain = written.strip(BEGIN + END)
            other = value(one.fact["value"], rng, self._lists, plain)
            name = f"this {subject.noun}" if title_only else self._named("shown", subject, rng)
            sentence = one.prose.format(s=name, v=written, w=other, t=one.sign)
            sentences.append(capital(sentence))
        rng.shuffle(sentences)
        return " ".join(sentences)

    def _records(self, rng: random.Random, others: int, absent: bool) -> Lookup:
        """Several subjects in a document, each with the same fields."""
        rows, columns = rng.randint(2, 5), rng.randint(2, 4)
        subjects, facts = self._subjects_and_facts(rng, rows * (1 + others), columns)
        asked = rng.choice(facts)
        style = TableStyle.draw(rng)
        key = rng.choice(["name", subjects[0].noun, subjects[0].kind, "id"])
        passages = []
        question = self._question(subjects[0], asked, rng)
        for number in range(1 + others):
            table = []
            part = subjects[number * rows : (number + 1) * rows]
            for subject in part:
                fields = {key: subject.name}
                for one in facts:
                    if absent and one is asked:
                        continue
                    here = one is asked and subject is subjects[0]
                    fields[one.column] = self._value(one, here, rng)
                table.append(fields)
            rng.shuffle(table)
            passages.append(
                bare_passage(rng.choice(["", f"{subjects[0].noun} list"]), style.of(table))
            )
        return self._placed(question, passages)

    def _subjects_and_facts(
        self, rng: random.Random, subjects: int, facts: int
    ) -> tuple[list[_Subject], list[_Asked]]:
        kind = rng.choice(list(self._all["subjects"]))
        noun = rng.choice(self._all["subjects"][kind]["nouns"])
        names: dict[str, None] = {}
        while len(names) < subjects:
            names[subject_name(kind, rng, self._lists)] = None
        of_kind = [fact for fact in self._all["facts"] if fact["kind"] == kind]
        chosen = [
            _Asked(
                fact,
                rng.choice(fact["labels"]),
                rng.choice(fact["prose"]),
                sign(rng, self._lists) if "{t}" in fact["prose"][0] else "",
            )
            for fact in rng.sample(of_kind, min(facts, len(of_kind)))
        ]
        return [_Subject(name, noun, kind) for name in names], chosen

    def _question(self, subject: _Subject, asked: _Asked, rng: random.Random) -> str:
        template = rng.choice(asked.fact["questions"])
        name = self._named("asked", subject, rng)
        return capital(template.format(s=name, t=asked.sign))

    def _named(self, use: str, subject: _Subject, rng: random.Random) -> str:
        forms: Sequence[str] = self._all["subjects"][subject.kind][use]
        return rng.choice(forms).format(s=subject.name, noun=subject.noun)

    def _placed(self, question: str, passages: list[Passage]) -> Lookup:
        """With the marks taken out of the golden passage, which is the first."""
        golden, *others = passages
        start = golden.text.find(BEGIN)
        text = golden.text.replace(BEGIN, "").replace(END, "")
        if start < 0:
            return Lookup(question, golden, "", "", others)
        found = Span(start, golden.text.index(END) - 1)
        sentence = sentence_around(found, split_sentences(text))
        quote = quote_around(text, sentence, found, self._max_quote_chars)
        placed = bare_passage(golden.title, text)
        return Lookup(question, placed, quote, text[found.start : found.end], others)
