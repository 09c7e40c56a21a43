"""What both peers run: the corpus, MiniLM in sentence-transformers, the reader's `generate`.

The same weights, prompts and limits as the service's; the embedder and the reader are called as
their libraries' pages say.
"""

import json
import os
import threading
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from rayraft.mini import WEIGHTS
from rayraft.models.dtypes import torch_dtype
from rayraft.models.embedder_tokenizer import model_folder
from rayraft.models.rendering import render_prompt
from rayraft.prompts import answer_messages, parse_answer
from rayraft.records import Passage

CHUNKS = "RAYRAFT_BENCH_CHUNKS"
THREADS = 2
CANDIDATES = 50
SHOWN = 4
MAX_NEW_TOKENS = 96
MAX_TOKENS = 256


def read_chunks() -> list[dict[str, str]]:
    """The store's chunks, each with `id`, `title`, `text`."""
    path = Path(os.environ[CHUNKS])
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class QuestionEmbedder:
    """MiniLM."""

    def __init__(self) -> None:
        torch.set_num_threads(THREADS)
        kwargs = {"dtype": torch_dtype("auto")}
        folder = str(model_folder("minilm"))
        self._model = SentenceTransformer(folder, device="cpu", model_kwargs=kwargs)
        self._model.max_seq_length = MAX_TOKENS

    def embed(self, texts: list[str]) -> list[list[float]]:
        """L2-normalised vectors."""
        vectors: Any = self._model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        return [[float(value) for value in vector] for vector in vectors]


class Reader:
    """The shipped reader in Transformers."""

    def __init__(self) -> None:
        model: Any = AutoModelForSeq2SeqLM.from_pretrained(WEIGHTS, dtype=torch_dtype("auto"))
        self._model = model.eval()
        self._tokenizer: Any = AutoTokenizer.from_pretrained(WEIGHTS)
        # Without it, threads of several requests share two cores and all take longer.
        self._lock = threading.Lock()

    def answer(self, question: str, chunks: list[dict[str, str]]) -> str:
        """The answer from the chunks."""
        passages = [
            Passage(chunk_id=c["id"], document_id=c["id"], title=c["title"], text=c["text"])
            for c in chunks
        ]
        prompt = render_prompt(self._tokenizer, answer_messages(question, passages), True)
        ids = torch.tensor([prompt])
        with self._lock, torch.inference_mode():
            output = self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=MAX_NEW_TOKENS,
                do_sample=False,
            )
        return parse_answer(self._tokenizer.decode(output[0], skip_special_tokens=True)).text
