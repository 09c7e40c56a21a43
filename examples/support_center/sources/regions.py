"""The sheets of 63 regions: facts that differ by region, worded in many ways.

Every random choice is seeded by region and fact, so a changed fact changes one sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any

from examples.support_center.sources.records import (
    Question,
    Source,
    dong,
    load_csv,
    load_yaml,
    seeded,
    slug,
)

NUMBER_WORDS = {
    2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine",
    10: "ten", 12: "twelve", 14: "fourteen", 15: "fifteen", 18: "eighteen", 20: "twenty",
    21: "twenty-one", 25: "twenty-five", 28: "twenty-eight", 30: "thirty", 35: "thirty-five",
    40: "forty", 45: "forty-five",
}  # fmt: skip
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
NAMES = load_yaml("names.yaml")

PARAGRAPHS = {
    "buying": ["returns", "repair"],
    "delivery": ["parcel_fee", "heavy_fee", "lead_time", "collection"],
    "contact": ["hours", "hotline", "manager"],
}
FACTS = [fact for facts in PARAGRAPHS.values() for fact in facts]
OPTIONAL = ["repair", "heavy_fee", "lead_time", "collection", "returns"]
"""Facts that a sheet may leave out; the rest are in each sheet."""
FORMATS = ["md"] * 25 + ["html"] * 15 + ["docx"] * 12 + ["pdf"] * 11


@dataclass(frozen=True)
class Region:
    """A region with its facts."""

    code: str
    name: str
    format: str
    amounts: dict[str, int | str]
    """Value of each fact: days, months, dong, or a string."""
    former: dict[str, int | str]
    """Value that applied before, which some phrasings mention."""
    changed: frozenset[str] = frozenset()
    """Facts that differ from the base corpus."""

    @property
    def document_id(self) -> str:
        """The path of the sheet below `documents/`."""
        return f"regions/{slug(self.name)}.{self.format}"

    def phrasing(self, fact: str) -> str:
        """Returns the sentence pattern for `fact`."""
        key = ("changed",) if fact in self.changed else ()
        patterns: list[str] = load("region_phrases.yaml")[fact]
        return seeded(self.code, fact, *key).choice(patterns)

    def answer(self, fact: str) -> str:
        """Returns the value of `fact` in the words of this region's sheet."""
        return spell(fact, self.amounts[fact], words="{w}" in self.phrasing(fact))

    def answers(self, fact: str) -> list[str]:
        """Returns the accepted answers for `fact`, all of which stand in the sheet."""
        answer = self.answer(fact)
        return dong(answer.removesuffix(" dong")) if answer.endswith(" dong") else [answer]

    def sentence(self, fact: str) -> str:
        """Returns the sentence of the sheet that states `fact`."""
        former = spell(fact, self.former[fact], words=False)
        answer = self.answer(fact)
        return self.phrasing(fact).format(r=self.name, v=answer, w=answer, o=former)


@cache
def load(name: str) -> Any:
    """Returns a data file, read once."""
    return load_yaml(name)


def spell(fact: str, value: int | str, words: bool) -> str:
    """Returns a value with its unit."""
    if isinstance(value, str):
        return value
    if fact in ("parcel_fee", "heavy_fee"):
        return f"{value:,} dong"
    unit = {"returns": "days", "repair": "months", "lead_time": "working days"}[fact]
    return f"{NUMBER_WORDS[value] if words else value} {unit}"


def draw_hours(rng: Random) -> str:
    """Returns opening hours such as "7:30 to 19:45"."""
    opening = rng.choice(["7:00", "7:15", "7:30", "7:45", "8:00", "8:15", "8:30", "9:00"])
    return f"{opening} to {rng.randint(17, 21)}:{rng.choice(['00', '15', '30', '45'])}"


def draw_manager(rng: Random) -> str:
    """Returns an invented name of three parts."""
    return " ".join(rng.choice(names) for names in NAMES.values())


DRAWS: dict[str, Callable[[Random], int | str]] = {
    "returns": lambda rng: rng.choice([7, 10, 12, 14, 15, 18, 20, 21, 25, 28, 30, 35, 40, 45]),
    "repair": lambda rng: rng.choice([2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 15, 18]),
    "lead_time": lambda rng: rng.randint(2, 9),
    "parcel_fee": lambda rng: rng.randrange(14_000, 49_000, 500),
    "heavy_fee": lambda rng: rng.randrange(110_000, 420_000, 5_000),
    "hours": draw_hours,
    "collection": lambda rng: rng.choice(WEEKDAYS),
    "manager": draw_manager,
}


def draw(fact: str, *key: object) -> int | str:
    """Returns a random value of `fact`."""
    return DRAWS[fact](seeded("value", fact, *key))


def draw_other(fact: str, value: int | str, *key: object) -> int | str:
    """Returns a random value of `fact` that is not `value`."""
    attempt = 0
    while (other := draw(fact, "other", attempt, *key)) == value:
        attempt += 1
    return other


def base_regions() -> list[Region]:
    """Returns the regions as they are before the update."""
    formats = seeded("formats").sample(FORMATS, len(FORMATS))
    lines = seeded("hotlines").sample(range(101, 164), len(FORMATS))
    regions: list[Region] = []
    for row, suffix, line in zip(load_csv("regions.csv"), formats, lines, strict=True):
        rng = seeded("omitted", row["code"])
        omitted = rng.sample(OPTIONAL, rng.choice([0, 0, 1, 2]))
        amounts: dict[str, int | str] = {"hotline": f"555-0{line}"}
        for fact in FACTS:
            if fact not in omitted and fact != "hotline":
                amounts[fact] = draw(fact, row["code"])
        former = {fact: draw_other(fact, value, row["code"])
                  for fact, value in amounts.items() if fact != "hotline"}  # fmt: skip
        former["hotline"] = amounts["hotline"]
        regions.append(Region(row["code"], row["name"], suffix, amounts, former))
    return regions


def with_change(region: Region, fact: str) -> Region:
    """Returns `region` with a new value of `fact`."""
    old = region.amounts[fact]
    if fact == "hotline":
        new: int | str = str(old).replace("555-0", "555-1")
    else:
        new = draw_other(fact, old, region.code, "update")
    return replace(
        region,
        amounts={**region.amounts, fact: new},
        former={**region.former, fact: old},
        changed=region.changed | {fact},
    )


def region_source(region: Region) -> Source:
    """Returns the sheet of a region."""
    prose = load("region_fillers.yaml")
    rng = seeded("sheet", region.code)
    names = {"r": region.name, "c": region.code}
    title = rng.choice(prose["titles"]).format(**names)
    paragraphs = [rng.choice(prose["intros"]).format(**names)]
    for topic, facts in PARAGRAPHS.items():
        sentences = [(fact, "") for fact in facts]
        sentences += [("", filler) for filler in rng.sample(prose["fillers"][topic], 2)]
        rng.shuffle(sentences)
        stated = [
            region.sentence(fact) if fact else filler
            for fact, filler in sentences
            if not fact or fact in region.amounts
        ]
        opener = rng.choice(prose["openers"][topic]).format(**names)
        paragraphs.append(" ".join([opener, *stated]))
    paragraphs.append(rng.choice(prose["closings"]).format(**names))
    metadata = {"region": region.code} if region.format == "md" else {}
    return Source(region.document_id, region.document_id, title, "\n\n".join(paragraphs), metadata)


def region_question(region: Region, fact: str) -> Question:
    """Returns a question for `fact` of `region`."""
    wording = seeded("ask", region.code, fact).choice(load("region_questions.yaml")[fact])
    text = wording.format(r=region.name)
    return Question("regional", text, region.answers(fact), [region.document_id])


def regional_questions(regions: list[Region], count: int) -> list[Question]:
    """Returns `count` questions, spread over regions and facts."""
    rng = seeded("regional questions")
    pairs = [(region, fact) for region in regions for fact in region.amounts]
    by_fact = {fact: rng.sample([p for p in pairs if p[1] == fact], len(regions) // 3)
               for fact in FACTS}  # fmt: skip
    chosen = [by_fact[FACTS[i % len(FACTS)]][i // len(FACTS)] for i in range(count)]
    return [region_question(region, fact) for region, fact in chosen]
