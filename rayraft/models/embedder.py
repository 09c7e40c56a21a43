"""The text embedder: MiniLM from an installed wheel, with no hub and no network.

It knows nothing of chunks or stores: texts in, L2-normalised vectors out. Nor of Transformers, the
import of which would take longer than everything else that an embedding worker starts with.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file

from rayraft.errors import ConfigError
from rayraft.mini.layers import LAYER_NORM_EPS, Sizes
from rayraft.mini.packing import Source
from rayraft.mini.segments import SegmentReader, bert_states, load_segment_reader
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
_COMPUTED = {"hidden_act": "gelu", "position_embedding_type": "absolute"}
"""What the configuration of a BERT has to say, if it says anything."""


class Embedder:
    """Sentence embeddings by mean pooling; safe to call from several threads."""

    def __init__(self, reader: SegmentReader, tokenizer: EmbedderTokenizer) -> None:
        self.spec = tokenizer.spec
        self.tokenizer = tokenizer
        self._reader = reader

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
            ConfigError: Unknown name or dtype; a BERT with another activation than GELU, or with
                relative positions.
        """
        if dtype not in (AUTO, "bfloat16", "float32"):
            raise ConfigError(f"embedder dtype={dtype!r}: expected auto, bfloat16 or float32")
        tokenizer = EmbedderTokenizer.load(name)
        if threads is not None:
            torch.set_num_threads(threads)
        return cls(load_reader(model_folder(name), torch_dtype(dtype)), tokenizer)

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
        source = Source.of_segments(encoded)
        real = source.segments.mask(source.ids_N.device)
        hidden = source.segments.pad(self._reader.read(source))
        mask = torch.ones(hidden.shape[:2]) if real is None else real[:, 0, 0]
        vectors: FloatArray = pooled(hidden, mask).numpy()
        return vectors


def pooled(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Texts' vectors, fp32 [b, dim], L2-normalised: the mean of their tokens' last states.

    Args:
        hidden: [b, s, dim].
        mask: [b, s], 0 or False where padding is.
    """
    weights = mask[:, :, None].float()
    mean = (hidden.float() * weights).sum(1) / weights.sum(1)
    return torch.nn.functional.normalize(mean, dim=1)


def load_reader(folder: Path, dtype: torch.dtype) -> SegmentReader:
    """The BERT in an embedder's folder; weights that are kept in `dtype` are pages of its file.

    Raises:
        ConfigError: It has another activation than GELU, or relative positions.
    """
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for key, value in _COMPUTED.items():
        if values.get(key, value) != value:
            raise ConfigError(f"embedder {folder}: {key}={values[key]!r}: must be {value!r}")
    sizes = Sizes(
        hidden_size=values["hidden_size"],
        intermediate_size=values["intermediate_size"],
        num_attention_heads=values["num_attention_heads"],
        encoder_layers=values["num_hidden_layers"],
        max_positions=values["max_position_embeddings"],
        layer_norm_eps=values.get("layer_norm_eps", LAYER_NORM_EPS),
    )
    weights = load_file(folder / "model.safetensors")
    words = weights["embeddings.word_embeddings.weight"].to(dtype)
    states = {name: tensor.to(dtype) for name, tensor in bert_states(weights).items()}
    return load_segment_reader(sizes, words, states)
