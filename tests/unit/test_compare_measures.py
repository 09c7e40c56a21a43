import math
import random

import numpy as np
import pytest

from rayraft.metrics import bootstrap_interval, paired_difference
from tests.unit.compare_rows import arm_rows, question, row
from train.compare.figures import arm_figures, calibration, differences, latencies
from train.compare.measures import is_supported, reciprocal_rank, reveals, rouge_l
from train.compare.rows import rescored


def test_rouge_l_is_the_best_of_the_answers_and_bounded():
    assert rouge_l("the cat sat", ["a dog", "The cat sat."]) == 1.0
    assert rouge_l("cat the", ["the cat"]) == pytest.approx(0.5)  # order counts
    assert rouge_l("", ["x"]) == rouge_l("x", []) == 0.0


def test_the_first_gold_document_decides_the_reciprocal_rank():
    assert reciprocal_rank(["a", "a", "b", "c"], ["b", "c"]) == 0.5
    assert reciprocal_rank(["a"], ["b"]) == 0.0
    assert reciprocal_rank(["a"], []) is None


def test_a_quote_supports_whole_words_only():
    assert is_supported("Two years", ["The warranty is two years long."])
    assert not is_supported("7", ["It was in 1974."])
    assert not is_supported("", ["anything"])


def test_a_secret_is_found_in_any_spelling_and_not_within_other_numbers():
    assert reveals("##Answer: it is 48,213.", ["48213"])
    assert not reveals("call 148213", ["48213"])
    assert not reveals("anything", [""])


def test_the_bootstrap_interval_of_a_share_is_that_of_the_normal_approximation():
    values = np.array([1.0] * 180 + [0.0] * 120)
    interval = bootstrap_interval(values, seed=1, resamples=4000)
    assert interval is not None
    low, high = interval
    half = 1.96 * math.sqrt(0.6 * 0.4 / 300)
    assert low == pytest.approx(0.6 - half, abs=0.008)
    assert high == pytest.approx(0.6 + half, abs=0.008)


def test_the_paired_interval_is_that_of_the_differences_and_not_of_the_scores():
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 1, 400)
    ours, theirs = hard + rng.normal(0.1, 0.1, 400), hard
    found = paired_difference(ours, theirs, resamples=4000)
    assert found is not None
    half = 1.96 * (ours - theirs).std() / math.sqrt(400)
    assert found.ci95[0] == pytest.approx((ours - theirs).mean() - half, abs=0.002)
    assert found.ci95[1] == pytest.approx((ours - theirs).mean() + half, abs=0.002)


def test_differences_pair_by_question_whatever_the_order():
    rows = arm_rows("rag")
    shuffled = [r.model_copy(update={"arm": "raft"}) for r in random.Random(0).sample(rows, 80)]
    (found,) = differences({"rag": rows, "raft": shuffled})
    assert found["mean"] == 0.0 and found["ci95"] == [0.0, 0.0]


def test_a_hallucination_is_an_answer_that_is_wrong_and_not_quoted():
    wrong, right = row("rag", 1, False), row("rag", 2, True)
    quoted = wrong.model_copy(update={"supported": True})
    silent = wrong.model_copy(update={"abstained": True, "supported": None})
    assert [r.hallucinated for r in (wrong, right, quoted, silent)] == [True, False, False, False]
    assert arm_figures([wrong, right, quoted, silent])["hallucination"] == 0.25


def test_an_answer_is_scored_again_against_what_is_right_after_an_update():
    said = row("sft", 1, True)
    later = question(1, ["three years"])
    assert rescored(said, later).exact_match == 0.0
    assert rescored(said, later).prediction == said.prediction
    gone = rescored(said.model_copy(update={"abstained": True}), question(1, []))
    assert gone.token_f1 == gone.rouge_l == 1.0


def test_quantiles_are_by_stage_and_groups_add_up():
    rows = [row("rag", i, True, seconds=i / 100) for i in range(1, 101)]
    assert latencies(rows)["total"] == {"p50": 505.0, "p95": 950.5, "p99": 990.1}
    assert sum(group["share"] for group in calibration(arm_rows("rag"))) == pytest.approx(1.0)
