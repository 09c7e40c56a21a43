"""Prompts to rows of ids and ids to text, for one model."""

from typing import Any

import torch
from transformers import GenerationConfig

from rayraft.errors import InputError
from rayraft.models.base import BaseModel
from rayraft.models.base_config import load_tokenizer, read_config
from rayraft.models.base_files import base_folder
from rayraft.models.rendering import end_token_id, render_prompt
from rayraft.prompts import Message


class Codec:
    """The tokenizer of a text model, and what it knows of the model.

    Args:
        tokenizer: Of the model.
        config: The model's configuration.
        generation: Its generation configuration, if it has one.
    """

    def __init__(self, tokenizer: Any, config: Any, generation: Any) -> None:
        self.is_encoder_decoder = bool(config.is_encoder_decoder)
        self.tokenizer = tokenizer
        self.end_ids = _end_ids(tokenizer, generation)
        self.pad_id: int = tokenizer.pad_token_id or 0
        self._limit: int | None = getattr(config, "max_position_embeddings", None)
        special = (tokenizer.pad_token_id, tokenizer.bos_token_id)
        start = config.decoder_start_token_id if self.is_encoder_decoder else None
        self._hidden_ids = {*self.end_ids, *special, tokenizer.cls_token_id, start}

    @classmethod
    def of(cls, base: BaseModel) -> "Codec":
        """That of a loaded model."""
        config: Any = base.model.config
        return cls(base.tokenizer, config, base.model.generation_config)

    @classmethod
    def load(cls, base_model: str) -> "Codec":
        """That of a model whose weights are somewhere else.

        Raises:
            NotFoundError: No such folder, and the hub gives none.
            InputError: Its configuration cannot be read, or would run code.
        """
        folder = base_folder(base_model)
        config = read_config(folder)
        try:
            generation = GenerationConfig.from_pretrained(folder)
        except OSError:  # a model need not have the file
            generation = GenerationConfig.from_model_config(config)
        return cls(load_tokenizer(base_model), config, generation)

    def render(self, prompt: list[Message], max_new_tokens: int) -> list[int]:
        """The ids of a prompt.

        Raises:
            InputError: It and its output are longer than the model's context.
        """
        ids = render_prompt(self.tokenizer, prompt, self.is_encoder_decoder)
        if not self.is_encoder_decoder and self._limit and len(ids) + max_new_tokens > self._limit:
            raise InputError(
                f"prompt: {len(ids)} tokens and max_new_tokens={max_new_tokens} exceed the "
                f"model's context of {self._limit}"
            )
        return ids

    def inputs(self, rows: list[list[int]]) -> dict[str, torch.Tensor]:
        """`input_ids` and `attention_mask`, int64 [rows, longest], on the CPU."""
        width = max(len(ids) for ids in rows)
        input_ids = torch.full((len(rows), width), self.pad_id)
        attention_mask = torch.zeros_like(input_ids)
        for i, ids in enumerate(rows):
            # A causal model goes on at the right end, so its padding is at the left.
            at = slice(0, len(ids)) if self.is_encoder_decoder else slice(width - len(ids), width)
            input_ids[i, at] = torch.tensor(ids)
            attention_mask[i, at] = 1
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    def until_end(self, tokens: list[int]) -> list[int]:
        """The tokens up to and with the first that ends an output."""
        for i, token in enumerate(tokens):
            if token in self.end_ids:
                return tokens[: i + 1]
        return tokens

    def decode(self, tokens: list[int]) -> str:
        """The text of an output, without special tokens; RAFT's markers stay."""
        shown = [token for token in tokens if token not in self._hidden_ids]
        return str(self.tokenizer.decode(shown, skip_special_tokens=False)).strip()


def _end_ids(tokenizer: Any, generation: Any) -> list[int]:
    known: Any = getattr(generation, "eos_token_id", None)
    ids = known if isinstance(known, list) else [known] if known is not None else []
    return sorted({*ids, end_token_id(tokenizer)})
