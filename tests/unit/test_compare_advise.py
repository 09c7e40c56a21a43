import pytest

from tests.unit.compare_rows import arm_rows
from train.compare.advise import CLOSED, GOLDEN, PASSAGES, estimate
from train.compare.config import CompareConfig
from train.compare.needs import Needs


def advised(skills, recall=1.0, **needs):
    known, shown, golden = skills
    asked = {CLOSED: ("base", known), PASSAGES: ("rag", shown), GOLDEN: ("rag", golden)}
    rows = {title: arm_rows(arm, skill=skill) for title, (arm, skill) in asked.items()}
    found = [r.model_copy(update={"recall_at_k": recall}) for r in rows[PASSAGES]]
    return estimate(rows, found, Needs(**needs), CompareConfig()).advice


@pytest.mark.parametrize(
    ("skills", "recall", "first"),
    [
        ((0.0, 0.4, 0.9), 0.5, "retrieval first"),
        ((0.0, 0.5, 0.6), 0.95, "try `raft`"),
        ((0.0, 0.97, 1.0), 0.95, "`rag` is enough"),
        ((0.95, 0.97, 1.0), 0.95, "the base model knows this by heart"),
    ],
)
def test_the_larger_gap_is_named_first(skills, recall, first):
    assert advised(skills, recall)[0].startswith(first)


def test_needs_add_what_decides_whatever_the_quality():
    said = " ".join(advised((0.0, 0.5, 0.6), latency_p95_ms=200, freshness="daily"))
    assert "350 ms at p95, 200 allowed" in said and "closed-book adapter" in said
    assert "reads passages" in said
    assert "reads passages" not in " ".join(advised((0.0, 0.5, 0.6)))
