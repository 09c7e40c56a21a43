"""Quality by age, and confidence against being right."""

import numpy as np
import pytest

from tests.unit.compare_rows import question, row
from train.compare.ages import age_groups
from train.compare.confidence import confidence_figures, ranking
from train.compare.figures import groups_figures


def test_groups_of_ages_are_about_equal_and_in_order_and_keep_a_date_together():
    dates = {f"q{i}": f"2025-{1 + i % 12:02d}" for i in range(48)}
    groups = age_groups(dates)
    sizes = {name: sum(g == name for g in groups.values()) for name in set(groups.values())}
    assert sizes == dict.fromkeys(
        (
            "2025-01 to 2025-03",
            "2025-04 to 2025-06",
            "2025-07 to 2025-09",
            "2025-10 to 2025-12",
        ),
        12,
    )
    same = age_groups({f"q{i}": "2024" if i < 12 else "2025" for i in range(16)})
    assert [same[f"q{i}"] for i in (0, 11, 12)] == ["2024", "2024", "2025"]
    assert set(age_groups({f"q{i}": f"202{i}" for i in range(5)}).values()) == {"2020 to 2024"}
    assert age_groups({}) == {}


def test_figures_of_groups_leave_out_questions_of_none():
    rows = [row("rag", i, i < 2) for i in range(4)]
    found = groups_figures(rows, {"q0": "old", "q1": "new", "q2": "new"}, ["old", "new", "none"])
    assert list(found) == ["old", "new"]
    assert (found["old"]["token_f1"], found["new"]["token_f1"]) == (1.0, 0.5)
    assert (found["old"]["n"], found["new"]["n"]) == (1, 2)


def test_ranking_is_scikit_learns_area_under_the_curve():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    for _ in range(50):
        scores = rng.integers(0, 8, 40) / 8  # with ties
        right = (rng.random(40) < 0.3 + 0.4 * scores).astype(float)
        assert ranking(scores, right) == pytest.approx(roc_auc_score(right, scores))
    assert ranking(np.array([0.1, 0.2]), np.array([1.0, 1.0])) is None


def sure(i, confidence, right):
    return row("rag", i, right).model_copy(update={"confidence": confidence})


def test_a_model_that_is_right_as_often_as_it_is_sure_has_no_gap():
    rng = np.random.default_rng(1)
    told = rng.random(4000)
    rows = [sure(i, c, rng.random() < c) for i, c in enumerate(told)]
    found = confidence_figures(rows)
    assert found is not None and found["gap"] < 0.03
    assert [b["n"] for b in found["bins"]] == [800] * 5
    claimed = [b["confidence"] for b in found["bins"]]
    assert claimed == sorted(claimed)
    too_sure = confidence_figures([sure(i, 0.9, i % 2 == 0) for i in range(80)])
    assert too_sure is not None and too_sure["gap"] == pytest.approx(0.4)
    assert too_sure["ranking"] == 0.5


def test_silence_is_right_where_there_is_no_answer_and_untold_confidence_is_left_out():
    silent = row("rag", 1, True, asked=question(1, ())).model_copy(update={"confidence": 0.8})
    untold = row("rag", 2, True).model_copy(update={"confidence": None})
    found = confidence_figures([silent, untold])
    assert found is not None and (found["n"], found["bins"][0]["right"]) == (1, 1.0)
    assert confidence_figures([untold]) is None
