from dataclasses import asdict

import pytest

from rayraft.errors import ConfigError, InputError
from tests.unit.compare_rows import SKILL, arm_rows, report
from train.compare.needs import Needs, needs_in_words, parse_needs
from train.compare.recommend import recommend


@pytest.fixture(scope="module")
def plain():
    return report()


@pytest.fixture(scope="module")
def advice(plain):
    def decide(**needs):
        return asdict(recommend(plain, Needs(**needs)))

    return decide


def test_arms_that_cannot_be_told_apart_are_decided_by_cost(plain):
    assert set(plain["advice"]["as_good"]) >= {"rag", "raft"}
    assert plain["advice"]["arm"] == "rag"
    assert "token F1" in plain["advice"]["because"][0]
    assert "a month" in plain["advice"]["because"][1]


def test_a_clearly_better_arm_wins_whatever_it_costs():
    rows = {arm: arm_rows(arm, skill=0.95 if arm == "raft" else None) for arm in SKILL}
    assert report(rows=rows)["advice"]["arm"] == "raft"


def test_what_was_never_right_is_not_recommended_however_cheap():
    rows = {arm: [r.model_copy(update={"token_f1": 0.0}) for r in arm_rows(arm)] for arm in SKILL}
    found = report(rows=rows)["advice"]
    assert found["arm"] is None
    assert all("gave no right answer" in why for why in found["excluded"].values())


def test_a_need_excludes_and_is_named_as_what_would_change_the_advice(advice):
    fast = advice(latency_p95_ms=200)
    assert fast["arm"] == "sft"
    assert "p95 latency 700 ms with 4 clients" in fast["excluded"]["rag"][0]
    assert any("without the need latency_p95_ms" in change for change in fast["changes"])


def test_a_stale_arm_is_out_where_documents_change_faster_than_it_is_refreshed(advice):
    assert "sft" in advice(freshness="seconds")["excluded"]
    assert "sft" not in advice(freshness="hourly")["excluded"]
    assert "rag" not in advice(freshness="seconds")["excluded"]


def test_without_a_measured_update_arms_without_passages_count_as_stale():
    found = report(Needs(freshness="daily"), updated=None)["advice"]["excluded"]
    assert {"base", "sft"} <= set(found) and "rag" not in found


def test_one_revealed_secret_excludes_under_strict_privacy_alone(advice):
    assert "revealed 25%" in advice(privacy="strict")["excluded"]["raft"][0]
    assert "raft" not in advice()["excluded"]


def test_needs_that_nothing_keeps_recommend_nothing(advice):
    found = advice(latency_p95_ms=1)
    assert found["arm"] is None
    assert len(found["excluded"]) == len(SKILL)


def test_a_budget_is_of_the_whole_month(plain, advice):
    cost = plain["costs"]["rag"]["thousand_answers"]
    assert "rag" in advice(budget=cost * 99, volume=100_000)["excluded"]
    assert "rag" not in advice(budget=cost * 101, volume=100_000)["excluded"]


def test_break_even_is_where_the_costs_are_equal(plain):
    costs = plain["costs"]
    found = {(b["from"], b["to"]): b["answers"] for b in plain["break_even"]}
    n = found["rag", "sft"]  # dearer to make, cheaper to run
    total = {a: costs[a]["once"] + n * costs[a]["thousand_answers"] / 1000 for a in ("rag", "sft")}
    assert total["rag"] == pytest.approx(total["sft"], rel=0.01)
    assert ("sft", "rag") not in found


def test_right_again_counts_the_seconds_of_what_it_took(plain):
    right = plain["update"]["right_again_s"]
    assert right["rag"] == pytest.approx(4.2)
    assert right["sft"] == pytest.approx(204.2)
    assert right["base"] is None


def test_needs_are_parsed_and_refused():
    needs = parse_needs("freshness=daily, latency_p95_ms=300,privacy=strict")
    assert needs == Needs(freshness="daily", latency_p95_ms=300, privacy="strict")
    assert parse_needs(None) == Needs()
    with pytest.raises(InputError, match="fresh"):
        parse_needs("fresh")
    with pytest.raises(ConfigError, match="speed"):
        parse_needs("speed=1")
    with pytest.raises(ConfigError, match="budget"):
        parse_needs("budget=-1")


def test_needs_are_said_in_words():
    said = needs_in_words(
        Needs(freshness="daily", latency_p95_ms=300, privacy="strict", budget=5).model_dump(), "EUR"
    )
    for part in ("within a day", "300 ms", "ever revealed", "5 EUR a month", "100,000 answers"):
        assert part in said
    assert needs_in_words(Needs().model_dump(), "EUR").startswith("documents do not change")


def test_the_index_is_part_of_what_an_arm_with_passages_costs_once(plain):
    costs, price = plain["costs"], 0.04 / 3600
    assert costs["base"]["once"] == 0
    assert costs["rag"]["once"] == pytest.approx(40 * price)
    assert costs["raft"]["once"] == pytest.approx((40 + 2 * 150) * price)
