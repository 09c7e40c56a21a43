"""Eight adapters with Zipf traffic against one adapter, on the same questions and clients.

`MODEL=mini` (default): the shipped model, questions with four passages; `MODEL=causal`: a random
model of SmolLM2-135M's shape, prompts of 0.5 to 1 thousand tokens. The k-th adapter gets 1/k of the
first one's requests; adapters have random weights. `LAYERS`, `QUESTIONS` and `ROUNDS` make it
smaller for a try.
"""

import asyncio
import os
import random
import tempfile
from pathlib import Path

import torch

from bench.answer import prompts as mini_prompts
from bench.clients import Load, asking, drive
from bench.harness import FULL, report
from bench.random_models import publish_adapters, save_causal_135m, word_prompts
from rayraft.models.text import TextModel
from rayraft.prompts import Message
from rayraft.protocols import GenerateRequest
from rayraft.writing import RowLimits
from serve.adapters import AdapterLoader
from serve.engine import TextEngine

MODEL = os.environ.get("MODEL", "mini")
THREADS, ADAPTERS, CLIENTS, NEW_TOKENS = 2, 8, 8, 64
QUESTIONS = int(os.environ.get("QUESTIONS", "96" if FULL else "32"))
ROUNDS = int(os.environ.get("ROUNDS", "5" if FULL else "3"))
LAYERS = int(os.environ.get("LAYERS", "30"))


def zipf(names: list[str], count: int) -> list[str]:
    """A name for each request, drawn with weights 1, 1/2, 1/3, ..."""
    weights = [1 / (position + 1) for position in range(len(names))]
    return random.Random(0).choices(names, weights, k=count)


def run(model: TextModel, store: str, asked: list[tuple[list[Message], str]]) -> Load:
    """All requests through an engine that has room for every adapter; they are loaded before."""

    async def go() -> Load:
        engine = TextEngine(
            model, AdapterLoader(store), rows=RowLimits(), max_loaded_adapters=ADAPTERS
        )
        try:
            for name in sorted({name for _, name in asked}):
                await engine.generate(GenerateRequest.of(asked[0][0], name, 1))
            requests = [GenerateRequest.of(prompt, name, NEW_TOKENS) for prompt, name in asked]
            return await drive(asking(engine), requests, CLIENTS)
        finally:
            engine.close()

    return asyncio.run(go())


def main() -> None:
    """Runs the bench."""
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as scratch:
        base = "mini" if MODEL == "mini" else save_causal_135m(Path(scratch) / "model", LAYERS)
        prompts = mini_prompts(QUESTIONS) if MODEL == "mini" else word_prompts(QUESTIONS, 512, 1024)
        store = str(Path(scratch) / "store")
        names = publish_adapters(store, base, ADAPTERS)
        model = TextModel.load(base, device="cpu", dtype="float32", threads=THREADS)
        traffic = {
            f"{ADAPTERS} adapters, Zipf": zipf(names, QUESTIONS),
            "one adapter": names[:1] * QUESTIONS,
        }
        figures: dict[str, list[float]] = {who: [] for who in traffic}
        for number in range(ROUNDS + 1):
            for who, adapters in traffic.items():
                load = run(model, store, list(zip(prompts, adapters, strict=True)))
                if number:  # the first warms up
                    figures[who].append(load.tokens_per_s)
    shape = "the shipped model" if MODEL == "mini" else f"{LAYERS} layers of SmolLM2-135M's shape"
    report(
        f"adapters_{MODEL}",
        f"{shape}, fp32, {QUESTIONS} questions, {CLIENTS} clients, adapters of r=8 on all linear "
        f"layers, {THREADS} threads",
        "tokens/s",
        figures,
        ["torch", "transformers", "peft"],
        more_is_better=True,
    )


if __name__ == "__main__":
    main()
