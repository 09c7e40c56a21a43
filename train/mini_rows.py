"""Training rows of the shipped model, cut from question-answering sets. Pure: no model, no Ray.

Row `i` depends on `(seed, i)` alone. Tasks:

- read: one passage with the answer -> quote and answer.
- read_among: the same among distractors: near to the question, of the same article, or any;
  in a share of the rows they are copies of the golden passage about somebody else.
- abstain: the question with passages that do not hold the answer -> the fixed phrase.
- write_question: passage and answer -> the question that a person asked.
- cloze: a sentence of the passage with a gap; the rest of the passage -> quote and answer.
- look_up, ask_look_up: reading, and writing the question, from sheets, records and tables of
  invented facts (see `lookups`).
- closed_book: no passage -> the fixed phrase; the base model has learned no facts to tell.
"""

import random
from collections.abc import Sequence

from rayraft.prompts import answer_messages, completion, question_messages
from rayraft.records import Passage
from rayraft.sentences import Span, quote_around, split_sentences
from train.cloze import cloze
from train.counterfactuals import Counterfactuals
from train.features import Row
from train.lookups import Lookups
from train.mini_config import Mixture
from train.mini_sources import Item, Source
from train.near_passages import NearPassages
from train.passage_windows import bare_passage, locate, window

NEAR = 12
"""So many nearest passages are drawn from."""

CLOZE_TRIES = 20
"""Passages looked at for a name that recurs, before a question is read instead."""


class RowWriter:
    """Writes row `i` of a mixture."""

    def __init__(self, sources: list[Source], mixture: Mixture) -> None:
        self.mixture = mixture
        self._lookups = Lookups(mixture.max_quote_chars)
        self.readers = [s for s in sources if s.settings.read and s.answerable]
        self.askers = [s for s in sources if s.settings.write_question and s.answerable]
        self.silent = [s for s in sources if s.settings.abstain and s.unanswerable]
        self._near = {
            s.settings.name: NearPassages(s.text) for s in self.readers if mixture.near > 0
        }
        self._pools = {
            s.settings.name: Counterfactuals((item.question, item.answer) for item in s.answerable)
            for s in self.readers
        }

    def row(self, index: int) -> Row:
        """Row `index`."""
        rng = random.Random(f"{self.mixture.seed}:{index}")
        tasks = self.mixture.tasks
        task = rng.choices(list(tasks), list(tasks.values()))[0]
        if task == "write_question":
            return self._write_question(rng)
        if task in ("look_up", "ask_look_up"):
            return self._look_up(task, rng)
        if task == "abstain" and self.silent and rng.random() < self.mixture.unanswerable:
            source = rng.choices(self.silent, [s.settings.abstain for s in self.silent])[0]
            item = rng.choice(source.unanswerable)
            passage = self._passage(source, item.passage_id, rng, self.mixture.max_passage_words)
            return _reading_row(item.question, [passage], "", "")
        return self._answerable(task, rng)

    def _answerable(self, task: str, rng: random.Random) -> Row:
        source = rng.choices(self.readers, [s.settings.read for s in self.readers])[0]
        item = rng.choice(source.answerable)
        if task == "closed_book":
            return _reading_row(item.question, [], "", "")
        if task == "cloze" and (row := self._cloze(source, rng)):
            return row
        if task in ("read", "cloze"):
            golden, quote, answer = self._golden(source, item, rng)
            return _reading_row(item.question, [golden], quote, answer)
        return self._among(task, source, item, rng)

    def _among(self, task: str, source: Source, item: Item, rng: random.Random) -> Row:
        if rng.random() < self.mixture.contrast and (
            row := self._contrast(task, source, item, rng)
        ):
            return row
        count = rng.randint(1, self.mixture.max_distractors)
        passages = self._distractors(source, item, count, rng)
        if task == "abstain":
            return _reading_row(item.question, passages, "", "")
        golden, quote, answer = self._golden(source, item, rng)
        passages.append(golden)
        rng.shuffle(passages)
        return _reading_row(item.question, passages, quote, answer)

    def _contrast(self, task: str, source: Source, item: Item, rng: random.Random) -> Row | None:
        golden, quote, answer = self._golden(source, item, rng)
        count = rng.randint(1, self.mixture.max_distractors)
        pool = self._pools[source.settings.name]
        made = pool.contrast(item.question, golden, quote, answer, count, rng)
        if made is None:
            return None
        if task == "abstain":
            return _reading_row(item.question, made.copies, "", "")
        passages = [made.golden, *made.copies]
        rng.shuffle(passages)
        return _reading_row(item.question, passages, made.quote, answer)

    def _cloze(self, source: Source, rng: random.Random) -> Row | None:
        """From passages that train questions are about; None if nothing recurs in any of some."""
        for _ in range(CLOZE_TRIES):
            passage_id = rng.choice(source.answerable).passage_id
            title = source.title[passage_id]
            made = cloze(self._joined(source, passage_id, rng), title, rng)
            if made is not None:
                text, quote, answer = self._cut(made.question, made.answer, made.text, rng)
                return _reading_row(made.question, [bare_passage(title, text)], quote, answer)
        return None

    def _write_question(self, rng: random.Random) -> Row:
        source = rng.choices(self.askers, [s.settings.write_question for s in self.askers])[0]
        item = rng.choice(source.answerable)
        golden, _, answer = self._golden(source, item, rng)
        return _asking_row(item.question, golden, answer)

    def _look_up(self, task: str, rng: random.Random) -> Row:
        if task == "ask_look_up":
            made = self._lookups.make(rng, 0)
            return _asking_row(made.question, made.golden, made.answer)
        absent = rng.random() < self.mixture.absent
        made = self._lookups.make(rng, rng.randint(0, self.mixture.max_distractors), absent)
        passages = [made.golden, *made.others]
        rng.shuffle(passages)
        return _reading_row(made.question, passages, made.quote, made.answer)

    def _golden(self, source: Source, item: Item, rng: random.Random) -> tuple[Passage, str, str]:
        """Passage around the answer, quote, answer in the passage's spelling."""
        text = self._joined(source, item.passage_id, rng)
        text, quote, answer = self._cut(item.question, item.answer, text, rng)
        return bare_passage(source.title[item.passage_id], text), quote, answer

    def _cut(
        self, question: str, answer: str, text: str, rng: random.Random
    ) -> tuple[str, str, str]:
        """Part of `text` around the answer, quote, answer in the text's spelling."""
        sentences = split_sentences(text)
        found, sentence = locate(question, answer, text, sentences)
        text, shift = window(text, sentences, sentence, self.mixture.max_passage_words, rng)
        sentence = Span(sentence.start - shift, sentence.end - shift)
        found = Span(found.start - shift, found.end - shift)
        quote = quote_around(text, sentence, found, self.mixture.max_quote_chars)
        return text, quote, text[found.start : found.end]

    def _joined(self, source: Source, passage_id: str, rng: random.Random) -> str:
        ids = [passage_id]
        if source.settings.join > 1:
            ids += rng.sample(list(source.text), rng.randrange(source.settings.join))
            rng.shuffle(ids)
        return " ".join(source.text[i] for i in ids)

    def _distractors(
        self, source: Source, item: Item, count: int, rng: random.Random
    ) -> list[Passage]:
        siblings = source.by_title[source.title[item.passage_id]]
        everything = list(source.text)
        near: Sequence[str] = ()
        if self._near:
            near = self._near[source.settings.name].nearest(item.question, NEAR)
        chosen: dict[str, Passage] = {}
        for _ in range(20 * count):
            if len(chosen) == count:
                break
            if near and rng.random() < self.mixture.near:
                pool = near
            else:
                pool = siblings if len(siblings) > 1 and rng.random() < 0.5 else everything
            passage_id = rng.choice(pool)
            passage = self._passage(source, passage_id, rng, self.mixture.max_distractor_words)
            holds_answer = item.answer.lower() in passage.text.lower()
            if passage_id != item.passage_id and not holds_answer:
                chosen[passage_id] = passage
        return list(chosen.values())

    def _passage(self, source: Source, passage_id: str, rng: random.Random, words: int) -> Passage:
        text = self._joined(source, passage_id, rng)
        sentences = split_sentences(text)
        if sentences:
            text, _ = window(text, sentences, rng.choice(sentences), words, rng)
        return bare_passage(source.title[passage_id], text)


def _asking_row(question: str, golden: Passage, answer: str) -> Row:
    messages = question_messages(golden.title, golden.text, answer)
    return {"messages": messages, "completion": question}


def _reading_row(question: str, passages: list[Passage], quote: str, answer: str) -> Row:
    return {
        "messages": answer_messages(question, passages),
        "completion": completion(quote, answer),
    }
