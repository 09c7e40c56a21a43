"""Values that are told apart by a date, for `train/lookups.py`: rows, and bulletins in prose."""

import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from rayraft.records import Passage
from train.lookup_forms import BEGIN, END, TableStyle, capital
from train.lookup_values import Lists, any_day, spelled, value
from train.passage_windows import bare_passage

BULLETINS = 0.4
"""Share of those that are prose under a date, and no rows."""


class Series:
    """Writes them.

    Args:
        templates: The content of `lookups.yaml`.
    """

    def __init__(self, templates: Mapping[str, Any]) -> None:
        self._all = templates
        self._lists: Lists = templates["lists"]

    def make(self, rng: random.Random, others: int, absent: bool) -> tuple[str, list[Passage]]:
        """A question, and the passages, the golden one first, with the value marked in it."""
        if rng.random() < BULLETINS:
            return self._bulletins(rng, others, absent)
        return self._rows(rng, others, absent)

    def _rows(self, rng: random.Random, others: int, absent: bool) -> tuple[str, list[Passage]]:
        """Rows told apart by what they are about and when."""
        series = rng.choice(self._all["series"])
        labels = rng.sample(series["labels"], 2)
        months, first = rng.random() < 0.4, any_day(rng)
        step = timedelta(days=31 if months else 7)
        # At least two, so that a document of one item says something without the one asked for.
        days = [first + number * step for number in range(1 + max(1, others))]
        items = rng.sample(series["items"], rng.randint(2, 4))
        item, asked = rng.choice(items), rng.choice(labels)
        style = TableStyle.draw(rng)
        when = "month" if months else rng.choice(["date", "day", "week of"])
        key, by_day = rng.choice(series["key"]), rng.random() < 0.6
        passages = []
        cells = [(day, one) for day in days for one in items]
        for number in range(1 + others):
            # A document a day with all items, or all days in each document, an item in each.
            if by_day or others >= len(items):
                part = cells[number * len(items) : (number + 1) * len(items)]
            else:
                about = item if number == 0 else [i for i in items if i != item][number - 1]
                part = [(day, about) for day in days]
            table = []
            for day, one in part:
                fields = {when: f"{day:%Y-%m}" if months else day.isoformat(), key: one}
                for label in labels:
                    written = value(series["value"], rng, self._lists)
                    here = (day, one, label) == (days[0], item, asked)
                    fields[label] = f"{BEGIN}{written}{END}" if here else written
                if not (absent and (day, one) == (days[0], item)):
                    table.append(fields)
            title = rng.choice(["", f"{key} {part[0][0]:%Y-%m}"])
            passages.append(bare_passage(title, style.of(table)))
        at, with_preposition = spelled(days[0], months, rng)
        template = rng.choice(series["questions"])
        question = template.format(s=item, t=at, at=with_preposition, label=asked)
        return capital(question), passages

    def _bulletins(
        self, rng: random.Random, others: int, absent: bool
    ) -> tuple[str, list[Passage]]:
        """A document a date: a sentence for each of the things that it tells a value of."""
        series = rng.choice(self._all["series"])
        months, first = rng.random() < 0.4, any_day(rng)
        step = timedelta(days=31 if months else 7)
        items = rng.sample(series["items"], rng.randint(2, 4))
        sentence, heading = rng.choice(series["prose"]), rng.choice(self._all["headings"])
        passages = []
        for number in range(1 + others):
            written = spelled(first + number * step, months, rng)[0]
            pieces = rng.sample(self._all["filler"], rng.randint(0, 2))
            for item in items:
                told = value(series["value"], rng, self._lists)
                here = number == 0 and item is items[0]
                if not (here and absent):
                    told = f"{BEGIN}{told}{END}" if here else told
                    pieces.append(capital(sentence.format(s=item, v=told)))
            rng.shuffle(pieces)
            headed = heading.format(t=written)
            title = rng.choice([headed, ""])
            text = " ".join(pieces) if title else f"{headed}\n\n" + " ".join(pieces)
            passages.append(bare_passage(title, text))
        at, with_preposition = spelled(first, months, rng)
        label = rng.choice(series["labels"])
        template = rng.choice(series["questions"])
        question = template.format(s=items[0], t=at, at=with_preposition, label=label)
        return capital(question), passages
