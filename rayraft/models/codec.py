"""Prompts to rows of ids and ids to text, for one model."""

from typing import Any

import torch

from rayraft.errors import InputError
from rayraft.models.base import BaseModel
from rayraft.models.rendering import end_token_id, render_prompt
from rayraft.prompts import Message


class Codec:
    """The tokenizer of a text model, and what it knows of the model."""

    def __init__(self, base: BaseModel) -> None:
        self.is_encoder_decoder = base.is_encoder_decoder
        self.tokenizer = base.tokenizer
        self.end_ids = _end_ids(base)
        self.pad_id: int = base.tokenizer.pad_token_id or 0
        self._limit: int | None = getattr(base.model.config, "max_position_embeddings", None)
        special = (base.tokenizer.pad_token_id, base.tokenizer.bos_token_id)
        start = base.model.config.decoder_start_token_id if base.is_encoder_decoder else None
        self._hidden_ids = {*self.end_ids, *special, base.tokenizer.cls_token_id, start}

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


def _end_ids(base: BaseModel) -> list[int]:
    known: Any = getattr(base.model.generation_config, "eos_token_id", None)
    ids = known if isinstance(known, list) else [known] if known is not None else []
    return sorted({*ids, end_token_id(base.tokenizer)})
