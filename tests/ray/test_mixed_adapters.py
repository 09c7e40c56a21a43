"""Rows of different adapters in one batch are answered as one at a time, token for token."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from rayraft.mini import WEIGHTS
from rayraft.models.rendering import render_prompt
from rayraft.models.text import TextModel
from rayraft.prompts import Message, answer_messages
from rayraft.records import Passage
from rayraft.writing import Row
from tests.ray.test_text_model import PROMPTS, published
from tests.ray.tiny_models import save_causal, save_seq2seq

NAMES = ["a-v1", None, "b-v1", "b-v1", "a-v1", None]


def passages(count: int) -> list[Passage]:
    """Of unequal length, so that rows and segments have padding."""
    return [
        Passage(
            chunk_id=f"{n}",
            document_id=f"{n}",
            title=f"Rule {n}",
            text=f"Fee {n} is {n} EUR. " + "It is paid at the desk on the day of arrival. " * n,
        )
        for n in range(count)
    ]


def asked(kind: str) -> list[list[Message]]:
    if kind == "mini":
        return [answer_messages(f"How much is fee {n % 3}?", passages(1 + n % 4)) for n in range(6)]
    return [*PROMPTS, *PROMPTS]


def opened(kind: str, tmp_path: Path, **options: Any) -> TextModel:
    """A model with adapters a-v1 (with `options`) and b-v1."""
    base = WEIGHTS if kind == "mini" else tmp_path / "base"
    if kind != "mini":
        (save_seq2seq if kind == "seq2seq" else save_causal)(base)
    model = TextModel.load("mini" if kind == "mini" else str(base), device="cpu", dtype="float32")
    family = "causal" if kind == "causal" else "seq2seq"
    # Trained weights under large random ones are chaos, in which rounding decides.
    scale = 1 if kind == "mini" else 5
    for seed, (name, its) in enumerate((("a-v1", options), ("b-v1", {}))):
        adapter = published(
            tmp_path / name, family, base, seed, tmp_path / "store", scale=scale, **its
        )
        model.load_adapter(name, adapter)
    return model


def passes_of(model: TextModel) -> list[int]:
    """Grows by the rows of every pass through the part that writes."""
    part = model._model.decoder if model.is_encoder_decoder else model._model.model
    sizes: list[int] = []

    def note(_: Any, args: Any, kwargs: Any) -> None:
        ids = args[0] if args else kwargs["input_ids"]
        sizes.append(len(ids))

    part.register_forward_pre_hook(note, with_kwargs=True)
    return sizes


@pytest.mark.parametrize("kind", ["seq2seq", "causal", "mini"])
def test_a_mixed_batch_answers_each_row_with_its_own_adapter(kind: str, tmp_path: Path) -> None:
    model = opened(kind, tmp_path)
    prompts, sizes = asked(kind), passes_of(model)
    model._reads = None  # word by word
    alone = [
        model.generate([prompt], adapter=name, max_new_tokens=16)[0]
        for prompt, name in zip(prompts, NAMES, strict=True)
    ]
    for name in ("a-v1", "b-v1"):
        others = {str(model.generate(prompts, adapter=n, max_new_tokens=16)) for n in (name, None)}
        assert len(others) == 2, "else the adapter shows nothing"
    sizes.clear()
    pieces: list[list[str]] = [[] for _ in prompts]
    rows = [
        Row(prompt, 16, pieces[i].append, adapter=name)
        for i, (prompt, name) in enumerate(zip(prompts, NAMES, strict=True))
    ]
    assert model.generate_rows(rows) == alone
    assert ["".join(each) for each in pieces] == [output.text for output in alone]
    assert set(sizes) == {len(rows)}, "all rows in every pass"
    assert model.generate(prompts[:1], max_new_tokens=16) == [
        model.generate(prompts, max_new_tokens=16)[0]
    ], "nothing of it stays"


def test_rows_that_are_read_by_spans_have_their_own_adapters(tmp_path: Path) -> None:
    model, prompts = opened("mini", tmp_path), asked("mini")
    alone = [
        model.generate([prompt], adapter=name)[0]
        for prompt, name in zip(prompts, NAMES, strict=True)
    ]
    rows = [Row(prompt, adapter=name) for prompt, name in zip(prompts, NAMES, strict=True)]
    assert model.generate_rows(rows) == alone
    sure = [output.mean_logprob for output in alone]
    assert sure != [output.mean_logprob for output in model.generate(prompts)]


def test_a_reading_thread_gets_what_peft_gives_an_active_adapter(tmp_path: Path) -> None:
    model = opened("mini", tmp_path)
    adapters, encoder = model._adapters, model._model.encoder
    ids = torch.tensor([render_prompt(model._codec.tokenizer, asked("mini")[2], True)])

    def states() -> torch.Tensor:
        with torch.inference_mode():
            return torch.clone(encoder(ids).last_hidden_state)

    seen = []
    for name in ("a-v1", None, "b-v1"):
        with adapters.used_here(name):
            ours = states()
        adapters.use(name)
        seen.append(states())
        torch.testing.assert_close(ours, seen[-1])
    assert all(not torch.allclose(a, b) for a, b in itertools.combinations(seen, 2))


@pytest.mark.parametrize("option", [{"use_dora": True}, {"modules_to_save": ["lm_head"]}])
def test_an_adapter_that_cannot_be_mixed_is_written_apart(
    option: dict[str, Any], tmp_path: Path
) -> None:
    if "modules_to_save" in option:
        option = {**option, "target_modules": ["q_proj", "v_proj"]}
    model = opened("causal", tmp_path, **option)
    assert [model.shares_batches(name) for name in ("a-v1", "b-v1", None, "gone-v1")] == [
        False,
        True,
        True,
        False,
    ]
    prompts, sizes = asked("causal"), passes_of(model)
    alone = [
        model.generate([prompt], adapter=name, max_new_tokens=16)[0]
        for prompt, name in zip(prompts, NAMES, strict=True)
    ]
    sizes.clear()
    rows = [Row(p, 16, adapter=name) for p, name in zip(prompts, NAMES, strict=True)]
    assert model.generate_rows(rows) == alone
    assert set(sizes) == {2, 4}
