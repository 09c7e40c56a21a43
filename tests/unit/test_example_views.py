import pytest

from rayraft.errors import ConfigError
from rayraft.prompts import ABSTAIN, completion
from rayraft.records import Passage, RaftExample
from train.config import TrainConfig
from train.example_views import kinds, view_of, viewed

RUN = {"golden_fraction": 0.8, "distractors": 4, "missing_golden": "abstain"}


def example(i: int, has_golden: bool = True) -> RaftExample:
    names = ["d1", "g", "d2", "d3", "d4"] if has_golden else ["d1", "d2", "d3", "d4", "d5"]
    return RaftExample(
        example_id=f"{i:064x}",
        chunk_id="g",
        document_id="doc",
        question="Why?",
        passages=[Passage(chunk_id=n, document_id=n, text=f"text of {n}") for n in names],
        golden_ids=["g"],
        has_golden=has_golden,
        quote="text of g" if has_golden else "",
        answer="so",
        completion=completion("text of g", "so") if has_golden else completion("", ""),
        split="train",
    )


def test_nothing_asked_is_nothing_changed():
    assert view_of(TrainConfig(), RUN) is None


@pytest.mark.parametrize("fraction", [0.0, 0.4, 0.8])
def test_the_golden_share_is_what_was_asked_and_the_number_shown_does_not_tell(fraction: float):
    view = view_of(TrainConfig(golden_fraction=fraction, distractors=2), RUN)
    assert view is not None
    rows = [viewed(example(i, has_golden=i % 5 > 0), view) for i in range(1000)]
    assert sum(row.has_golden for row in rows) / 1000 == pytest.approx(fraction, abs=0.04)
    assert {len(row.passages) for row in rows} == {3}
    for row in rows:
        assert row.has_golden == any(p.chunk_id == "g" for p in row.passages)
        assert row.has_golden == bool(row.quote)
        assert row.has_golden == (ABSTAIN not in row.completion)
        assert row.answer == "so"


def test_without_the_golden_passage_the_run_says_what_is_written():
    config = TrainConfig(golden_fraction=0.0, distractors=2)
    view = view_of(config, RUN | {"missing_golden": "memory"})
    assert view is not None
    assert viewed(example(1), view).completion == completion("", "so")


def test_fewer_distractors_leave_the_order_and_the_golden_one():
    view = view_of(TrainConfig(distractors=1), RUN)
    assert view is not None
    assert [p.chunk_id for p in viewed(example(1), view).passages] == ["d1", "g"]


def test_several_golden_passages_are_as_many_shown_as_one():
    several = example(1).model_copy(update={"golden_ids": ["g", "d1"], "further_quotes": ["text"]})
    for fraction in (0.0, 0.8):
        view = view_of(TrainConfig(golden_fraction=fraction, distractors=2), RUN)
        assert view is not None
        kept = viewed(several, view)
        assert len(kept.passages) == 3
        assert kept.has_golden == ({"g", "d1"} <= {p.chunk_id for p in kept.passages})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"golden_fraction": 0.9}, "the RAFT run has 0.8"),
        ({"distractors": 5}, "the RAFT run has 4"),
        ({"golden_fraction": 0.5}, "below the run's 4"),
    ],
)
def test_more_than_the_run_has_is_refused(settings: dict[str, float], said: str):
    with pytest.raises(ConfigError, match=said):
        view_of(TrainConfig.model_validate(settings), RUN)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_closed_book_rows_are_the_share_that_was_asked(share: float):
    found = [kinds(f"{i:064x}", "mixed", share, seed=0) for i in range(2000)]
    with_passages, closed = (sum(pair[side] for pair in found) for side in (0, 1))
    assert closed / (with_passages + closed) == pytest.approx(share, abs=0.02)
    assert max(with_passages, closed) == 2000  # the more frequent kind loses nothing


def test_other_methods_make_one_kind():
    assert kinds("x", "raft", 0.5, 0) == (True, False)
    assert kinds("x", "sft", 0.5, 0) == (False, True)
