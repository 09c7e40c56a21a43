"""Answering one question from four passages: our TextModel against Transformers' plain `generate`.

Same weights, same prompts, the key-value cache on, one question at a time. TextModel chooses the
answer among the encoder's spans (`rayraft/mini/span_reading.py`). Told to write it word by word, it
drafts quotes from the source (`rayraft/mini/copy_ahead.py`); then the texts must equal those of
Transformers for at least 95% of the questions (bf16 breaks ties differently in longer passes), or
nothing is reported.
"""

import json
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

import rayraft.mini.auto  # noqa: F401  registers the shipped model classes
from bench.corpus import example_chunks, example_questions
from bench.harness import FULL, report
from rayraft.mini import WEIGHTS
from rayraft.models.dtypes import AUTO, torch_dtype
from rayraft.models.rendering import render_prompt
from rayraft.models.text import TextModel
from rayraft.prompts import Message, answer_messages
from rayraft.records import Passage

THREADS = 2
PASSAGES = 4
MAX_NEW_TOKENS = 96


def prompts(count: int) -> list[list[Message]]:
    """Questions with a golden chunk and three others, 128 tokens at most each."""
    rng = random.Random(0)
    chunks = example_chunks(chunk_tokens=128)
    made = []
    for question in rng.sample(example_questions(), count):
        golden = rng.choice([c for c in chunks if c.document_id in question.gold_ids])
        shown = [golden, *rng.sample(chunks, PASSAGES - 1)]
        rng.shuffle(shown)
        passages = [
            Passage(chunk_id=c.chunk_id, document_id=c.document_id, title=c.title, text=c.text)
            for c in shown
        ]
        made.append(answer_messages(question.question, passages))
    return made


def writing_word_by_word() -> TextModel:
    """The shipped model, which does not read by spans."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "mini"
        shutil.copytree(WEIGHTS, folder)
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        values["span_candidates"] = 0
        (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
        return TextModel.load(str(folder), threads=THREADS)


def main() -> None:
    """Runs the bench."""
    work = prompts(100 if FULL else 40)
    ours, writing = TextModel.load("mini", threads=THREADS), writing_word_by_word()
    model = AutoModelForSeq2SeqLM.from_pretrained(WEIGHTS, dtype=torch_dtype(AUTO)).eval()
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)

    @torch.inference_mode()
    def plain(prompt: list[Message]) -> str:
        ids = torch.tensor([render_prompt(tokenizer, prompt, True)])
        mask = torch.ones_like(ids)
        output = model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=MAX_NEW_TOKENS, do_sample=False
        )
        return str(tokenizer.decode(output[0], skip_special_tokens=True))

    ways: dict[str, Callable[[list[Message]], str]] = {
        "rayraft": lambda p: ours.generate([p], max_new_tokens=MAX_NEW_TOKENS)[0].text,
        "rayraft, word by word": lambda p: (
            writing.generate([p], max_new_tokens=MAX_NEW_TOKENS)[0].text
        ),
        "transformers generate": plain,
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    equal = 0
    for prompt in [work[0], *work]:
        texts = []
        for name, way in ways.items():
            began = time.perf_counter()
            texts.append(way(prompt))
            times[name].append(1000 * (time.perf_counter() - began))
        equal += texts[1] == texts[2]
    times = {name: values[1:] for name, values in times.items()}  # the first warms up
    if equal < 0.95 * len(work):
        raise SystemExit(f"only {equal} of {len(work)} texts are equal")
    lengths = [len(render_prompt(tokenizer, prompt, True)) for prompt in work]
    report(
        "answer",
        f"{len(work)} questions, {PASSAGES} passages of at most 128 tokens (prompt "
        f"{statistics.median(lengths):.0f} tokens in the median), {THREADS} threads",
        "ms, median",
        times,
        ["torch", "transformers"],
        more_is_better=False,
        notes={
            name: {"p95_ms": round(sorted(values)[int(0.95 * len(values))], 1)}
            for name, values in times.items()
        },
    )


if __name__ == "__main__":
    main()
