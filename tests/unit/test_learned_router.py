"""The learned router's policy, its file, and how it reads an evaluation."""

import pytest

from rayraft.arms import Arm, parse_arm
from rayraft.errors import ArtifactMismatch, InputError
from rayraft.learned_router import parse_router
from tests.unit.small_router import router
from train.eval_rows import EvalRow
from train.router_config import RouterTrainConfig
from train.router_outcomes import read_outcomes


def row(mode, question_id, **values):
    read = mode != "closed_book"
    return EvalRow(
        **{
            "mode": mode,
            "question_id": question_id,
            "kind": "",
            "question": "q",
            "answers": ["the nile"],
            "gold_ids": [],
            "prediction": "The Nile",
            "token_f1": 0.5,
            "answered_by": mode,
            "passage_ids": ["a", "b"] if read else [],
            "features": '{"top_cosine": 0.5}' if read else "",
            "adapter": "reader-v2" if mode == "raft" else None,
            "kb_version": 4 if read else None,
            "prompt_tokens": 9,
            "completion_tokens": 1,
            "mean_logprob": -0.25,
            "latency_ms": 3.0,
            **values,
        }
    )


def test_rows_of_an_evaluation_are_joined_by_question():
    ids = [str(i) for i in range(60)]
    rows = [row(mode, i) for mode in ("closed_book", "raft", "raft:k=1", "auto") for i in ids]
    rows.append(row("raft", "only-there"))
    read = read_outcomes(rows, RouterTrainConfig(), 2, lambda _: {"a": "the nile flows"})
    assert read.arms == ["closed_book", "raft", "raft:k=1"]
    assert (len(read.question_ids), read.adapter, read.kb_version) == (60, "reader-v2", 4)
    assert read.tokens[0].tolist() == [10, 10, 10]
    assert read.drafts is not None
    assert read.drafts[0]["draft_in_passages"] == 1.0 and read.drafts[0]["draft_logprob"] == -0.25


def test_an_evaluation_that_cannot_teach_is_refused():
    ids = [str(i) for i in range(60)]
    one = [row("rag", i) for i in ids]
    with pytest.raises(InputError, match="at least two modes"):
        read_outcomes(one, RouterTrainConfig(), 4, lambda _: {})
    few = [row(mode, i) for mode in ("rag", "closed_book") for i in ids[:9]]
    with pytest.raises(InputError, match="min_questions=50"):
        read_outcomes(few, RouterTrainConfig(), 4, lambda _: {})
    blind = one + [row("rag:k=1", i) for i in ids]
    blind = [each.model_copy(update={"features": ""}) for each in blind]
    with pytest.raises(InputError, match="tells the features"):
        read_outcomes(blind, RouterTrainConfig(), 4, lambda _: {})


def test_the_policy_weighs_quality_against_cost():
    sure, unsure = {"top_cosine": 0.9}, {"top_cosine": 0.52}
    assert router().choose(sure, "quality").arm.label == "rag"
    assert router().choose(unsure, "quality").arm.label == "rag"
    assert router().choose(unsure, "balanced").arm.label == "closed_book"
    assert router().choose(sure, 5.0).arm.label == "closed_book"
    assert router().choose(sure, "quality", {"closed_book"}).arm.label == "closed_book"
    assert router().choose(sure, "quality").why[0] == ("top_cosine", pytest.approx(3.2))


def test_a_strange_feature_never_fails_a_request():
    for value in (1e30, -1e30, float("inf"), float("nan")):
        choice = router().choose({"top_cosine": value}, "quality")
        assert all(0 <= quality <= 1 for quality in choice.expected.values())
    assert router().choose({"top_cosine": 7.0}, "quality").clipped == ["top_cosine"]
    assert router().choose({}, "quality").missing == ["top_cosine"]


def test_a_file_that_is_no_router_is_refused():
    text = router().model_dump_json()
    assert parse_router(text, "r") == router()
    for wrong in ("{}", text.replace('"format":1', '"format":9'), text.replace("top_cosine", "x")):
        with pytest.raises(ArtifactMismatch, match="r: "):
            parse_router(wrong, "r")
    with pytest.raises(InputError, match="mu='best'"):
        router().choose({}, "best")
    with pytest.raises(InputError, match="at least 0"):
        router().choose({}, -1.0)


def test_a_label_says_mode_and_settings():
    assert parse_arm("rag") == Arm("rag")
    assert parse_arm("blend:k=2:w=0.3") == Arm("blend", 2, 0.3)
    for label in ("rag", "rag:k=2", "blend:w=0.25", "blend:k=2:w=0.3"):
        assert parse_arm(label).label == label
    for wrong in ("", "rag:k=0", "rag:k=x", "blend:w=1.5", "rag,raft"):
        with pytest.raises(InputError, match="expected MODE"):
            parse_arm(wrong)
