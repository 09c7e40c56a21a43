"""The text embedder: MiniLM from an installed wheel, with no hub and no network.

It knows nothing of chunks or stores: texts in, L2-normalised vectors out.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertModel

from rayraft.errors import ConfigError
from rayraft.models.batching import length_batches
from rayraft.models.dtypes import AUTO, torch_dtype
from rayraft.models.embedder_tokenizer import (
    DEFAULT_EMBEDDER,
    EmbedderTokenizer,
    IntArray,
    model_folder,
)

FloatArray = npt.NDArray[np.float32]

BATCH_TOKENS = 4096
"""Padded tokens per forward pass: fills two cores' caches, stays under 100 MB of activations."""


class Embedder:
    """Sentence embeddings by mean pooling; safe to call from several threads."""

    def __init__(self, model: Any, tokenizer: EmbedderTokenizer) -> None:
        self.spec = tokenizer.spec
        self.tokenizer = tokenizer
        self._model = model

    @classmethod
    def load(
        cls, name: str = DEFAULT_EMBEDDER, threads: int | None = None, dtype: str = AUTO
    ) -> "Embedder":
        """The embedder `name`.

        Args:
            name: `minilm`, or a folder with a BERT that pools by the mean.
            threads: Torch threads of this process; None leaves them as they are.
            dtype: Of the weights: `bfloat16`, `float32`, or `auto`: what this CPU is quick at.

        Raises:
            ConfigError: Unknown name or dtype.
        """
        if dtype not in (AUTO, "bfloat16", "float32"):
            raise ConfigError(f"embedder dtype={dtype!r}: expected auto, bfloat16 or float32")
        tokenizer = EmbedderTokenizer.load(name)
        if threads is not None:
            torch.set_num_threads(threads)
        return cls(_load_bert(model_folder(name), torch_dtype(dtype)), tokenizer)

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """float32 [n, dim], L2-normalised, in the order of `texts`."""
        vectors = np.zeros((len(texts), self.spec.dim), dtype=np.float32)
        encoded = self.tokenizer.encode(texts)
        for rows in length_batches([len(ids) for ids in encoded], BATCH_TOKENS):
            vectors[rows] = self._forward([encoded[row] for row in rows])
        return vectors

    def count_tokens(self, texts: Sequence[str]) -> IntArray:
        """int64 [n]: tokens of each text, special tokens not counted, nothing cut off."""
        return self.tokenizer.count_tokens(texts)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Character span of each token of `text`, special tokens left out."""
        return self.tokenizer.token_spans(text)

    @torch.inference_mode()
    def _forward(self, encoded: list[list[int]]) -> FloatArray:
        longest = max(len(ids) for ids in encoded)
        input_ids = torch.zeros((len(encoded), longest), dtype=torch.long)  # [b, s]; 0 is [PAD]
        mask = torch.zeros((len(encoded), longest), dtype=torch.long)  # [b, s]
        for row, ids in enumerate(encoded):
            input_ids[row, : len(ids)] = torch.tensor(ids)
            mask[row, : len(ids)] = 1
        hidden = self._model(input_ids=input_ids, attention_mask=mask).last_hidden_state
        weights = mask[:, :, None].float()
        pooled = (hidden.float() * weights).sum(1) / weights.sum(1)  # [b, dim]
        vectors: FloatArray = torch.nn.functional.normalize(pooled, dim=1).numpy()
        return vectors


def _load_bert(folder: Path, dtype: torch.dtype) -> Any:
    # Not from_pretrained: it prints a progress bar and a report about the unused pooler into the
    # log of every actor.
    config: Any = BertConfig.from_pretrained(folder, attn_implementation="sdpa")
    model: Any = BertModel(config, add_pooling_layer=False)
    weights = load_file(folder / "model.safetensors")
    wanted = model.state_dict().keys()
    model.load_state_dict({key: weights[key] for key in wanted})
    return model.to(dtype).eval()
