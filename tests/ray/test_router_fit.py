"""A router learned from outcomes whose rule is known, and what its report says of it."""

import json

import numpy as np
import pytest

from rayraft.learned_router import Level, best_arm
from train.router_config import RouterTrainConfig
from train.router_fit import choices, fit, folds_of
from train.router_outcomes import Outcomes
from train.router_report import calibration, cross_fit, make_router_report, router_markdown

CONFIG = RouterTrainConfig(strengths=(0.01, 0.1), folds=3, repeats=1)
N = 240


def outcomes_of(signal, seed=0):
    """Reading is right where the cosine is high, memory where it is low, as far as `signal` says.

    Reading one passage is as good as four where both searches agree.
    """
    rng = np.random.default_rng(seed)
    cosine, agree = rng.uniform(0, 1, N), rng.integers(0, 2, N)
    good = rng.uniform(0, 1, N)
    read = (good < 0.5 + signal * (cosine - 0.4)).astype(float)
    one = np.where((agree == 1) | (signal == 0), read, 0.0)
    memory = (good < 0.35 - signal * (cosine - 0.5)).astype(float)
    return Outcomes(
        question_ids=[str(i) for i in range(N)],
        arms=["closed_book", "rag", "rag:k=1"],
        adapters=["memory-v1", None, None],
        features=[
            {"top_cosine": float(c), "searches_agree": float(a), "question_words": float(w)}
            for c, a, w in zip(cosine, agree, rng.normal(size=N), strict=True)
        ],
        drafts=[{"draft_logprob": float(v)} for v in rng.normal(size=N)],
        quality=np.stack([memory, read, one], axis=1),
        tokens=np.tile([60.0, 700.0, 250.0], (N, 1)),
        generate_ms=np.tile([20.0, 200.0, 80.0], (N, 1)),
        retrieve_ms=np.full(N, 10.0),
        adapter=None,
        kb_version=3,
        k=4,
    )


@pytest.fixture(scope="module")
def learned():
    outcomes = outcomes_of(signal=0.9)
    return make_router_report(outcomes, cross_fit(outcomes, CONFIG), CONFIG)


def test_quality_beats_the_best_fixed_mode_and_stays_below_the_oracle(learned):
    level = learned["levels"]["quality"]
    assert level["difference"]["ci95"][0] > 0
    assert learned["oracle"]["quality"] >= level["quality"]
    assert 0 < level["headroom_captured"] <= 1
    assert level["headroom_ci95"][0] <= level["headroom_captured"] <= level["headroom_ci95"][1]


def test_balanced_saves_tokens_and_cheap_saves_more(learned):
    levels = learned["levels"]
    assert levels["balanced"]["token_share"] < 0.8
    assert levels["cheap"]["tokens"] <= levels["balanced"]["tokens"]
    assert levels["balanced"]["quality"] > levels["quality"]["quality"] - 0.04


def test_forecasts_are_calibrated_and_the_report_is_readable(learned):
    assert learned["calibration"]["ece"] < 0.06
    text = router_markdown(learned)
    assert "| **rag** |" in text and "auto, balanced" in text and "headroom captured" in text
    json.dumps(learned, allow_nan=False)


def test_without_a_signal_the_router_stays_with_the_best_fixed_mode():
    outcomes = outcomes_of(signal=0.0)
    report = make_router_report(outcomes, cross_fit(outcomes, CONFIG), CONFIG)
    assert abs(report["levels"]["quality"]["difference"]["mean"]) < 0.03


def test_nothing_is_judged_by_a_model_that_saw_it():
    parts = folds_of(11, 3, seed=1)
    assert sorted(np.concatenate(parts).tolist()) == list(range(11))
    spoiled, outcomes = outcomes_of(0.9), outcomes_of(0.9)
    part = folds_of(N, CONFIG.folds, CONFIG.seed)[0]
    spoiled.quality[part] = 1 - spoiled.quality[part]
    same = cross_fit(outcomes, CONFIG), cross_fit(spoiled, CONFIG)
    assert np.array_equal(same[0].expected[0, part], same[1].expected[0, part])


def test_repeats_split_anew_and_keep_the_form():
    outcomes, config = outcomes_of(0.9), CONFIG.model_copy(update={"repeats": 2})
    crossed = cross_fit(outcomes, config)
    assert crossed.expected.shape == (2, N, 3)
    assert not np.array_equal(crossed.expected[0], crossed.expected[1])
    report = make_router_report(outcomes, crossed, config)
    assert sum(report["levels"]["balanced"]["chosen"].values()) == pytest.approx(1)


def test_a_draft_is_paid_by_all_but_itself():
    outcomes = outcomes_of(0.5)
    assert outcomes.spent(True)[0].tolist() == [60, 760, 310]
    assert outcomes.spent(False)[0].tolist() == [60, 700, 250]
    assert outcomes.latency_ms(True)[0].tolist() == [20, 220, 100]
    assert fit(outcomes, np.arange(N), CONFIG.model_copy(update={"draft": True})).draft


def test_calibration_error_is_the_gap_of_forecast_and_outcome():
    exact = calibration(
        np.array([0.2] * 10 + [0.8] * 10), np.array(([1] * 2 + [0] * 8) + [1] * 8 + [0] * 2, float)
    )
    assert len(exact["bins"]) == 10
    off = calibration(np.full(20, 0.9), np.full(20, 0.4))
    assert off["ece"] == pytest.approx(0.5)


def test_many_questions_are_decided_as_one_is():
    rng = np.random.default_rng(0)
    forecasts, means, costs = rng.random((50, 3)), rng.random(3), rng.random(3)
    for level in (Level(mu=0, margin=0), Level(mu=0.3, margin=0.1)):
        one_by_one = [best_arm(forecast, means, costs, level) for forecast in forecasts]
        assert choices(forecasts, means, costs, level).tolist() == one_by_one
