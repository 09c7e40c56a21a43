"""Where training of the mini model begins: MiniLM's layers in encoder and decoder."""

import torch
from safetensors.torch import load_file

from rayraft.mini.configuration import MiniConfig
from rayraft.mini.modeling import MiniForConditionalGeneration
from rayraft.mini.segments import bert_states
from rayraft.mini.wheel import wheel_file

DECODER_FROM = (1, 3, 5)
"""Encoder layers that the decoder layers begin as."""


@torch.no_grad()
def initial_model() -> MiniForConditionalGeneration:
    """An untrained model: MiniLM's layers in encoder and decoder, an open copy gate."""
    model = MiniForConditionalGeneration(MiniConfig())
    states = bert_states(load_file(wheel_file()))
    left = model.encoder.load_state_dict(states, strict=False)
    assert not left.unexpected_keys, left
    assert all(name.startswith(("span.", "copy_key.")) for name in left.missing_keys), left
    begins = {name: states[name] for name in ("norm.weight", "norm.bias")}
    positions = model.decoder.positions.num_embeddings
    begins["positions.weight"] = states["positions.weight"][:positions]
    for place, index in enumerate(DECODER_FROM):
        for name, tensor in states.items():
            if name.startswith(f"layers.{index}."):
                name = name.replace(f"layers.{index}.", f"layers.{place}.")
                begins[name] = begins[name.replace(".attention.", ".cross.")] = tensor
    model.decoder.load_state_dict(begins)
    for linear in (model.copy.query, model.encoder.copy_key):
        torch.nn.init.eye_(linear.weight)
    model.copy.gate.bias.fill_(1.0)
    return model
