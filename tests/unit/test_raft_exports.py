"""RAFT examples in other trainers' forms, and their card."""

import io
import json
from typing import Any

import pyarrow.parquet as pq
import pytest

from data_pipelines.raft_card import SAMPLES, data_card
from data_pipelines.raft_examples import RaftConfig
from data_pipelines.raft_exports import FORMATS, export
from rayraft.errors import InputError
from rayraft.prompts import ABSTAIN, answer_messages, completion, parse_answer
from rayraft.records import Passage, RaftExample


def passage(chunk: str) -> Passage:
    document = chunk.partition("#")[0]
    text = f"In {chunk} the fee is 7.\nIt stays."
    return Passage(chunk_id=chunk, document_id=document, title=f"T {document}", text=text)


def example(number: int, has_golden: bool = True, memory: bool = False) -> RaftExample:
    golden, other = passage(f"d{number}#0"), passage(f"x{number}#1")
    quote = "In d0#0 the fee is 7." if has_golden else ""
    answer = "7" if has_golden or memory else ""
    return RaftExample(
        example_id=f"e{number}",
        chunk_id=golden.chunk_id,
        document_id=golden.document_id,
        question=f"What is the fee in d{number}?",
        passages=[other, golden] if has_golden else [other],
        golden_ids=[golden.chunk_id],
        has_golden=has_golden,
        quote=quote,
        answer="7",
        completion=completion(quote, answer),
        split="validation" if number % 4 == 0 else "train",
    )


EXAMPLES = [example(0), example(1, has_golden=False), example(2, has_golden=False, memory=True)]


def rows(form: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in export(EXAMPLES, form, parquet=False).splitlines()]


def test_messages_are_the_prompts_that_training_and_serving_use():
    for row, source in zip(rows("messages"), EXAMPLES, strict=True):
        *prompt, answer = row["messages"]
        assert prompt == answer_messages(source.question, source.passages)
        assert answer == {"role": "assistant", "content": source.completion}
    for row, chat in zip(rows("prompt-completion"), rows("messages"), strict=True):
        assert row["prompt"] + row["completion"] == chat["messages"]


def test_gorillas_rows_have_its_columns_and_its_answer_marker():
    whole = rows("gorilla-hf")
    columns = "id type question context oracle_context cot_answer instruction"
    assert all(list(row) == columns.split() for row in whole)
    first, abstained, remembered = whole
    assert first["oracle_context"] == EXAMPLES[0].passages[1].text
    assert first["context"]["sentences"] == [[p.text for p in EXAMPLES[0].passages]]
    assert first["instruction"].split("\n")[-1] == EXAMPLES[0].question
    assert (
        first["instruction"].count("<DOCUMENT>") == first["instruction"].count("</DOCUMENT>") == 2
    )
    assert parse_answer(first["cot_answer"]).quotes == ["In d0#0 the fee is 7."]
    assert (abstained["oracle_context"], remembered["oracle_context"]) == (None, None)
    answers = [row["gold_final_answer"] for row in rows("gorilla-eval")]
    assert answers == ["7", ABSTAIN, "7"]
    for row, eval_row in zip(whole, rows("gorilla-eval"), strict=True):
        # How that project takes its own rows apart.
        assert row["cot_answer"].split("<ANSWER>: ")[-1] == eval_row["gold_final_answer"]
        assert "\n".join(row["instruction"].split("\n")[:-1]) == eval_row["context"]
    for row, pair in zip(whole, rows("gorilla-completion"), strict=True):
        assert pair == {"prompt": row["instruction"], "completion": row["cot_answer"]}
    for pair, chat in zip(rows("gorilla-completion"), rows("gorilla-chat"), strict=True):
        assert [m["content"] for m in chat["messages"]] == [pair["prompt"], pair["completion"]]


@pytest.mark.parametrize("form", FORMATS)
def test_parquet_holds_what_the_lines_hold(form: str):
    table = pq.read_table(io.BytesIO(export(EXAMPLES, form, parquet=True)))
    if form == "parquet":
        assert [RaftExample.model_validate(row) for row in table.to_pylist()] == EXAMPLES
    else:
        assert table.to_pylist() == rows(form)


def test_an_unknown_format_is_named():
    with pytest.raises(InputError, match=r"'csv'.*gorilla-hf"):
        export(EXAMPLES, "csv", parquet=False)


def test_the_card_counts_and_shows_samples_that_nobody_picked():
    many = [example(i, has_golden=i % 5 != 0) for i in range(40)]
    counts = {
        "teacher": "mini",
        "chunks": 50,
        "kb_version": 3,
        "restricted_chunks": 2,
        "short_of_distractors": 8,
        "dropped": {"quote_not_verbatim": 4},
    }
    card = data_card("run", counts, many, RaftConfig(distractors=1))
    assert "32 of 40 examples (80.0%)" in card and "| examples | 30 | 10 |" in card
    assert "1 to 2 passages" in card and "| quote_not_verbatim | 4 |" in card
    shown = [one for one in many if f"**{one.question}**" in card]
    assert len(shown) == SAMPLES and card.count("(golden)") == sum(e.has_golden for e in shown)
    again = data_card("run", counts, many[::-1], RaftConfig(distractors=1))
    assert again == card
