"""Threads that generate with one model at the same time, each with its own adapter."""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rayraft.models.text import TextModel
from rayraft.models.turns import Turns
from rayraft.protocols import View
from rayraft.writing import Row
from tests.ray.test_text_model import KINDS, PROMPTS, published
from tests.ray.tiny_models import save_causal, save_seq2seq


def test_holders_let_those_who_wait_go_first_in_order() -> None:
    turns = Turns()
    seen: list[str] = []

    def one(name: str) -> None:
        with turns:
            for step in range(3):
                seen.append(f"{name}{step}")
                turns.pass_on()

    with turns:
        assert not turns.pass_on(), "nobody waits"
        threads = [threading.Thread(target=one, args=(name,)) for name in "ab"]
        for number, thread in enumerate(threads, start=2):
            thread.start()
            while turns._next != number:
                time.sleep(0.001)
    for thread in threads:
        thread.join(10)
    assert seen == ["a0", "b0", "a1", "b1", "a2", "b2"]


@pytest.mark.parametrize("kind", KINDS)
def test_answers_of_different_adapters_side_by_side_are_those_of_one_at_a_time(
    kind: str, tmp_path: Path
) -> None:
    (save_seq2seq if kind == "seq2seq" else save_causal)(tmp_path / "base")
    model = TextModel.load(str(tmp_path / "base"), device="cpu", dtype="float32")
    for seed, name in enumerate(["a-v1", "b-v1"]):
        folder = published(tmp_path / name, kind, tmp_path / "base", seed, tmp_path / "store")
        model.load_adapter(name, folder)
    names = ["a-v1", None, "b-v1"]
    alone = {name: model.generate(PROMPTS, adapter=name, max_new_tokens=24) for name in names}
    assert len({str(outputs) for outputs in alone.values()}) == 3
    views = [View(p, n, 0.4) for p, n in zip(PROMPTS, names, strict=True)]
    blended = model.generate_combined(views, "blend", max_new_tokens=24)
    running: list[str | None] = []

    def write(name: str | None) -> object:
        rows = [Row(p, 24, lambda _: running.append(name), adapter=name) for p in PROMPTS]
        return model.generate_rows(rows)

    with ThreadPoolExecutor(4) as threads:
        made = {name: threads.submit(write, name) for name in names}
        mixed = threads.submit(model.generate_combined, views, "blend", max_new_tokens=24)
        spare = published(tmp_path / "c-v1", kind, tmp_path / "base", 7, tmp_path / "store")
        threads.submit(model.load_adapter, "c-v1", spare).result()
    assert {name: future.result() for name, future in made.items()} == alone
    assert mixed.result() == blended
    changes = sum(a != b for a, b in itertools.pairwise(running))
    assert changes > 6, "they took turns: else this shows nothing"
