"""Causal rows side by side in one sequence, and logits of answer tokens alone."""

from typing import Any

import numpy as np
import pytest
import torch

from rayraft.errors import ConfigError
from rayraft.models.base import load_base
from tests.ray.loop_harness import encoded, settings
from tests.ray.tiny_models import save_causal, save_seq2seq
from train.answer_loss import answer_loss, keeps_logits
from train.features import IGNORED
from train.modeling import prepare_model


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_causal(tmp_path_factory.mktemp("llama"))


def loaded(base: str, *overrides: str) -> tuple[Any, Any]:
    """The model in fp32 and its rows."""
    config = settings(base, *overrides)
    return prepare_model(load_base(base, "fp32"), config).eval(), encoded(config)


def tensors(batch: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in batch.items()}


def test_packed_rows_have_the_loss_and_the_gradient_of_padded_ones(base: str) -> None:
    rows = np.array([3, 17, 8, 30, 5])
    found = []
    for packing in ("true", "false"):
        model, data = loaded(base, f"packing={packing}")
        loss = answer_loss(model, tensors(data.batch(rows)))
        loss.backward()
        found.append((loss.item(), [p.grad for p in model.parameters() if p.grad is not None]))
    (packed, ours), (padded, theirs) = found
    assert packed == pytest.approx(padded, abs=1e-5)
    assert len(ours) == len(theirs) > 5
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_a_row_sees_nothing_of_the_row_before_it(base: str) -> None:
    model, data = loaded(base, "packing=true")
    second = data.batch(np.array([7]))["input_ids"].shape[1]
    logits = []
    for first in (2, 11):
        batch = tensors(data.batch(np.array([first, 7])))
        del batch["labels"]
        with torch.no_grad():
            logits.append(model(**batch, use_cache=False).logits[0, -second:])
    assert torch.allclose(logits[0], logits[1], atol=1e-6)
    # What the rows before would change if they were seen: the test can fail.
    one, other = (torch.from_numpy(data.batch(np.array([f, 7]))["input_ids"]) for f in (2, 11))
    with torch.no_grad():
        seen = [model(ids, use_cache=False).logits[0, -second:] for ids in (one, other)]
    assert not torch.allclose(seen[0], seen[1], atol=1e-3)


def test_the_loss_is_the_models_own_without_the_logits_of_the_prompt(base: str) -> None:
    model, data = loaded(base)
    batch = tensors(data.batch(np.arange(6)))
    widths: list[int] = []
    head = model.get_output_embeddings()
    handle = head.register_forward_hook(lambda _m, _i, out: widths.append(out.numel() // 64))
    loss = answer_loss(model, batch)
    handle.remove()
    assert loss.item() == pytest.approx(model(**batch).loss.item(), abs=1e-5)
    assert widths == [int((batch["labels"][:, 1:] != IGNORED).sum())]
    assert widths[0] < batch["labels"].numel() / 2


def test_rows_of_an_encoder_are_not_packed(tmp_path_factory: pytest.TempPathFactory) -> None:
    seq2seq = save_seq2seq(tmp_path_factory.mktemp("t5"))
    with pytest.raises(ConfigError, match="packing=True"):
        encoded(settings(seq2seq, "packing=true"))
    assert not keeps_logits(load_base(seq2seq, "fp32").model)
