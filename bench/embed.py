"""Bulk embedding of chunks: our Embedder against sentence-transformers, same weights, two threads.

Both get the same texts and cut them to the same number of tokens; tokenising is part of the work.
The vectors must agree (cosine at least 0.99 everywhere) or nothing is reported.
"""

import functools
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from bench.corpus import example_chunks
from bench.harness import FULL, in_turn, report
from rayraft.models.embedder import Embedder
from rayraft.models.embedder_tokenizer import model_folder

THREADS = 2
PEER_BATCHES = (32, 128)


def main() -> None:
    """Runs the bench."""
    ours = Embedder.load(threads=THREADS)
    texts = [chunk.text for chunk in example_chunks()] * (4 if FULL else 1)
    limit = ours.spec.max_tokens
    tokens = int(np.minimum(ours.count_tokens(texts) + 2, limit).sum())
    runs: dict[str, Any] = {"rayraft bf16": functools.partial(ours.embed, texts)}
    made, agreement = ours.embed(texts), 1.0
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        folder = str(model_folder("minilm"))
        peer = SentenceTransformer(folder, device="cpu", model_kwargs={"dtype": dtype})
        peer.max_seq_length = limit
        vectors = np.asarray(peer.encode(texts, normalize_embeddings=True), dtype=np.float32)
        agreement = min(agreement, float((made * vectors).sum(1).min()))
        for size in PEER_BATCHES:
            runs[f"sentence-transformers {name}, batch {size}"] = functools.partial(
                peer.encode, texts, batch_size=size, normalize_embeddings=True
            )
    if agreement < 0.99:
        raise SystemExit(f"the vectors differ: cosine {agreement:.4f}")
    seconds = in_turn(runs, rounds=5 if FULL else 3)
    report(
        "embed",
        f"{len(texts)} chunks of the example corpus, {tokens} tokens, {THREADS} threads",
        "tokens/s",
        {name: [tokens / s for s in values] for name, values in seconds.items()},
        ["torch", "transformers", "sentence-transformers"],
        more_is_better=True,
        notes={"least cosine between ours and theirs": round(agreement, 4)},
    )


if __name__ == "__main__":
    main()
