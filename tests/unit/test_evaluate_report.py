import json

import pytest

from train.eval_rows import EvalRow, rows_table
from train.report import make_report, markdown, mode_figures


def row(number=0, mode="rag", **values):
    fields = {
        "mode": mode,
        "question_id": f"q{number:03d}",
        "kind": "stable",
        "question": "Who?",
        "answers": ["Ada"],
        "gold_ids": ["d"],
        "prediction": "Ada",
        "raw": "##Answer: Ada",
        "abstained": False,
        "exact_match": 1.0,
        "token_f1": 1.0,
        "recall_at_k": 1.0,
        "answered_by": mode,
        "route": "",
        "adapter": None,
        "kb_version": 3,
        "passage_ids": ["c"],
        "citations": 0,
        "prompt_tokens": 10,
        "completion_tokens": 2,
        "retrieve_ms": 1.0,
        "generate_ms": 2.0,
        "latency_ms": 3.0,
    }
    return EvalRow(**{**fields, **values})


ROWS = [
    row(0, token_f1=1.0, exact_match=1.0, latency_ms=10, citations=1),
    row(1, token_f1=0.5, exact_match=0.0, latency_ms=20, recall_at_k=0.0),
    row(2, answers=[], gold_ids=[], recall_at_k=None, abstained=True, latency_ms=30, kind="none"),
    row(3, abstained=True, token_f1=0.0, exact_match=0.0, latency_ms=40, kind="none"),
]


def test_figures_of_a_mode_equal_hand_computed_values():
    figures = mode_figures(ROWS)
    assert figures["exact_match"] == 0.5
    assert figures["token_f1"] == 0.625
    assert figures["recall_at_k"] == pytest.approx(2 / 3)  # the unanswerable one has no gold
    assert figures["abstention_f1"] == pytest.approx(2 / 3)
    assert (figures["abstention_precision"], figures["abstention_recall"]) == (0.5, 1.0)
    assert figures["latency_ms"] == {"p50": 25.0, "p95": 38.5}
    assert figures["answers_with_citation"] == 0.5
    assert figures["kinds"]["stable"] == {
        "n": 2,
        "exact_match": 0.5,
        "token_f1": 0.75,
        "recall_at_k": 0.5,
        "ndcg_at_10": None,
    }
    for name, interval in figures["ci95"].items():
        assert (interval is None) == (figures[name] is None)
        assert interval is None or interval[0] <= figures[name] <= interval[1]


def test_what_is_not_defined_is_null_and_not_zero():
    figures = mode_figures([row(0, recall_at_k=None)])
    assert (figures["recall_at_k"], figures["abstention_f1"]) == (None, None)
    assert (figures["ci95"]["recall_at_k"], figures["ci95"]["abstention_f1"]) == (None, None)


def test_retrieval_alone_is_a_row_without_scores_of_answers():
    scores = {"exact_match": None, "token_f1": None, "ndcg_at_10": 0.5}
    searched = [one.model_copy(update={"mode": "search", **scores}) for one in ROWS]
    report = make_report([*ROWS, *searched], ["rag", "search"], kb_version=7)
    figures = report["modes"]["search"]
    assert (figures["ndcg_at_10"], figures["token_f1"], figures["abstention_f1"]) == (
        0.5,
        None,
        None,
    )
    assert list(report["differences"]) == []
    table = markdown(report)
    assert "nDCG@10" in table and "| search | - | - | - |" in table
    assert "nDCG@10" not in markdown(make_report(ROWS, ["rag"], kb_version=7))


def test_report_has_the_fixed_form_and_is_json():
    report = make_report(ROWS, ["rag"], kb_version=7)
    read = json.loads(json.dumps(report, allow_nan=False))
    assert (read["kb_version"], read["n"], list(read["modes"])) == (7, 4, ["rag"])
    assert set(read["modes"]["rag"]) >= {
        "exact_match",
        "token_f1",
        "recall_at_k",
        "abstention_f1",
        "latency_ms",
        "ci95",
    }
    assert read["modes"]["rag"]["ci95"]["token_f1"][0] <= 0.625


def test_modes_are_compared_with_retrieval_question_by_question():
    better = [row(i, mode="raft", token_f1=0.9, adapter="a-v1") for i in range(30)]
    plain = [row(i, token_f1=0.6) for i in reversed(range(30))]
    report = make_report([*plain, *better], ["rag", "raft"], kb_version=1)
    difference = report["differences"]["raft - rag"]["token_f1"]
    assert difference["mean"] == pytest.approx(0.3)
    assert difference["ci95"] == pytest.approx((0.3, 0.3))
    assert make_report(better, ["raft"], kb_version=1)["differences"] == {}


def test_report_does_not_depend_on_the_order_of_rows():
    backwards = make_report(ROWS[::-1], ["rag"], kb_version=7)
    assert backwards == make_report(ROWS, ["rag"], kb_version=7)


def test_markdown_shows_every_mode_with_intervals_and_dashes_for_nothing():
    other = {"mode": "closed_book", "recall_at_k": None, "adapter": "cb-v1"}
    right = {"exact_match": 1.0, "token_f1": 1.0}
    closed = [r.model_copy(update=other | right) for r in ROWS]
    text = markdown(make_report([*ROWS, *closed], ["closed_book", "rag"], kb_version=7))
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert table[1].startswith("| closed_book | cb-v1 | 1.000 (1.00 to 1.00) | 1.000")
    assert "(1.00 to 1.00) | - | 0.667 (" in table[1]
    assert table[2].startswith("| rag | - | 0.500 (")
    assert any(line.startswith("| stable | ") for line in table)
    assert any(line.startswith("| closed_book - rag | +") for line in table)


def test_rows_read_back_from_arrow():
    rows = [*ROWS, row(9, adapter="a-v2", kb_version=None)]
    assert [EvalRow.model_validate(values) for values in rows_table(rows).to_pylist()] == rows
