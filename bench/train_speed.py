"""LoRA training of a causal model: our loop against TRL's SFTTrainer, and one worker against two.

Both train the same random model of about 30 million weights on the same rows, prompt and answer as
RAFT has them, with the loss over answers alone, as many steps of as many rows, the same schedule
and number format. A peer whose loss over all rows is not within 3 % of ours is left out. Figures
are tokens without padding. `ROWS` and `ROUNDS` make it shorter.
"""

import functools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import torch.distributed as dist
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch.multiprocessing.spawn import spawn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bench.harness import FULL, report
from rayraft.config import load
from rayraft.models.base import load_base
from rayraft.models.dtypes import quick_precision, torch_dtype
from train.answer_loss import answer_loss
from train.config import TrainConfig
from train.features import FEATURES, IGNORED
from train.loop import Hooks, Task, World, run
from train.modeling import prepare_model
from train.rows import EncodedRows

THREADS, ROUNDS = 2, int(os.environ.get("ROUNDS", 3 if FULL else 2))
VOCABULARY, LONGEST, PRECISION = 32_000, 1024, quick_precision()
ROWS, BATCH = (128, 16) if FULL else (int(os.environ.get("ROWS", 32)), 8)
PEERS: dict[str, dict[str, Any]] = {
    "trl padded, by length": {"train_sampling_strategy": "group_by_length"},
    "trl padding-free": {"padding_free": True, "max_length": None},
    "trl packed": {"packing": True, "packing_strategy": "bfd"},
}
"""SFTTrainer's settings that decide how rows are batched."""


def main() -> None:
    """Runs the bench."""
    with tempfile.TemporaryDirectory() as folder:
        base, rows = save_model(Path(folder)), make_rows()
        tokens = sum(len(row["input_ids"]) for row in rows)
        runs: dict[str, Callable[[], tuple[float, Any]]] = {
            "rayraft": functools.partial(train_ours, base, rows, Path(folder), 1, THREADS)
        }
        for name, settings in PEERS.items():
            runs[name] = functools.partial(train_theirs, base, rows, settings, Path(folder))
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        losses: dict[str, float] = {}
        for number in range(ROUNDS + 1):
            for name, train in runs.items():
                took, model = train()
                if number:
                    seconds[name].append(took)
                else:
                    losses[name] = loss_of(model, rows)
                print(f"round {number}/{ROUNDS} {name}: {tokens / took:.0f}", file=sys.stderr)
        for name in [n for n in PEERS if abs(losses[n] / losses["rayraft"] - 1) > 0.03]:
            print(f"{name}: left out, it ends with a loss of {losses[name]:.3f}: {losses}")
            del seconds[name]
        one, two = (scaled(base, rows, Path(folder), count) for count in (1, 2))
    report(
        "train_speed",
        f"LoRA of a 30M-shaped causal model in {PRECISION}, {ROWS} rows, {tokens:,} tokens, "
        f"{BATCH} rows a step, {THREADS} threads",
        "tokens/s",
        {name: [tokens / s for s in values] for name, values in seconds.items()},
        ["torch", "transformers", "peft", "deepspeed", "trl"],
        more_is_better=True,
        notes={
            "loss after training": {name: round(loss, 4) for name, loss in losses.items()},
            "one worker, one thread, tokens/s": round(tokens / one),
            "two workers, one thread each, tokens/s": round(tokens / two),
            "efficiency of two workers": round(one / two / 2, 3),
        },
    )


def save_model(folder: Path) -> str:
    """A Llama-shaped model with random weights, and a tokenizer that only has to be there."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=384,
        intermediate_size=1024,
        num_hidden_layers=10,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=LONGEST,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    model: Any = LlamaForCausalLM(config)
    model.to(torch_dtype(PRECISION)).save_pretrained(folder / "base")
    words = WordLevel({f"w{i}": i for i in range(VOCABULARY)}, unk_token="w2")
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=Tokenizer(words), pad_token="w0", eos_token="w1", unk_token="w2"
    )
    tokenizer.save_pretrained(folder / "base")
    return str(folder / "base")


def make_rows() -> list[dict[str, list[int]]]:
    """Prompts of 200 to 900 tokens and answers of 20 to 60; those are of few words, to learn."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(ROWS):
        prompt = rng.integers(3, VOCABULARY, rng.integers(200, 900)).tolist()
        answer = [*rng.integers(3, 200, rng.integers(20, 60)).tolist(), 1]
        rows.append({"input_ids": prompt + answer, "labels": [IGNORED] * len(prompt) + answer})
    return rows


def settings(base: str, threads: int) -> TrainConfig:
    """Our training, in the terms that TRL is told, too."""
    return load(
        TrainConfig,
        None,
        [
            *(f"base_model={base}", f"precision={PRECISION}", "learning_rate=2.0e-3", "epochs=1"),
            *("warmup_fraction=0", "final_learning_rate_fraction=0", f"global_batch_size={BATCH}"),
            *("micro_batch_tokens=4096", "log_every_steps=1", f"workers.threads={threads}"),
            "adam_betas=[0.9,0.999]",
        ],
    )


def train_ours(
    base: str, rows: list[dict[str, list[int]]], folder: Path, workers: int, threads: int
) -> tuple[float, Any]:
    """Seconds of our loop in this process, and the model."""
    with group(folder, 0, workers):
        return loop(base, rows, World(0, workers), threads)


def loop(
    base: str, rows: list[dict[str, list[int]]], world: World, threads: int
) -> tuple[float, Any]:
    """One worker's part."""
    torch.set_num_threads(threads)
    config = settings(base, threads)
    model = prepare_model(load_base(base, PRECISION), config)
    encoded = EncodedRows([pa.Table.from_pylist(rows, schema=FEATURES)], 0, causal=True)
    hooks = Hooks(lambda point: None, lambda metrics, state, engine: None)
    began = time.perf_counter()
    engine = run(Task(config, model, encoded, None, "bench"), world, hooks)
    return time.perf_counter() - began, engine.module


def scaled(base: str, rows: list[dict[str, list[int]]], folder: Path, workers: int) -> float:
    """Median seconds with so many workers of one thread each."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        spawn(_worker, (base, rows, name, workers), nprocs=workers)  # type: ignore[no-untyped-call]
        return float((Path(name) / "seconds").read_text())


def _worker(
    rank: int, base: str, rows: list[dict[str, list[int]]], folder: str, workers: int
) -> None:
    with group(Path(folder), rank, workers):
        found = [loop(base, rows, World(rank, workers), 1)[0] for _ in range(ROUNDS + 1)]
    if rank == 0:
        (Path(folder) / "seconds").write_text(str(statistics.median(found[1:])))


@contextmanager
def group(folder: Path, rank: int, workers: int) -> Iterator[None]:
    """A gloo group, which meets in a file of the folder."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(workers), "LOCAL_RANK": str(rank)}
    if not dist.is_initialized():
        store = dist.FileStore(str(folder / "meeting"), workers)  # type: ignore[attr-defined]
        dist.init_process_group("gloo", store=store, rank=rank, world_size=workers)
    yield


def train_theirs(
    base: str, rows: list[dict[str, list[int]]], batching: dict[str, Any], folder: Path
) -> tuple[float, Any]:
    """Seconds of SFTTrainer, and the model."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):  # it would take them for a launcher's
        os.environ.pop(name, None)
    torch.set_num_threads(THREADS)
    loaded = load_base(base, PRECISION)
    # Packed, a sequence holds about two rows: so many of them make as many rows a step.
    size = BATCH // 2 if "packing" in batching else BATCH
    trainer = SFTTrainer(
        model=loaded.model,
        args=SFTConfig(
            output_dir=str(folder / "trl"),
            per_device_train_batch_size=size,
            num_train_epochs=1,
            learning_rate=2e-3,
            lr_scheduler_type="linear",
            max_grad_norm=1.0,
            weight_decay=0.0,
            bf16=PRECISION == "bf16",
            gradient_checkpointing=False,
            use_cpu=True,
            dataloader_num_workers=0,
            report_to="none",
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
            seed=0,
            **{"max_length": LONGEST, **batching},
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=loaded.tokenizer,
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"),
    )
    began = time.perf_counter()
    trainer.train()
    return time.perf_counter() - began, trainer.model


@torch.no_grad()
def loss_of(model: Any, rows: list[dict[str, list[int]]]) -> float:
    """Mean loss over the answer tokens of all rows."""
    encoded = EncodedRows([pa.Table.from_pylist(rows, schema=FEATURES)], 0, causal=True)
    model.train(False)
    total, weight = 0.0, 0
    for row in range(len(encoded)):
        count, batch = int(encoded.lengths.supervised[row]), encoded.batch(np.array([row]))
        inputs = {name: torch.from_numpy(array) for name, array in batch.items()}
        total += float(answer_loss(model, inputs)) * count
        weight += count
    return total / weight


if __name__ == "__main__":
    main()
