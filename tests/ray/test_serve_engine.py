"""Batching and the engine, with fake models."""

import asyncio
import threading
import time
from dataclasses import dataclass

import pytest

from rayraft.errors import InputError
from rayraft.protocols import GenerateRequest
from serve.batching import Batcher
from serve.engine import TextEngine


def run_batches(calls, max_batch_size=4, run=None):
    """(batches as run, results) of concurrent `calls` of (key, item)."""
    batches = []

    async def default(key, items):
        batches.append((key, list(items)))
        await asyncio.sleep(0.01)
        return [item * 10 for item in items]

    async def go():
        batcher = Batcher(run or default, max_batch_size)
        return await asyncio.gather(
            *(batcher.submit(key, item) for key, item in calls), return_exceptions=True
        )

    return batches, asyncio.run(go())


def test_concurrent_calls_share_a_batch_and_get_their_own_result():
    batches, results = run_batches([("a", n) for n in range(4)])
    assert batches == [("a", [0, 1, 2, 3])]
    assert results == [0, 10, 20, 30]


def test_batches_never_mix_keys_nor_exceed_the_size():
    calls = [("a" if n % 2 else "b", n) for n in range(12)]
    batches, results = run_batches(calls, max_batch_size=3)
    assert results == [n * 10 for _, n in calls]
    assert all(len(items) <= 3 for _, items in batches)
    assert all({("a" if n % 2 else "b") for n in items} == {key} for key, items in batches)
    assert len(batches) == 4


def test_a_failed_batch_fails_its_callers_and_nobody_else():
    async def run(key, items):
        if key == "bad":
            raise InputError("no")
        return items

    _, results = run_batches([("bad", 1), ("good", 2), ("bad", 3)], run=run)
    assert isinstance(results[0], InputError) and isinstance(results[2], InputError)
    assert results[1] == 2


def test_a_caller_that_went_away_costs_no_work():
    ran = []

    async def run(key, items):
        ran.extend(items)
        await asyncio.sleep(0.02)
        return items

    async def go():
        batcher = Batcher(run, 1)
        first = asyncio.create_task(batcher.submit("a", 1))
        left = asyncio.create_task(batcher.submit("a", 2))
        last = asyncio.create_task(batcher.submit("a", 3))
        await asyncio.sleep(0.005)
        left.cancel()
        return await first, await last

    assert asyncio.run(go()) == (1, 3)
    assert ran == [1, 3]


@dataclass
class Output:
    text: str
    prompt_tokens: int = 1
    completion_tokens: int = 1


class FakeModel:
    base_digest = "fake"

    def __init__(self):
        self.batches, self.adapters, self.threads, self.pieces_given = [], [], set(), 0
        self.fails = False

    def load_adapter(self, name, path):
        self.adapters.append(name)

    def unload_adapter(self, name):
        self.adapters.remove(name)

    def generate(self, prompts, *, adapter=None, max_new_tokens=96):
        self.threads.add(threading.current_thread().name)
        self.batches.append((len(prompts), adapter))
        time.sleep(0.02)
        if self.fails:
            raise RuntimeError("device lost")
        return [Output(f"{adapter}:{prompt[0]['content']}") for prompt in prompts]

    def stream(self, prompt, *, adapter=None, max_new_tokens=96):
        for number in range(max_new_tokens):
            self.pieces_given += 1
            time.sleep(0.002)
            if self.fails:
                raise RuntimeError("device lost")
            yield f"{number} "
        yield Output("", prompt_tokens=7, completion_tokens=max_new_tokens)


def with_engine(use, **options):
    model = FakeModel()

    async def go():
        engine = TextEngine(model, lambda m, name: m.load_adapter(name, None), **options)
        try:
            return await use(engine)
        finally:
            engine.close()

    return model, asyncio.run(go())


def ask(text="hi", adapter=None, max_new_tokens=8):
    return GenerateRequest.of([{"role": "user", "content": text}], adapter, max_new_tokens)


def test_engine_batches_what_waits_and_keeps_adapters_apart():
    async def use(engine):
        calls = [engine.generate(ask(str(n), "x-v1" if n % 2 else None)) for n in range(8)]
        return [piece.text for piece in await asyncio.gather(*calls)]

    model, texts = with_engine(use)
    assert texts == [f"{'x-v1' if n % 2 else None}:{n}" for n in range(8)]
    assert sorted(model.batches, key=str) == [(4, "x-v1"), (4, None)] or len(model.batches) <= 3
    assert len(model.threads) == 1


def test_engine_keeps_the_adapters_used_last():
    async def use(engine):
        for adapter in ("a-v1", "b-v1", "a-v1", "c-v1", None):
            await engine.generate(ask("hi", adapter))

    model, _ = with_engine(use, max_loaded_adapters=2)
    assert model.adapters == ["a-v1", "c-v1"]


def test_a_stream_ends_with_the_token_counts():
    async def use(engine):
        return [piece async for piece in engine.stream(ask(max_new_tokens=3))]

    _, pieces = with_engine(use)
    assert "".join(piece.text for piece in pieces) == "0 1 2 "
    assert (pieces[-1].prompt_tokens, pieces[-1].completion_tokens) == (7, 3)


def test_leaving_a_stream_stops_the_model():
    async def use(engine):
        stream = engine.stream(ask(max_new_tokens=1000))
        async for piece in stream:
            assert piece.text == "0 "
            break
        await stream.aclose()
        await engine.generate(ask(max_new_tokens=1))  # the thread is free again
        return True

    model, _ = with_engine(use)
    assert model.pieces_given < 50


def test_stream_raises_what_the_model_raised():
    async def use(engine):
        engine._model.fails = True
        with pytest.raises(RuntimeError, match="device lost"):
            async for _ in engine.stream(ask(max_new_tokens=3)):
                pass
        with pytest.raises(RuntimeError, match="device lost"):
            await engine.check()
        engine._model.fails = False
        await engine.check()

    with_engine(use)
