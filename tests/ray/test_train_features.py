"""Rows to token ids, and token ids to batches."""

import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from rayraft.config import load
from rayraft.errors import InputError
from rayraft.models.base_config import load_tokenizer
from rayraft.models.rendering import render_prompt
from rayraft.prompts import answer_messages, completion
from rayraft.records import Passage, RaftExample
from tests.ray.tiny_models import copying_rows, save_causal, save_seq2seq
from train.config import TrainConfig
from train.features import FEATURES, IGNORED, Row, encode_row, encode_rows, rows_from_example
from train.rows import EncodedRows

END = 1


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {
        "seq2seq": save_seq2seq(tmp_path_factory.mktemp("t5")),
        "causal": save_causal(tmp_path_factory.mktemp("llama")),
    }


def settings(base: str, *overrides: str) -> TrainConfig:
    return load(TrainConfig, None, [f"base_model={base}", *overrides])


def passage(name: str, words: int = 3) -> Passage:
    text = " ".join([name] * words)
    return Passage(chunk_id=name, document_id=name, title=name, text=text)


def example(shown: list[str], golden: str, answer: str = "w5", words: int = 3) -> RaftExample:
    return RaftExample(
        example_id="e",
        chunk_id=golden,
        document_id="d",
        question="w1 w2",
        passages=[passage(name, words) for name in shown],
        golden_ids=[golden],
        has_golden=golden in shown,
        quote="w5",
        answer=answer,
        completion=completion("w5" if answer else "", answer),
        split="train",
    )


def test_raft_rows_show_the_passages_and_sft_rows_show_none() -> None:
    shown = example(["w6", "w7"], golden="w7")
    (raft,) = rows_from_example(shown, "raft")
    assert raft["messages"] == answer_messages("w1 w2", shown.passages)
    assert raft["completion"] == shown.completion
    (sft,) = rows_from_example(shown, "sft")
    assert sft["messages"] == answer_messages("w1 w2", [])
    assert sft["completion"] == completion("", "w5")
    assert list(rows_from_example(shown, "mixed")) == [raft, sft]


def test_an_abstaining_example_is_nothing_to_learn_by_heart() -> None:
    assert list(rows_from_example(example(["w6"], "w7", answer=""), "sft")) == []
    assert len(list(rows_from_example(example(["w6"], "w7", answer=""), "mixed"))) == 1


def test_last_distractors_go_first_and_the_golden_passage_stays() -> None:
    shown = example(["w6", "w7", "w8"], golden="w8")
    (row,) = rows_from_example(shown, "raft")
    p6, _, p8 = shown.passages
    expected = [answer_messages("w1 w2", kept) for kept in ([p6, p8], [p8])]
    assert row["alternatives"] == expected


def test_a_long_prompt_loses_passages_but_never_its_answer(bases: dict[str, str]) -> None:
    tokenizer = load_tokenizer(bases["seq2seq"])
    (row,) = rows_from_example(example(["w6", "w7", "w8"], golden="w7", words=30), "raft")
    lengths = [
        len(render_prompt(tokenizer, messages, True))
        for messages in (row["messages"], *row["alternatives"])
    ]
    assert lengths == sorted(lengths, reverse=True)
    for limit, expected in ((lengths[0], lengths[0]), (lengths[0] - 1, lengths[1])):
        config = settings(bases["seq2seq"], f"max_prompt_tokens={limit}")
        features = encode_row(row, tokenizer, False, config)
        assert features is not None
        assert len(features["input_ids"]) == expected
        assert features["labels"][-1] == END
    too_short = settings(bases["seq2seq"], f"max_prompt_tokens={lengths[-1] - 1}")
    assert encode_row(row, tokenizer, False, too_short) is None


def test_seq2seq_labels_are_the_completion_alone(bases: dict[str, str]) -> None:
    tokenizer = load_tokenizer(bases["seq2seq"])
    row: Row = {"messages": [{"role": "user", "content": "w1 w2"}], "completion": "w3 w4"}
    features = encode_row(row, tokenizer, False, settings(bases["seq2seq"]))
    words = ("w1", "w2", "w3", "w4", "<turn>")
    w1, w2, w3, w4, turn = (tokenizer.convert_tokens_to_ids(word) for word in words)
    assert features == {"input_ids": [turn, w1, w2, END], "labels": [w3, w4, END]}


def test_causal_prompts_are_not_supervised(bases: dict[str, str]) -> None:
    tokenizer = load_tokenizer(bases["causal"])
    row: Row = {"messages": [{"role": "user", "content": "w1 w2"}], "completion": "w3 w4"}
    features = encode_row(row, tokenizer, True, settings(bases["causal"]))
    words = ("w1", "w2", "w3", "w4", "<turn>")
    w1, w2, w3, w4, turn = (tokenizer.convert_tokens_to_ids(word) for word in words)
    assert features == {
        "input_ids": [turn, w1, w2, turn, w3, w4, END],
        "labels": [IGNORED] * 4 + [w3, w4, END],
    }


def test_a_row_with_nothing_to_learn_is_an_error(bases: dict[str, str]) -> None:
    tokenizer = load_tokenizer(bases["seq2seq"])
    row: Row = {"messages": [{"role": "user", "content": "w1"}], "completion": " "}
    with pytest.raises(InputError, match="empty completion after 'w1'"):
        encode_row(row, tokenizer, False, settings(bases["seq2seq"]))
    unsupervised = pa.table(
        {"input_ids": [[1, 2]], "labels": [[IGNORED, IGNORED]]}, schema=FEATURES
    )
    with pytest.raises(InputError, match="row 0: no supervised token"):
        EncodedRows([unsupervised], 0, causal=True)
    with pytest.raises(InputError, match="none left"):
        EncodedRows([FEATURES.empty_table()], 0, causal=True)


@pytest.mark.parametrize("kind", ["seq2seq", "causal"])
def test_batches_hold_the_rows_and_padding_that_counts_for_nothing(
    bases: dict[str, str], kind: str
) -> None:
    config = settings(bases[kind])
    table = pa.Table.from_pylist([dict(row) for row in copying_rows(20)])
    features = encode_rows(table, config=config.model_dump())
    halves = pa.concat_tables([features.slice(0, 7), features.slice(7)])  # chunks with offsets
    rows = EncodedRows([halves], 0, causal=kind == "causal")
    picked = np.array([3, 11, 0])
    batch = rows.batch(picked)
    for line, index in enumerate(picked):
        expected = features.slice(index, 1).to_pylist()[0]
        real = batch["attention_mask"][line] == 1
        assert batch["input_ids"][line][real].tolist() == expected["input_ids"]
        assert set(batch["input_ids"][line][~real].tolist()) <= {0}
        labels = batch["labels"][line]
        assert labels[labels != IGNORED].tolist() == [t for t in expected["labels"] if t != IGNORED]
        assert rows.lengths.supervised[index] == (labels != IGNORED).sum()
    one_by_one = [halves.slice(0, 7), FEATURES.empty_table(), halves.slice(7)]
    for tables in ([features], one_by_one):
        assert rows.digest() == EncodedRows(tables, 0, causal=kind == "causal").digest()


def test_rows_are_read_table_by_table_and_stand_in_a_file_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    size, n_tables = 200_000, 20

    def tables() -> Iterator[pa.Table]:
        for number in range(n_tables):
            ids = np.full(size, number, np.int32)
            column = pa.ListArray.from_arrays(np.array([0, size // 2, size], np.int32), ids)
            yield pa.table({"input_ids": column, "labels": column}, schema=FEATURES)

    tracemalloc.start()
    rows = EncodedRows(tables(), 0, causal=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(rows) == 2 * n_tables
    # Some tables' worth (with the count of what is supervised), not the whole set.
    assert peak < n_tables * size * 4 * 2 / 3
    assert list(tmp_path.iterdir()) == []
    assert rows.batch(np.array([39]))["input_ids"].tolist() == [[19] * (size // 2)]


def test_digest_changes_with_any_token(bases: dict[str, str]) -> None:
    table = pa.table({"input_ids": [[5, 6], [7]], "labels": [[8], [9]]}, schema=FEATURES)
    other = pa.table({"input_ids": [[5], [6, 7]], "labels": [[8], [9]]}, schema=FEATURES)
    assert EncodedRows([table], 0, False).digest() != EncodedRows([other], 0, False).digest()


def test_the_shipped_tokenizer_is_rendered_once(tmp_path: Path) -> None:
    tokenizer = load_tokenizer("mini")
    ids = render_prompt(tokenizer, answer_messages("Who?", []), True)
    assert ids.count(tokenizer.sep_token_id) == 1
    assert ids[-1] == tokenizer.sep_token_id
