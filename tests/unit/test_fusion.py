"""Reciprocal rank fusion against its formula."""

import random

import pytest

from rayraft.fusion import reciprocal_rank_fusion


def test_scores_are_the_papers_formula():
    fused = dict(reciprocal_rank_fusion([["a", "b"], ["b", "c"]], k=60))

    assert fused == pytest.approx({"a": 1 / 61, "b": 1 / 62 + 1 / 61, "c": 1 / 62})


def test_what_both_lists_have_comes_before_what_one_has_at_the_same_place():
    assert next(iter(dict(reciprocal_rank_fusion([["a", "x"], ["b", "x"]])))) == "x"


def test_a_weight_of_zero_leaves_the_other_lists_order():
    fused = reciprocal_rank_fusion([["a", "b", "c"], ["c", "b", "a"]], weights=[1.0, 0.0])

    assert [item for item, _ in fused] == ["a", "b", "c"]


def test_equal_scores_are_ordered_by_id():
    assert [item for item, _ in reciprocal_rank_fusion([["b"], ["a"]])] == ["a", "b"]


def test_no_list_or_empty_lists_give_nothing():
    assert reciprocal_rank_fusion([]) == []
    assert reciprocal_rank_fusion([[], []]) == []


def test_every_id_is_returned_once_best_first_whatever_the_order_of_the_lists():
    generator = random.Random(0)
    for _ in range(50):
        lists = [generator.sample("abcdefghij", generator.randint(0, 10)) for _ in range(3)]
        fused = reciprocal_rank_fusion(lists)
        scores = [score for _, score in fused]

        assert sorted(item for item, _ in fused) == sorted(set().union(*lists))
        assert scores == sorted(scores, reverse=True)
        assert dict(reciprocal_rank_fusion(lists[::-1])) == pytest.approx(dict(fused))


def test_weights_must_be_as_many_as_lists():
    with pytest.raises(ValueError):
        reciprocal_rank_fusion([["a"], ["b"]], weights=[1.0])
