import collections
import math
import re
import string
from typing import TypeVar

import numpy as np
import pytest

from rayraft.metrics import (
    abstention_interval,
    bootstrap_interval,
    exact_match,
    ndcg_at_k,
    normalise_answer,
    paired_difference,
    recall_at_k,
    score_abstention,
    score_answer,
    token_f1,
)

T = TypeVar("T")


def reference_f1(prediction: str, answer: str) -> float:
    """Written from the SQuAD paper's words, independently of `rayraft.metrics`."""

    def tokens(text: str) -> list[str]:
        kept = "".join(c for c in text.lower() if c not in set(string.punctuation))
        return [word for word in re.split(r"\s+", kept) if word and word not in ("a", "an", "the")]

    ours, theirs = tokens(prediction), tokens(answer)
    if len(ours) == 0 or len(theirs) == 0:
        return 1.0 if ours == theirs else 0.0
    left = collections.Counter(theirs)
    same = 0
    for word in ours:
        if left[word] > 0:
            left[word] -= 1
            same += 1
    if same == 0:
        return 0.0
    precision, recall = same / len(ours), same / len(theirs)
    return 2 * precision * recall / (precision + recall)


def defined(value: T | None) -> T:
    assert value is not None
    return value


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("The Denver Broncos.", "denver broncos"),
        ("  an   Apple\ta day ", "apple day"),
        ("$3,837", "3837"),
        ("U.S.", "us"),
        ("theatre", "theatre"),
        ("co-operate", "cooperate"),
        ("the", ""),
    ],
)
def test_normalisation_is_squads(text, normalised):
    assert normalise_answer(text) == normalised


@pytest.mark.parametrize(
    ("prediction", "answers", "em", "f1"),
    [
        ("Denver Broncos", ["the Denver Broncos"], 1.0, 1.0),
        ("the Broncos", ["Denver Broncos"], 0.0, 2 / 3),
        ("in October 1973", ["1973", "October 1973"], 0.0, 0.8),
        ("cat cat dog", ["cat dog dog"], 0.0, 2 / 3),
        ("", ["something"], 0.0, 0.0),
        ("blue", ["red"], 0.0, 0.0),
        ("anything", [], 0.0, 0.0),
    ],
)
def test_scores_equal_hand_computed_values(prediction, answers, em, f1):
    assert exact_match(prediction, answers) == em
    assert token_f1(prediction, answers) == pytest.approx(f1)


def test_f1_equals_an_independent_implementation_on_random_texts():
    rng = np.random.default_rng(7)
    words = ["a", "the", "An", "cat", "Cat,", "dog", "3,837", "-", "U.S.", "of"]
    for _ in range(500):
        one = " ".join(rng.choice(words, size=rng.integers(0, 7)))
        other = " ".join(rng.choice(words, size=rng.integers(0, 7)))
        assert token_f1(one, [other]) == pytest.approx(reference_f1(one, other)), (one, other)


def test_unanswerable_is_right_only_by_abstaining():
    assert score_answer("", True, []).exact_match == 1.0
    assert score_answer("", True, []).token_f1 == 1.0
    assert score_answer("Paris", False, []).token_f1 == 0.0


def test_abstaining_on_an_answerable_question_is_worth_nothing():
    score = score_answer("The documents do not contain the answer.", True, ["the documents"])
    assert (score.exact_match, score.token_f1) == (0.0, 0.0)


def test_ndcg_is_gain_over_the_ideal_order():
    ranked = ["a", "b", "b", "c", "d"]
    # Ranks 1 a, 2 b, 3 c, 4 d: a repeated document takes no rank.
    assert ndcg_at_k(ranked, ["a"], 10) == 1.0
    assert ndcg_at_k(ranked, ["c"], 10) == pytest.approx(1 / math.log2(4))
    both = (1 / math.log2(3) + 1 / math.log2(5)) / (1 + 1 / math.log2(3))
    assert ndcg_at_k(ranked, ["d", "b"], 10) == pytest.approx(both)
    assert ndcg_at_k(ranked, ["c"], 2) == 0.0
    assert ndcg_at_k(ranked, ["x"], 10) == 0.0
    assert ndcg_at_k(ranked, [], 10) is None


def test_recall_counts_each_gold_document_once():
    assert recall_at_k(["d1", "d1", "d2"], ["d1", "d3"]) == 0.5
    assert recall_at_k(["d2", "d1"], ["d1"], k=1) == 0.0
    assert recall_at_k(["d2", "d1"], ["d1", "d1"], k=2) == 1.0
    assert recall_at_k(["d1"], []) is None


def test_abstention_scores_equal_hand_computed_values():
    abstained = [True, True, False, True, False]
    unanswerable = [True, False, True, True, False]
    score = score_abstention(abstained, unanswerable)
    assert score.precision == pytest.approx(2 / 3)
    assert score.recall == pytest.approx(2 / 3)
    assert score.f1 == pytest.approx(2 / 3)


def test_abstention_is_undefined_without_unanswerable_questions():
    score = score_abstention([True, False], [False, False])
    assert (score.precision, score.recall, score.f1) == (0.0, None, None)
    assert abstention_interval([True, False], [False, False]) is None
    assert score_abstention([False], [True]).precision is None
    assert score_abstention([False], [True]).f1 == 0.0


def test_interval_of_a_mean_agrees_with_the_closed_form():
    values = np.random.default_rng(3).normal(0.4, 0.2, size=400)
    half = 1.959964 * values.std() / np.sqrt(values.size)
    low, high = defined(bootstrap_interval(values, seed=1, resamples=8000))
    assert low == pytest.approx(values.mean() - half, abs=0.08 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.08 * half)


def test_interval_is_a_point_for_a_constant_and_none_without_values():
    assert bootstrap_interval([0.25] * 10) == (0.25, 0.25)
    assert bootstrap_interval([]) is None


def test_interval_depends_on_the_seed_alone_not_on_the_memory_bound(monkeypatch):
    values = np.random.default_rng(0).random(50)
    whole = bootstrap_interval(values, seed=5)
    monkeypatch.setattr("rayraft.metrics._MAX_DRAWS", 1000)
    assert bootstrap_interval(values, seed=5) == whole
    assert bootstrap_interval(values, seed=6) != whole


def test_abstention_interval_holds_the_f1():
    rng = np.random.default_rng(2)
    unanswerable = [bool(draw < 0.3) for draw in rng.random(300)]
    abstained = [
        is_so ^ bool(draw < 0.2) for is_so, draw in zip(unanswerable, rng.random(300), strict=True)
    ]
    low, high = defined(abstention_interval(abstained, unanswerable))
    assert low < defined(score_abstention(abstained, unanswerable).f1) < high
    assert high - low < 0.25


def test_paired_difference_is_narrower_than_the_parts_when_they_agree():
    rng = np.random.default_rng(4)
    theirs = rng.random(200)
    ours = theirs + 0.05 + rng.normal(0, 0.01, 200)
    difference = defined(paired_difference(ours, theirs))
    assert difference.mean == pytest.approx((ours - theirs).mean())
    low, high = difference.ci95
    assert 0.04 < low < high < 0.06
    alone = defined(bootstrap_interval(ours))
    assert high - low < (alone[1] - alone[0]) / 5


def test_paired_difference_refuses_other_lengths():
    with pytest.raises(ValueError, match="must be as many as ours"):
        paired_difference([1.0, 0.0], [1.0])
    assert paired_difference([], []) is None
