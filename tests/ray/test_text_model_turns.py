"""Threads that generate with one model at the same time, each with its own adapter."""

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rayraft.models.base_config import load_tokenizer
from rayraft.models.rendering import render_completion, render_places, render_prompt
from rayraft.models.text import TextModel
from rayraft.models.turns import Turns
from rayraft.protocols import View
from rayraft.writing import Row
from tests.ray.test_mixed_adapters import asked, opened
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
        for number, thread in enumerate(threads, start=1):
            thread.start()
            while len(turns._waiting) != number:
                time.sleep(0.001)
    for thread in threads:
        thread.join(10)
    assert seen == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_a_turn_is_shared_by_those_of_a_kind_until_another_waits() -> None:
    turns, seen = Turns(), list[str]()
    begun, done = threading.Semaphore(0), threading.Event()

    def share(kind: str | None) -> None:
        with turns.shared(kind):
            seen.append(str(kind))
            begun.release()
            done.wait(10)

    def alone() -> None:
        with turns:
            seen.append("alone")

    with ThreadPoolExecutor(5) as threads:
        for kind in (None, None):  # the base model's: a kind like any other
            threads.submit(share, kind)
            assert begun.acquire(timeout=10)
        # Each waits for its turn; the last one, of the kind that holds, does not overtake them.
        for number, start in enumerate((alone, lambda: share("a"), lambda: share(None)), start=1):
            threads.submit(start)
            while len(turns._waiting) != number:
                time.sleep(0.001)
        assert seen == ["None", "None"]
        done.set()
    assert seen == ["None", "None", "alone", "a", "None"]


@pytest.mark.parametrize("dora", [False, True])  # which PEFT cannot tell apart by row
def test_what_is_read_at_the_same_time_is_what_is_read_alone(dora: bool, tmp_path: Path) -> None:
    model = opened("mini", tmp_path, use_dora=dora)
    assert model.shares_batches("a-v1") is not dora and model.shares_batches("b-v1")
    model._reads.threads = 3  # type: ignore[union-attr]
    names = ("a-v1", None, "b-v1")
    asks = [Row(prompt, 96, adapter=name) for name in names for prompt in asked("mini") * 2]
    rows = [row for row in asks if model.read(row)]  # random adapters may know some by heart
    assert len({row.adapter for row in rows}) > 1
    alone = [model.generate_rows([row])[0] for row in rows]
    assert len({each.text for each in alone}) > 2
    model._write = None  # type: ignore[assignment]  # nothing is written
    assert model.generate_rows(rows) == alone
    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(model.read, rows)) == alone
    assert model.reads_at_once > 0


def test_threads_that_share_a_tokenizer_encode_as_one_alone() -> None:
    tokenizer = load_tokenizer("mini")
    prompts = asked("mini")
    uses: list[Callable[[int], object]] = [
        lambda n: render_prompt(tokenizer, prompts[n % 6], is_encoder_decoder=True),
        lambda n: render_places(tokenizer, prompts[n % 6]),
        lambda n: render_completion(tokenizer, f"[SEP] fee {n % 6}"),
    ]
    alone = [[use(n) for n in range(6)] for use in uses]
    assert [alone[1][n][1] for n in range(6)] == alone[0]  # type: ignore[index]
    with ThreadPoolExecutor(6) as threads:
        made = threads.map(lambda n: (n, uses[n % 3](n // 3)), range(3000))
        assert all(made_by == alone[n % 3][n // 3 % 6] for n, made_by in made)


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
