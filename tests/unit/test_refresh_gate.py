"""The rule that promotes a challenger."""

from math import erf, sqrt

import numpy as np
import pytest

from rayraft.errors import InputError
from train.eval_rows import EvalRow
from train.refresh_config import GateConfig, parse_every
from train.refresh_gate import compare, decide, probability_above_zero


def rows(scores: dict[str, list[float]], mode: str = "raft") -> list[EvalRow]:
    return [
        EvalRow(
            mode=mode,
            question_id=f"{name}/{i}",
            kind=name,
            question="Q?",
            answers=["a"],
            gold_ids=[],
            token_f1=score,
            answered_by=mode,
            passage_ids=[],
            latency_ms=1.0,
        )
        for name, values in scores.items()
        for i, score in enumerate(values)
    ]


def test_a_challenger_that_is_better_everywhere_is_promoted():
    champion = rows({"changed": [0.0] * 20, "unchanged": [0.5] * 20})
    challenger = rows({"changed": [1.0] * 20, "unchanged": [0.5] * 20})
    verdict = decide(champion, challenger, GateConfig())
    assert verdict.promote and verdict.probability_better == 1.0
    by_name = {one.name: one for one in compare(champion, challenger)}
    assert by_name["changed"].difference == 1.0 and by_name["changed"].ci95 == (1.0, 1.0)
    assert by_name["unchanged"].difference == 0.0 and by_name["unchanged"].questions == 20


def test_one_that_forgets_is_not_however_much_it_gains_elsewhere():
    champion = rows({"changed": [0.0] * 50, "unchanged": [0.9] * 50})
    challenger = rows({"changed": [1.0] * 50, "unchanged": [0.8] * 50})
    verdict = decide(champion, challenger, GateConfig(max_loss=0.05))
    assert not verdict.promote and verdict.probability_better == 1.0
    assert len(verdict.reasons) == 1 and "unchanged" in verdict.reasons[0]
    assert decide(champion, challenger, GateConfig(max_loss=0.11)).promote


def test_one_that_may_be_better_by_chance_is_not():
    champion = rows({"changed": [0.0, 1.0] * 10})
    challenger = rows({"changed": [1.0, 0.0] * 10})
    verdict = decide(champion, challenger, GateConfig())
    assert not verdict.promote and 0.4 < verdict.probability_better < 0.6
    same = decide(champion, champion, GateConfig())
    assert not same.promote and same.probability_better == 0.5


def test_the_same_questions_in_the_same_modes_are_compared():
    with pytest.raises(ValueError, match="same questions"):
        compare(rows({"changed": [1.0]}), rows({"changed": [1.0]}, mode="closed_book"))


def test_the_bootstrap_probability_agrees_with_the_normal_approximation():
    values = np.random.default_rng(0).normal(0.1, 1.0, 400)
    z = values.mean() / (values.std(ddof=1) / np.sqrt(len(values)))
    expected = 0.5 * (1 + erf(z / sqrt(2)))
    assert probability_above_zero(values) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("1.5h", 5400)])
def test_distances_in_time_are_read(text, seconds):
    assert parse_every(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "0s", "5", "-1h", "1w"])
def test_other_words_are_refused(text):
    with pytest.raises(InputError, match="--every"):
        parse_every(text)
