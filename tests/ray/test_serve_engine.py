"""The engine with a fake model: batches, streams, leaving, time limits, adapters."""

import asyncio
import time
from dataclasses import dataclass, replace

import pytest

from rayraft.errors import DeadlineExceeded, InputError, NotFoundError
from rayraft.prompts import Message
from rayraft.protocols import GenerateRequest, View
from serve.engine import TextEngine


@dataclass
class Output:
    text: str
    prompt_tokens: int = 1
    completion_tokens: int = 1


class FakeModel:
    """Writes a word a step for every row: `adapter:question`, then numbers."""

    base_digest, reads_at_once = "fake", 0

    def __init__(self):
        self.batches, self.adapters, self.steps, self.fails, self.refuses = [], [], [], False, None

    def load_adapter(self, name, path):
        self.adapters.append(name)

    def unload_adapter(self, name):
        self.adapters.remove(name)

    def read(self, row): ...

    def shares_batches(self, adapter):
        return adapter is None or adapter in self.adapters

    def open_rows(self, limits):
        return None

    def generate_rows(self, rows):
        asked = [row.messages[-1]["content"] for row in rows]
        adapters = [row.adapter for row in rows]
        assert all(adapter is None or adapter in self.adapters for adapter in adapters)
        if self.refuses in asked:
            raise InputError(f"{self.refuses} is too long")
        self.batches.append(adapters)
        words: list[list[str]] = [[] for _ in rows]
        ended = [False for _ in rows]
        while not all(ended):
            time.sleep(0.002)
            if self.fails:
                raise RuntimeError("device lost")
            for i, row in enumerate(rows):
                if not ended[i]:
                    self.steps.append(asked[i])
                    words[i].append(
                        f" {len(words[i])}" if words[i] else f"{row.adapter}:{asked[i]}"
                    )
                    ended[i] = len(words[i]) >= row.max_new_tokens or not row.wanted()
                    if row.on_text:
                        row.on_text(words[i][-1])
        return [Output("".join(each), 7, len(each)) for each in words]

    def generate_combined(self, views, combine, *, max_new_tokens=96, wanted=None):
        return Output(f"{combine} of {[view.adapter for view in views]}")


def with_engine(use, provide=lambda m, name: m.load_adapter(name, None), **options):
    model = FakeModel()

    async def go():
        engine = TextEngine(model, provide, **options)
        try:
            return await use(engine)
        finally:
            engine.close()

    return model, asyncio.run(go())


def ask(text="hi", adapter=None, max_new_tokens=1, deadline_at=None):
    messages: list[Message] = [{"role": "user", "content": text}]
    request = GenerateRequest.of(messages, adapter, max_new_tokens)
    return replace(request, deadline_at=deadline_at)


async def streamed(engine, request):
    return [piece async for piece in engine.stream(request)]


def test_adapters_that_are_loaded_share_batches_and_one_that_is_not_keeps_nobody_waiting():
    adapters = ["x-v1" if n % 2 else None for n in range(8)]

    async def use(engine):
        texts = []
        for _ in range(2):
            calls = [engine.generate(ask(str(n), adapter)) for n, adapter in enumerate(adapters)]
            texts += [piece.text for piece in await asyncio.gather(*calls)]
        return texts

    model, texts = with_engine(use)
    assert texts == [f"{adapter}:{n}" for n, adapter in enumerate(adapters)] * 2
    assert sorted(model.batches[:2], key=str) == [["x-v1"] * 4, [None] * 4]
    assert model.batches[2:] == [adapters]


def test_an_adapter_that_does_not_exist_fails_its_own_request_alone():
    async def use(engine):
        engine._model.shares_batches = lambda adapter: True
        calls = [engine.generate(ask("q", adapter)) for adapter in (None, "b-v1", "gone-v1")]
        return await asyncio.gather(*calls, return_exceptions=True)

    def provide(model, name):
        if name == "gone-v1":
            raise NotFoundError("adapter gone-v1: not published")
        model.load_adapter(name, None)

    _, (base, other, gone) = with_engine(use, provide=provide)
    assert (base.text, other.text) == ("None:q", "b-v1:q")
    assert isinstance(gone, NotFoundError)


def test_engine_keeps_the_adapters_used_last():
    async def use(engine):
        for adapter in ("a-v1", "b-v1", "a-v1", "c-v1", None):
            await engine.generate(ask("hi", adapter))

    model, _ = with_engine(use, max_loaded_adapters=2)
    assert model.adapters == ["a-v1", "c-v1"]


def test_an_adapter_in_use_is_not_forgotten():
    async def use(engine):
        long = asyncio.create_task(engine.generate(ask("long", "a-v1", 200)))
        await asyncio.sleep(0.02)
        for adapter in ("b-v1", "c-v1"):
            await engine.generate(ask("hi", adapter))
            assert "a-v1" in engine._model.adapters
        return (await long).text

    model, text = with_engine(use, max_loaded_adapters=1)
    assert text.startswith("a-v1:long 1") and len(model.adapters) == 1


def test_streams_and_whole_answers_share_batches():
    async def use(engine):
        return await asyncio.gather(
            streamed(engine, ask("a", None, 20)),
            streamed(engine, ask("b", None, 20)),
            engine.generate(ask("c", None, 3)),
        )

    model, (a, b, c) = with_engine(use)
    assert model.batches == [[None] * 3]
    assert c.text == "None:c 1 2"
    for name, pieces in (("a", a), ("b", b)):
        assert "".join(p.text for p in pieces).startswith(f"None:{name} 1 2 3")
        assert len(pieces) == 21 and pieces[-1].completion_tokens == 20
    together = model.steps[:20]
    assert abs(together.count("a") - together.count("b")) <= 1, "they progress side by side"


def test_a_request_that_comes_later_does_not_wait_for_the_end_of_a_stream():
    async def use(engine):
        stream = asyncio.create_task(streamed(engine, ask("long", None, 300)))
        await asyncio.sleep(0.02)
        await engine.generate(ask("short", "x-v1", 2))
        assert not stream.done()
        stream.cancel()

    with_engine(use)


def test_a_stream_ends_with_the_token_counts():
    _, pieces = with_engine(lambda engine: streamed(engine, ask("q", None, 3)))
    assert "".join(piece.text for piece in pieces) == "None:q 1 2"
    assert (pieces[-1].prompt_tokens, pieces[-1].completion_tokens) == (7, 3)


@pytest.mark.parametrize("whole", [True, False])
def test_who_leaves_costs_no_more_steps_and_the_others_go_on(whole):
    async def use(engine):
        leaving = ask("leaving", None, 1000)
        wait = engine.generate(leaving) if whole else streamed(engine, leaving)
        task = asyncio.create_task(wait)
        staying = asyncio.create_task(engine.generate(ask("staying", None, 30)))
        await asyncio.sleep(0.02)
        task.cancel()
        return (await staying).completion_tokens

    model, tokens = with_engine(use, max_batches=1)
    assert tokens == 30
    assert model.steps.count("leaving") < 30
    assert model.batches == [[None] * 2]


def test_a_request_past_its_time_is_given_up_running_or_waiting():
    async def use(engine):
        soon = time.time() + 0.03
        running = engine.generate(ask("running", None, 1000, soon))
        waiting = engine.generate(ask("waiting", "x-v1", 1000, soon))
        results = await asyncio.gather(running, waiting, return_exceptions=True)
        with pytest.raises(DeadlineExceeded):
            await streamed(engine, ask("late", None, 5, time.time() - 1))
        await engine.generate(ask("next"))
        return results

    model, results = with_engine(use, max_batches=1)
    assert all(isinstance(result, DeadlineExceeded) for result in results)
    assert model.steps.count("running") < 100
    assert "waiting" not in model.steps and "late" not in model.steps


def test_one_request_that_cannot_be_answered_leaves_its_batch_alone():
    async def use(engine):
        engine._model.refuses = "bad"
        calls = [engine.generate(ask(name)) for name in ("good", "bad", "fine")]
        return await asyncio.gather(*calls, return_exceptions=True)

    _, (good, bad, fine) = with_engine(use)
    assert (good.text, fine.text) == ("None:good", "None:fine")
    assert isinstance(bad, InputError)


def test_several_prompts_become_one_answer():
    request = GenerateRequest((View([], "a-v1", 0.5), View([], None, 0.5)), 8, "blend")

    async def use(engine):
        return await engine.generate(request), await streamed(engine, request)

    model, (whole, pieces) = with_engine(use)
    assert whole.text == "".join(p.text for p in pieces) == "blend of ['a-v1', None]"
    assert model.adapters == ["a-v1"]


def test_stream_raises_what_the_model_raised():
    async def use(engine):
        engine._model.fails = True
        with pytest.raises(RuntimeError, match="device lost"):
            await streamed(engine, ask())
        with pytest.raises(RuntimeError, match="device lost"):
            await engine.check()
        engine._model.fails = False
        await engine.check()

    with_engine(use)
