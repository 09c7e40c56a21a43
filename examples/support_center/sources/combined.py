"""Questions that need two documents: comparisons and chains of two facts."""

from __future__ import annotations

from functools import cache
from typing import Any

from examples.support_center.sources.handwritten import document_ids
from examples.support_center.sources.prices import PART_DATES, part_id, part_price, parts
from examples.support_center.sources.records import Question, dong, load_csv, load_yaml, seeded
from examples.support_center.sources.regions import Region
from examples.support_center.sources.treasury import spell_date


@cache
def wordings() -> Any:
    """Returns the wordings of combined questions."""
    return load_yaml("combined.yaml")


def comparison(a: Region, b: Region, fact: str) -> Question:
    """Returns a question on which of two regions has more of `fact`."""
    larger = max(a, b, key=lambda region: int(region.amounts[fact]))
    pattern = seeded("compare", a.code, b.code, fact).choice(wordings()["comparisons"][fact])
    text = pattern.format(a=a.name, b=b.name)
    return Question("multi_document", text, [larger.name], [a.document_id, b.document_id])


def comparisons(regions: list[Region], count: int) -> list[Question]:
    """Returns comparisons of region pairs whose values differ."""
    rng = seeded("comparisons")
    facts = sorted(wordings()["comparisons"])
    questions: list[Question] = []
    while len(questions) < count:
        fact = facts[len(questions) % len(facts)]
        a, b = rng.sample([region for region in regions if fact in region.amounts], 2)
        if a.amounts[fact] != b.amounts[fact]:
            questions.append(comparison(a, b, fact))
    return questions


def part_chains(count: int) -> list[Question]:
    """Returns questions that go from a fault in a manual to the price of the part."""
    manual_of = {row["part"]: row["piece"] for row in load_csv("part_manuals.csv")}
    rng = seeded("part chains")
    candidates = [part for part in parts() if part["situation"]]
    questions: list[Question] = []
    for part in rng.sample(candidates, count):
        day = rng.choice(PART_DATES)
        situation = part["situation"]
        text = rng.choice(wordings()["parts"]).format(
            situation=situation,
            situation_cap=situation[0].upper() + situation[1:],
            date=spell_date(day),
        )
        gold = [document_ids("pieces")[manual_of[part["part"]]], part_id(part, day)]
        questions.append(Question("multi_document", text, dong(part_price(part, day)), gold))
    return questions


def hop(row: dict[str, str], region: Region) -> Question:
    """Returns a question that goes from a policy to a fact of the region named there."""
    gold = [document_ids("pieces")[row["piece"]], region.document_id]
    return Question("multi_document", row["question"], [region.answer(row["fact"])], gold)


def combined_questions(regions: list[Region]) -> list[Question]:
    """Returns the questions that need two documents."""
    by_code = {region.code: region for region in regions}
    ids = document_ids("pieces")
    manuals = [
        Question(
            "multi_document",
            row["question"],
            [row["answer"]],
            [ids[name] for name in row["pieces"]],
        )
        for row in wordings()["manuals"]
    ]
    hops = [hop(row, by_code[row["region"]]) for row in wordings()["hops"]]
    return [*comparisons(regions, 12), *part_chains(10), *hops, *manuals]
