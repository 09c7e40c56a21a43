"""Reranking: our Reranker against sentence-transformers' CrossEncoder, same weights, two threads.

Both score the same pairs of a question and its candidates; tokenising is part of the work. The
peer's model is Transformers' BERT with our weights in it. The scores must agree (correlation at
least 0.999) or nothing is reported.
"""

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

from bench.corpus import example_chunks, example_questions
from bench.harness import FULL, in_turn, report
from rayraft.mini.tokenizer import build_pair_tokenizer
from rayraft.models.base import load_base
from rayraft.models.base_files import MINI_RERANKER
from rayraft.models.reranker import MAX_TOKENS, Reranker

THREADS = 2
CANDIDATES = 50
PEER_BATCHES = (16, 32)


class FirstState(nn.Module):
    """Takes the pooler's place: ours has none."""

    def forward(self, states: Tensor) -> Tensor:
        """The state of [CLS]."""
        return states[:, 0]


def main() -> None:
    """Runs the bench."""
    ours = Reranker.load(threads=THREADS)
    chunks = [f"{chunk.title}\n{chunk.text}" for chunk in example_chunks(160)]
    questions = [question.question for question in example_questions()][: 8 if FULL else 2]
    rng = np.random.default_rng(0)
    work = [(q, [chunks[i] for i in rng.permutation(len(chunks))[:CANDIDATES]]) for q in questions]
    pairs = [(question, passage) for question, passages in work for passage in passages]
    made = np.concatenate([ours.score(*one) for one in work])
    runs: dict[str, Any] = {"rayraft bf16": lambda: [ours.score(*one) for one in work]}
    agreement = 1.0
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        peer = cross_encoder(dtype)
        scores = np.asarray(peer.predict(pairs, activation_fn=nn.Identity()), dtype=np.float32)
        agreement = min(agreement, float(np.corrcoef(made, scores)[0, 1]))
        for size in PEER_BATCHES:
            runs[f"sentence-transformers {name}, batch {size}"] = functools.partial(
                peer.predict, pairs, batch_size=size, activation_fn=nn.Identity()
            )
    if agreement < 0.999:
        raise SystemExit(f"the scores differ: correlation {agreement:.4f}")
    seconds = in_turn(runs, rounds=5 if FULL else 3)
    report(
        "rerank",
        f"{len(questions)} questions, {CANDIDATES} candidates each of at most 160 tokens, "
        f"{THREADS} threads",
        "pairs/s",
        {name: [len(pairs) / s for s in values] for name, values in seconds.items()},
        ["torch", "transformers", "sentence-transformers"],
        more_is_better=True,
        notes={"least correlation between ours and theirs": round(agreement, 5)},
    )


def cross_encoder(dtype: torch.dtype) -> CrossEncoder:
    """Transformers' BERT with the shipped reranker's weights, in sentence-transformers."""
    own = load_base(MINI_RERANKER, "float32").model
    config: Any = own.config
    sizes: dict[str, Any] = {"num_labels": 1, "type_vocab_size": 2, "hidden_dropout_prob": 0.0}
    bert = BertForSequenceClassification(
        BertConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            num_hidden_layers=config.encoder_layers,
            num_attention_heads=config.num_attention_heads,
            intermediate_size=config.intermediate_size,
            max_position_embeddings=config.max_positions,
            **sizes,
        )
    )
    missing = bert.load_state_dict(_as_bert(own.state_dict()), strict=False).missing_keys
    assert all("pooler" in name or "position_ids" in name for name in missing), missing
    with tempfile.TemporaryDirectory() as folder:
        bert.save_pretrained(folder)
        build_pair_tokenizer().save_pretrained(folder)
        peer: Any = CrossEncoder(
            str(Path(folder)), device="cpu", max_length=MAX_TOKENS, model_kwargs={"dtype": dtype}
        )
    peer.model.bert.pooler = FirstState()
    return peer  # type: ignore[no-any-return]


def _as_bert(ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our names in BERT's: one position embedding, which holds BERT's token types, too."""
    names = {
        "shared.": "bert.embeddings.word_embeddings.",
        "encoder.positions.": "bert.embeddings.position_embeddings.",
        "encoder.norm.": "bert.embeddings.LayerNorm.",
        "encoder.layers.": "bert.encoder.layer.",
        "attention.query": "attention.self.query",
        "attention.key": "attention.self.key",
        "attention.value": "attention.self.value",
        "attention.output": "attention.output.dense",
        "attention.norm": "attention.output.LayerNorm",
        "ffn.up": "intermediate.dense",
        "ffn.down": "output.dense",
        "ffn.norm": "output.LayerNorm",
        "score.": "classifier.",
    }
    renamed = {}
    for name, tensor in ours.items():
        for old, new in names.items():
            name = name.replace(old, new)
        renamed[name] = tensor
    hidden = ours["shared.weight"].shape[1]
    renamed["bert.embeddings.token_type_embeddings.weight"] = torch.zeros(2, hidden)
    return renamed


if __name__ == "__main__":
    main()
