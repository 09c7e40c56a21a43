"""One output that is written token by token from outside, with the cache of what was read.

`generate` of Transformers chooses the tokens itself; here the caller does, because it mixes the
distributions of several prompts.
"""

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, EncoderDecoderCache


class Decoding:
    """One row of a causal or sequence-to-sequence model.

    Every call runs the model with the adapter that is active then: the caller keeps it the same.
    """

    def __init__(self, model: Any, prompt: Sequence[int], written: Sequence[int] = ()) -> None:
        """Reads the prompt and the tokens that are already written.

        Args:
            model: Of Transformers.
            prompt: The rendered prompt's ids.
            written: Ids of the output's beginning.
        """
        self._model = model
        self._takes = frozenset(inspect.signature(model.forward).parameters)
        ids = torch.tensor([list(prompt)], device=model.device)
        self._ids = ids[:, :0]
        self._given: dict[str, Any] = {}
        self.cache: Cache = DynamicCache(config=model.config.get_text_config(decoder=True))
        """Of what was read."""
        if model.config.is_encoder_decoder:
            self.cache = EncoderDecoderCache(self.cache, DynamicCache())
            self._given["attention_mask"] = torch.ones_like(ids)
            self._given["encoder_outputs"] = model.get_encoder()(
                input_ids=ids, attention_mask=self._given["attention_mask"]
            )
            prompt = [model.config.decoder_start_token_id]
        self.log_probs: Tensor
        """float32 [V] of the next token."""
        self.feed([*prompt, *written], keep=1)

    def feed(self, tokens: Sequence[int], keep: int | None = None) -> Tensor:
        """Goes on with `tokens`.

        Args:
            tokens: At least one.
            keep: So many last positions are computed; None: all.

        Returns:
            float32 [T, V]: log-probabilities of what comes after each of the tokens.
        """
        new = torch.tensor([list(tokens)], device=self._ids.device)
        self._ids = torch.cat([self._ids, new], dim=1)
        name = "decoder_input_ids" if self._model.config.is_encoder_decoder else "input_ids"
        inputs = {name: new, **self._given, **self._known(keep)}
        out = self._model(**inputs, past_key_values=self.cache, use_cache=True)
        log_probs: Tensor = out.logits[0].float().log_softmax(-1)
        self.log_probs = log_probs[-1]
        return log_probs

    def score(self, tokens: Sequence[int]) -> Tensor:
        """Log-probabilities float32 [T] of `tokens` coming next; nothing is written."""
        first = self.log_probs[tokens[0]][None]
        if len(tokens) == 1:
            return first
        ahead = copy.copy(self)
        ahead.cache = copy.deepcopy(self.cache)
        rest = ahead.feed(tokens[:-1])
        index = torch.tensor(list(tokens[1:]), device=rest.device)[:, None]
        return torch.cat([first, rest.gather(1, index).squeeze(1)])

    def _known(self, keep: int | None) -> dict[str, Any]:
        """What some models take beside the usual."""
        wanted = {"history_ids": self._ids, "logits_to_keep": keep}
        return {k: v for k, v in wanted.items() if k in self._takes and v is not None}
