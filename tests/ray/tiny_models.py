"""Random models of some thousand weights, with a tokenizer of words and a chat template."""

import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from train.features import Row

WORDS = ["<pad>", "</s>", "<unk>", "<turn>", *(f"w{i}" for i in range(60))]
TEMPLATE = (
    "{% for message in messages %}<turn> {{ message.content }} {% endfor %}"
    "{% if add_generation_prompt %}<turn>{% else %}</s>{% endif %}"
)


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a word."""
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<turn>"],
        chat_template=TEMPLATE,
    )


def save_seq2seq(folder: Path) -> str:
    """An encoder-decoder without dropout."""
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(WORDS),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        decoder_start_token_id=0,  # type: ignore[call-arg]  # the base class takes it
        eos_token_id=1,
        pad_token_id=0,
    )
    model = T5ForConditionalGeneration(config)
    with torch.no_grad():  # outputs of padding, or of nothing at all, would test nothing
        model.shared.weight[:2] = 0.0
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)


def save_causal(folder: Path, **changed: Any) -> str:
    """A decoder with grouped heads; `changed` are settings in place of these."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "vocab_size": len(WORDS),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "bos_token_id": None,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }
    LlamaForCausalLM(LlamaConfig(**(settings | changed))).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)


def copying_rows(count: int, seed: int = 0) -> list[Row]:
    """Rows whose answer is the beginning of the question, of many lengths."""
    draw = random.Random(seed)
    rows: list[Row] = []
    for _ in range(count):
        words = [f"w{draw.randrange(60)}" for _ in range(draw.randint(2, 12))]
        rows.append(
            {
                "messages": [{"role": "user", "content": " ".join(words)}],
                "completion": " ".join(words[: draw.randint(1, 4)]),
            }
        )
    return rows


def save_embedder(folder: Path) -> str:
    """A BERT that pools by the mean, with a tokenizer of words."""
    torch.manual_seed(0)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{i}" for i in range(60))]
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(vocabulary)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    words.add_special_tokens(vocabulary[:4])
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    words.save(str(folder / "tokenizer.json"))
    return str(folder)
