"""Continuous batching: rows join and leave between steps, and write what they write alone."""

from pathlib import Path
from typing import Any

import pytest

from rayraft.errors import InputError
from rayraft.models.generation import Generated
from rayraft.models.row_batch import RowBatch, Writing
from rayraft.models.text import TextModel
from rayraft.writing import Row, RowLimits
from tests.ray.test_mixed_adapters import NAMES, asked, opened
from tests.ray.tiny_models import save_causal

LIMITS = RowLimits(rows=4, cache_tokens=200, prefill_tokens=4)


def opened_rows(model: TextModel, limits: RowLimits = LIMITS) -> RowBatch:
    rows = model.open_rows(limits)
    assert rows is not None
    return rows


def run(rows: RowBatch, asked_for: list[Row], every: int = 3) -> list[Generated]:
    """The outputs in order; a row comes every few steps, if there is room."""
    writings = [rows.prepare(row) for row in asked_for]
    waiting, step = list(writings), 0
    ended: dict[Writing, Any] = {}
    while len(ended) < len(writings):
        if waiting and step % every == 0 and rows.join(waiting[0]):
            waiting.pop(0)
        for writing, output in rows.step():
            ended[writing] = output
        step += 1
        assert rows.held_tokens <= LIMITS.cache_tokens
        assert step < 1000
    outputs = [ended[writing] for writing in writings]
    assert all(isinstance(output, Generated) for output in outputs)
    return outputs


@pytest.mark.parametrize("options", [{}, {"use_dora": True}])
def test_rows_that_come_and_go_write_what_they_write_alone(
    options: dict[str, Any], tmp_path: Path
) -> None:
    model = opened("causal", tmp_path, **options)
    prompts, counts = asked("causal"), [24, 9, 17, 1, 30, 12]
    alone = [
        model.generate([p], adapter=name, max_new_tokens=count)[0]
        for p, name, count in zip(prompts, NAMES, counts, strict=True)
    ]
    pieces: list[list[str]] = [[] for _ in prompts]
    asked_for = [
        Row(p, count, pieces[i].append, adapter=name)
        for i, (p, name, count) in enumerate(zip(prompts, NAMES, counts, strict=True))
    ]
    rows = opened_rows(model)
    outputs = run(rows, asked_for)
    assert outputs == alone
    sure = [output.mean_logprob for output in alone]
    assert [output.mean_logprob for output in outputs] == pytest.approx(sure, abs=1e-3)
    assert ["".join(each) for each in pieces] == [output.text for output in alone]
    assert max(map(len, pieces)) > 5, "they came while it was written"
    assert rows.empty and rows.held_tokens == 0
    assert model.generate(prompts[:1], adapter=NAMES[0], max_new_tokens=24) == alone[:1]


@pytest.fixture
def model(tmp_path: Path) -> TextModel:
    save_causal(tmp_path / "base")
    return TextModel.load(str(tmp_path / "base"), device="cpu", dtype="float32")


def test_a_row_that_nobody_wants_gives_its_memory_back_and_the_others_go_on(
    model: TextModel,
) -> None:
    left: list[str] = []
    prompts = asked("causal")
    rows = opened_rows(model)
    leaving = rows.prepare(Row(prompts[1], 90, left.append, lambda: len(left) < 5))
    staying = rows.prepare(Row(prompts[0], 20))
    assert rows.join(leaving) and rows.join(staying)
    ended: dict[Writing, Any] = {}
    held = 0
    while leaving not in ended:
        held = rows.held_tokens
        ended |= dict(rows.step())
    assert ended[leaving].completion_tokens < 12
    assert held == 2 * leaving.room and staying not in ended
    ended |= dict(rows.step())
    while staying not in ended:
        assert rows.held_tokens <= staying.room
        ended |= dict(rows.step())
    assert ended[staying] == model.generate(prompts[:1], max_new_tokens=20)[0]
    assert rows.empty


def test_memory_is_bounded_and_a_row_waits_until_it_fits(model: TextModel) -> None:
    prompts = asked("causal")
    rows = opened_rows(model)
    with pytest.raises(InputError, match="exceed the 99 of cache_tokens"):
        opened_rows(model, RowLimits(cache_tokens=99)).prepare(Row(prompts[1], 90))
    first, second, third = (rows.prepare(Row(prompts[1], 90)) for _ in range(3))
    assert first.room == 100
    assert rows.join(first) and rows.join(second) and not rows.join(third)
    while not (ended := rows.step()):
        pass
    assert ended[0][0] is first
    assert rows.join(third)


def test_no_more_rows_than_allowed_join(model: TextModel) -> None:
    rows = opened_rows(model, RowLimits(rows=2, cache_tokens=10_000))
    joined = [rows.join(rows.prepare(Row(p, 4))) for p in asked("causal")[:3]]
    assert joined == [True, True, False]


def test_a_prompt_that_fails_fails_alone(model: TextModel) -> None:
    rows = opened_rows(model)
    good = rows.prepare(Row(asked("causal")[0], 6))
    bad = rows.prepare(Row(asked("causal")[1], 6, adapter="gone-v1"))
    assert rows.join(bad) and rows.join(good)
    ended: dict[Writing, Any] = {}
    while len(ended) < 2:
        ended |= dict(rows.step())
    assert "gone-v1" in str(ended[bad])
    assert ended[good] == model.generate(asked("causal")[:1], max_new_tokens=6)[0]


def test_models_that_cannot_are_found_out(tmp_path: Path) -> None:
    """A window of attention, and a model that reads the prompt with an encoder."""
    from transformers import MistralConfig, MistralForCausalLM

    from tests.ray.tiny_models import WORDS, tokenizer

    config = MistralConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=8,
        eos_token_id=1,
        pad_token_id=0,
    )
    MistralForCausalLM(config).save_pretrained(tmp_path / "window")
    tokenizer().save_pretrained(tmp_path / "window")
    window = TextModel.load(str(tmp_path / "window"), device="cpu", dtype="float32")
    assert window.open_rows(LIMITS) is None
    assert opened("seq2seq", tmp_path).open_rows(LIMITS) is None
