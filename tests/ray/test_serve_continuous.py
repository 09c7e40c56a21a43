"""The engine over a model whose requests come and go: tokens, queue, leaving, health."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from rayraft.errors import GenerationError, InputError
from rayraft.models.text import TextModel
from rayraft.protocols import GeneratedPiece, GenerateRequest, View
from rayraft.writing import RowLimits
from serve.engine import TextEngine
from serve.errors import Overloaded
from tests.ray.test_mixed_adapters import NAMES, asked, opened

PROMPTS = asked("causal")
LIMITS = RowLimits(rows=4, cache_tokens=4 * 128, prefill_tokens=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("model")


@pytest.fixture(scope="module")
def model(folder: Path) -> TextModel:
    """Published are a-v1 and b-v1; none is loaded."""
    model = opened("causal", folder)
    for name in model.adapters:
        model.unload_adapter(name)
    return model


def with_engine(
    model: TextModel, use: Callable[[TextEngine], Awaitable[Any]], **options: Any
) -> Any:
    folder: Path | None = options.pop("folder", None)

    def provide(_: Any, name: str) -> None:
        assert folder is not None
        model.load_adapter(name, folder / name)

    async def go() -> Any:
        settings = {"rows": LIMITS, "max_batch_size": LIMITS.rows, **options}
        engine = TextEngine(model, provide, **settings)
        assert engine._worker is not None
        try:
            return await use(engine)
        finally:
            engine.close()

    return asyncio.run(go())


def ask(number: int, adapter: str | None = None, tokens: int = 16) -> GenerateRequest:
    return GenerateRequest.of(PROMPTS[number], adapter, tokens)


def facts(piece: GeneratedPiece) -> tuple[str, int, int]:
    """Without the log-probability, which rounding moves."""
    return piece.text, piece.prompt_tokens, piece.completion_tokens


async def streamed(engine: TextEngine, request: GenerateRequest) -> list[GeneratedPiece]:
    return [piece async for piece in engine.stream(request)]


def test_streams_and_whole_answers_of_all_adapters_are_those_of_one_at_a_time(
    model: TextModel, folder: Path
) -> None:
    together: list[int] = []

    def note(_: Any, args: Any, kwargs: Any) -> None:
        together.append(len(args[0] if args else kwargs["input_ids"]))

    async def one_at_a_time(engine: TextEngine) -> list[GeneratedPiece]:
        return [await engine.generate(ask(n, name)) for n, name in enumerate(NAMES)]

    async def at_once(engine: TextEngine) -> tuple[Any, ...]:
        hook = model._model.model.register_forward_pre_hook(note, with_kwargs=True)
        blend = GenerateRequest((View(PROMPTS[0], "a-v1", 0.5), View(PROMPTS[1], None, 0.5)), 16)
        whole = [engine.generate(ask(n, name)) for n, name in enumerate(NAMES)]
        streams = [streamed(engine, ask(n, name)) for n, name in enumerate(NAMES)]
        gathered = await asyncio.gather(*whole, engine.generate(blend), *streams)
        hook.remove()
        return gathered[:6], gathered[6], gathered[7:], await engine.generate(blend)

    alone = with_engine(model, one_at_a_time, folder=folder)
    whole, blended, streams, blended_alone = with_engine(model, at_once, folder=folder)
    assert [facts(piece) for piece in whole] == [facts(piece) for piece in alone]
    assert blended == blended_alone
    assert len({str(piece.text) for piece in alone}) == 6
    for pieces, piece in zip(streams, alone, strict=True):
        assert "".join(each.text for each in pieces) == piece.text
        assert len(pieces) > 3 and pieces[-1].completion_tokens == piece.completion_tokens
    assert max(together) == LIMITS.rows


def test_more_than_may_wait_are_refused_and_a_full_engine_is_healthy(model: TextModel) -> None:
    async def use(engine: TextEngine) -> None:
        tasks = [asyncio.create_task(engine.generate(ask(0, None, 100))) for _ in range(6)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="the generator has 6 requests"):
            await engine.generate(ask(0))
        await engine.check()
        done = await asyncio.gather(*tasks)
        assert len({piece.text for piece in done}) == 1
        await engine.generate(ask(0))

    with_engine(model, use, max_waiting=2, trusted_s=0)


def test_who_leaves_makes_room(model: TextModel) -> None:
    async def use(engine: TextEngine) -> None:
        worker = engine._worker
        assert worker is not None
        rows: Any = worker._rows
        stream = engine.stream(ask(1, None, 110))
        await anext(stream)
        assert rows.held_tokens > 110
        await stream.aclose()  # type: ignore[attr-defined]
        waiting = time.monotonic() + 30
        while rows.held_tokens and time.monotonic() < waiting:
            await asyncio.sleep(0.01)
        assert rows.held_tokens == 0 and rows.empty

    with_engine(model, use)


def test_a_dead_thread_is_unhealthy_and_keeps_nobody_waiting(model: TextModel) -> None:
    async def use(engine: TextEngine) -> None:
        await engine.check()
        worker = engine._worker
        assert worker is not None
        rows: Any = worker._rows

        def lost(lane: Any) -> None:
            raise RuntimeError("device lost")

        rows._write = lost
        calls = [engine.generate(ask(n)) for n in range(3)]
        for result in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(result, GenerationError) and "device lost" in str(result)
        with pytest.raises(GenerationError, match="device lost"):
            await engine.check()
        with pytest.raises(GenerationError, match="device lost"):
            await engine.generate(ask(0))

    with_engine(model, use)


def test_one_that_is_too_long_is_refused_alone(model: TextModel) -> None:
    async def use(engine: TextEngine) -> list[Any]:
        calls = [engine.generate(ask(0, None, tokens)) for tokens in (5, 4000, 7)]
        return await asyncio.gather(*calls, return_exceptions=True)

    first, bad, last = with_engine(model, use)
    assert isinstance(bad, InputError)
    assert (first.completion_tokens, last.completion_tokens) == (5, 7)
