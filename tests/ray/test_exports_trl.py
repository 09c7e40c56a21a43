"""Exported files go into TRL's SFTTrainer as they are; skipped where TRL is not installed."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from data_pipelines.raft_exports import export
from rayraft.models.base_config import load_tokenizer
from rayraft.prompts import answer_messages
from tests.unit.test_raft_exports import EXAMPLES

trl = pytest.importorskip("trl", reason="TRL is not installed: pip install trl")
datasets = pytest.importorskip("datasets", reason="TRL's own reader of files is not installed")
TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'assistant' %}[CLS]{% generation %}"
    "{{ message.content }}[SEP]{% endgeneration %}{% else %}{{ message.content }}[SEP]{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}[CLS]{% endif %}"
)


def tokenizer() -> Any:
    """The shipped model's words, and a template that says what the assistant wrote."""
    made = load_tokenizer("mini")
    made.chat_template = TEMPLATE
    made.eos_token = "[SEP]"
    return made


def trained(path: Path, folder: Path) -> Any:
    """A trainer after one step over a file, which TRL alone has read and tokenized."""
    words = tokenizer()
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    form = "parquet" if path.suffix == ".parquet" else "json"
    rows = datasets.load_dataset(
        form, data_files=str(path), split="train", cache_dir=str(folder / "cache")
    )
    settings = trl.SFTConfig(
        output_dir=str(folder / "out"),
        max_steps=1,
        max_length=None,
        use_cpu=True,
        bf16=False,
        report_to="none",
        save_strategy="no",
        assistant_only_loss="messages" in rows.column_names,
        per_device_train_batch_size=len(EXAMPLES),
    )
    model = LlamaForCausalLM(config)
    trainer = trl.SFTTrainer(model, args=settings, train_dataset=rows, processing_class=words)
    trainer.train()
    return trainer


@pytest.mark.parametrize(
    ("form", "parquet"),
    [
        ("messages", False),
        ("prompt-completion", False),
        ("prompt-completion", True),
        ("gorilla-chat", False),
        ("gorilla-completion", False),
    ],
)
def test_trl_reads_a_file_and_learns_the_completions_alone(
    form: str, parquet: bool, tmp_path: Path
) -> None:
    path = tmp_path / ("train.parquet" if parquet else "train.jsonl")
    path.write_bytes(export(EXAMPLES, form, parquet))
    trainer = trained(path, tmp_path)
    assert trainer.state.global_step == 1
    batch = next(iter(trainer.get_train_dataloader()))
    words = tokenizer()

    def same(text: str) -> str:
        return "".join(text.lower().split())

    learned = {
        same(words.decode([t for t in labels if t >= 0], skip_special_tokens=True))
        for labels in batch["labels"].tolist()
    }
    shown = {
        same(words.decode([t for t in ids if t], skip_special_tokens=True))
        for ids in batch["input_ids"].tolist()
    }
    lines = [json.loads(line) for line in export(EXAMPLES, form, False).splitlines()]
    wanted = {same(_completion(line)) for line in lines}
    assert learned == wanted
    if not form.startswith("gorilla"):
        prompts = [answer_messages(e.question, e.passages) for e in EXAMPLES]
        told = [same("".join(m["content"] for m in prompt)) for prompt in prompts]
        assert all(any(text.startswith(prompt) for text in shown) for prompt in told)


def _completion(line: dict[str, Any]) -> str:
    last = line["messages"][-1] if "messages" in line else line["completion"]
    if isinstance(last, list):
        (last,) = last
    return str(last["content"] if isinstance(last, dict) else last)
