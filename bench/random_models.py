"""Random models of real shapes, and random adapters: for speed the weights do not matter."""

import json
import random
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, TaskType, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from data_pipelines.artifacts import publish
from rayraft.manifests import Manifest
from rayraft.models.base import load_base
from rayraft.models.base_files import base_digest
from rayraft.prompts import Message, prompt_digest

VOCABULARY = 49152
SPECIAL = ["<pad>", "</s>", "<unk>", "<turn>"]
TEMPLATE = (
    "{% for message in messages %}<turn> {{ message.content }} {% endfor %}"
    "{% if add_generation_prompt %}<turn>{% endif %}"
)


def save_causal_135m(folder: Path, layers: int = 30) -> str:
    """A decoder of SmolLM2-135M's shape, whose tokenizer has a token for each of `w0`, `w1`, ..."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=layers,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    words = [*SPECIAL, *(f"w{i}" for i in range(VOCABULARY - len(SPECIAL)))]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast: Any = PreTrainedTokenizerFast
    fast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<turn>"],
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    return str(folder)


def word_prompts(count: int, shortest: int, longest: int, seed: int = 0) -> list[list[Message]]:
    """Prompts of random words, evenly between two lengths in tokens."""
    draw = random.Random(seed)
    made: list[list[Message]] = []
    for _ in range(count):
        words = (f"w{draw.randrange(40_000)}" for _ in range(draw.randint(shortest, longest)))
        made.append([{"role": "user", "content": " ".join(words)}])
    return made


def publish_adapters(store: str, base_model: str, count: int, r: int = 8) -> list[str]:
    """Ids of new adapters on all linear layers, with small random weights."""
    base = load_base(base_model, "fp32")
    task = TaskType.SEQ_2_SEQ_LM if base.is_encoder_decoder else TaskType.CAUSAL_LM
    ids = []
    for seed in range(count):
        torch.manual_seed(seed)
        config: Any = LoraConfig(r=r, target_modules="all-linear", task_type=task)
        config.init_lora_weights = False
        peft = get_peft_model(base.model, config)
        tensors = {k: 0.5 * t.contiguous() for k, t in get_peft_model_state_dict(peft).items()}
        peft.unload()
        text = json.dumps(config.to_dict(), default=lambda v: list(v) if isinstance(v, set) else v)
        files = {"adapter_model.safetensors": save(tensors), "adapter_config.json": text.encode()}
        manifest = Manifest(
            kind="adapter",
            base_digest=base_digest(base_model),
            prompt_digest=prompt_digest(),
            config={"method": "raft"},
        )
        ids.append(publish(store, "adapter", f"bench{seed}", files, manifest).artifact_id)
    return ids
