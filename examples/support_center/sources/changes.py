"""The corpus before and after the update, and the questions whose answers differ."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from examples.support_center.sources import handwritten, prices, regions, treasury
from examples.support_center.sources.records import Change, Question, Source, load_yaml, seeded
from examples.support_center.sources.regions import FACTS, Region

BASE_MONTHS = [f"2025-{month:02}" for month in range(1, 6)]
NEW_MONTH = "2025-06"


@dataclass(frozen=True)
class Corpus:
    """All documents at one point in time."""

    regions: list[Region]
    sources: list[Source]


@cache
def plan() -> Any:
    """Returns what the update changes."""
    return load_yaml("changes.yaml")


def base_corpus() -> Corpus:
    """Returns the corpus before the update."""
    sheets = regions.base_regions()
    return Corpus(
        sheets,
        [
            *(regions.region_source(region) for region in sheets),
            *handwritten.handwritten_sources({}, [], with_new=False),
            *treasury.treasury_sources(BASE_MONTHS, []),
            *prices.price_sources(BASE_MONTHS, [], []),
        ],
    )


def changed_facts() -> list[tuple[str, str]]:
    """Returns (region code, fact) pairs that the update changes, each region once."""
    sheets = [r for r in regions.base_regions() if r.code != plan()["closed_region"]]
    order = seeded("changed regions").sample(sheets, len(sheets))
    pairs: list[tuple[str, str]] = []
    for number in range(plan()["changed_regions"]):
        fact = FACTS[number % len(FACTS)]
        region = next(region for region in order if fact in region.amounts)
        order.remove(region)
        pairs.append((region.code, fact))
    return pairs


def updated_regions() -> list[Region]:
    """Returns the regions after the update, without the closed one."""
    facts = dict(changed_facts())
    return [
        regions.with_change(region, facts[region.code]) if region.code in facts else region
        for region in regions.base_regions()
        if region.code != plan()["closed_region"]
    ]


def reprised_parts() -> list[dict[str, str]]:
    """Returns the parts that get a new price notice."""
    return [part for part in prices.parts() if part["part"] in plan()["reprised_parts"]]


def updated_corpus() -> Corpus:
    """Returns the corpus after the update."""
    replacements: handwritten.Replacements = {}
    for row in plan()["replacements"]:
        replacements.setdefault(row["piece"], []).append((row["find"], row["replace"]))
    months, archived = [*BASE_MONTHS, NEW_MONTH], plan()["archived_months"]
    sheets = updated_regions()
    return Corpus(
        sheets,
        [
            *(regions.region_source(region) for region in sheets),
            *handwritten.handwritten_sources(replacements, plan()["deleted_notes"], with_new=True),
            *treasury.treasury_sources(months, archived),
            *prices.price_sources(months, archived, reprised_parts()),
        ],
    )


def gone(before: Question) -> Change:
    """Returns the change of a question whose document disappears."""
    return Change("disappeared", before, replace(before, answers=[], gold_ids=[]))


def new(after: Question) -> Change:
    """Returns the change of a question whose document appears."""
    return Change("appeared", replace(after, answers=[], gold_ids=[]), after)


def changed_regional() -> list[Change]:
    """Returns the questions on facts of regions that change."""
    before = {region.code: region for region in regions.base_regions()}
    after = {region.code: region for region in updated_regions()}
    return [
        Change(
            "changed",
            regions.region_question(before[code], fact),
            regions.region_question(after[code], fact),
        )
        for code, fact in changed_facts()
    ]


def changed_pieces() -> list[Change]:
    """Returns the questions on hand-written pieces in which a passage is replaced."""
    known = {question.question: question for question in handwritten.handwritten_questions()}
    changes: list[Change] = []
    for row in plan()["replacements"]:
        before = known[row["question"]]
        changes.append(Change("changed", before, replace(before, answers=[row["after"]])))
    return changes


def changed_parts() -> list[Change]:
    """Returns the questions on the current price of parts that get a new notice."""
    old, latest = prices.PART_DATES[-1], prices.PART_DATES_UPDATE[-1]
    return [
        Change("changed", prices.current_question(part, old), prices.current_question(part, latest))
        for part in reprised_parts()
    ]


def disappeared() -> list[Change]:
    """Returns the questions whose documents are deleted."""
    closed = next(r for r in regions.base_regions() if r.code == plan()["closed_region"])
    deleted = plan()["deleted_notes"]
    facts = [fact for fact in ("manager", "hotline", "hours") if fact in closed.amounts]
    questions = [regions.region_question(closed, fact) for fact in facts]
    questions += [q for q in handwritten.handwritten_questions() if q.gold_ids[0] in deleted]
    archived = plan()["archived_months"]
    questions += treasury.treasury_questions(archived, sheets=2, bulletins=0)
    questions += prices.price_questions(archived, lists=2, promotions=0, notes=0)
    return [gone(question) for question in questions]


def update_changes() -> list[Change]:
    """Returns all questions whose right answer the update changes."""
    fresh = [
        *handwritten.handwritten_questions("pieces_new"),
        *treasury.treasury_questions([NEW_MONTH], sheets=4, bulletins=3),
        *prices.price_questions([NEW_MONTH], lists=3, promotions=3, notes=0),
    ]
    return [
        *changed_regional(),
        *changed_pieces(),
        *changed_parts(),
        *disappeared(),
        *(new(question) for question in fresh),
    ]
