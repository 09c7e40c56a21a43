"""The text model: prompts in, text out, with any of the loaded adapters. Greedy, so repeatable."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from rayraft.errors import ConfigError
from rayraft.models.adapters import Adapters
from rayraft.models.base import BaseModel, base_digest, load_base
from rayraft.models.batching import length_batches
from rayraft.models.codec import Codec
from rayraft.models.combined import Draft, Reader, combine_drafts, split_reasoning
from rayraft.models.decoding import Decoding
from rayraft.models.dtypes import AUTO, DTYPES
from rayraft.models.generation import Confidence, Generated, RowWatch
from rayraft.models.turns import Turns
from rayraft.prompts import Message, prompt_digest
from rayraft.protocols import Combine, View
from rayraft.writing import Row, always

BATCH_TOKENS = 8192
"""Padded prompt tokens of one forward pass."""


class TextModel:
    """A causal or sequence-to-sequence model and its adapters; calling threads take turns."""

    def __init__(self, base: BaseModel, digest: str, device: str) -> None:
        self.base_digest = digest
        self.is_encoder_decoder = base.is_encoder_decoder
        self._codec = Codec(base)
        self._device = torch.device(device)
        self._model: Any = base.model.to(self._device).eval()  # type: ignore[arg-type]
        self._adapters = Adapters(base.model, digest, prompt_digest())
        self._draft_tokens: int | None = getattr(base.model, "draft_tokens", None)
        self._turns = Turns()

    @classmethod
    def load(
        cls,
        base_model: str = "mini",
        device: str = "auto",
        dtype: str = AUTO,
        threads: int | None = None,
    ) -> "TextModel":
        """The model `mini`, of a folder, or of the hub.

        Args:
            base_model: Name or folder.
            device: `cpu`, `cuda`, `cuda:1`, or `auto`: a GPU if there is one.
            dtype: `bfloat16`, `float16`, `float32`, or `auto`: what the device is quick at.
            threads: torch threads of this whole process; None leaves them.

        Raises:
            ConfigError: Unknown dtype, or the device is not there.
            NotFoundError: There is no such model.
            InputError: The folder holds no model that can be loaded.
        """
        if dtype not in (AUTO, *DTYPES):
            raise ConfigError(f"dtype={dtype!r}: must be auto, bfloat16, float16 or float32")
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ConfigError(f"device={device!r}: there is no GPU here")
        if threads is not None:
            torch.set_num_threads(threads)
        return cls(load_base(base_model, dtype, device=device), base_digest(base_model), device)

    @property
    def adapters(self) -> list[str]:
        """Names of the loaded adapters."""
        with self._turns:
            return self._adapters.names

    def load_adapter(self, name: str, path: Path) -> None:
        """Loads a fetched adapter artifact under `name`.

        Raises:
            ArtifactMismatch: It does not belong to this model and these prompts.
        """
        with self._turns:
            self._adapters.load(name, Path(path))

    def unload_adapter(self, name: str) -> None:
        """Forgets an adapter.

        Raises:
            NotFoundError: It is not loaded.
        """
        with self._turns:
            self._adapters.unload(name)

    def generate(
        self,
        prompts: Sequence[list[Message]],
        *,
        adapter: str | None = None,
        max_new_tokens: int = 96,
    ) -> list[Generated]:
        """One output a prompt, in order.

        Raises:
            NotFoundError: The adapter is not loaded.
            InputError: A prompt and its output are longer than the model's context.
        """
        return self.generate_rows([Row(p, max_new_tokens) for p in prompts], adapter=adapter)

    def generate_rows(self, rows: Sequence[Row], *, adapter: str | None = None) -> list[Generated]:
        """One output a row, in order; each row's text is handed out while it is written.

        Several threads may call this at the same time: they take turns after every step.

        Raises:
            NotFoundError: The adapter is not loaded.
            InputError: A prompt and its output are longer than the model's context.
        """
        rendered = [self._codec.render(row.messages, row.max_new_tokens) for row in rows]
        outputs: dict[int, Generated] = {}
        for numbers in length_batches([len(ids) for ids in rendered], BATCH_TOKENS):
            prompts, heard = [rendered[n] for n in numbers], Confidence()
            with self._turns, torch.inference_mode():
                tokens = self._write([rows[n] for n in numbers], prompts, adapter, heard)
            start = 1 if self.is_encoder_decoder else max(map(len, prompts))
            for place, (n, written) in enumerate(zip(numbers, tokens, strict=True)):
                sure = heard.mean(place, start, len(written))
                text = self._codec.decode(written)
                outputs[n] = Generated(text, len(rendered[n]), len(written), sure)
        return [outputs[n] for n in range(len(rows))]

    def generate_combined(
        self,
        views: Sequence[View],
        combine: Combine,
        *,
        max_new_tokens: int = 96,
        wanted: Callable[[], bool] | None = None,
    ) -> Generated:
        """One output for several prompts, by the mixture of their distributions.

        How is said in `rayraft.models.combined`. Tokens are counted over all views.

        Raises:
            NotFoundError: An adapter is not loaded.
            InputError: A prompt and its output are longer than the model's context.
        """
        rows = [Row(v.messages, max_new_tokens, None, wanted or always) for v in views]
        with self._turns, torch.inference_mode():
            drafts = [self._draft(view, row) for view, row in zip(views, rows, strict=True)]
            reader = Reader(self._begin, self._take_turn, self._codec.end_ids)
            tokens = combine_drafts(drafts, combine, reader, max_new_tokens)
        read = sum(len(draft.prompt) for draft in drafts)
        written = sum(len(draft.tokens) for draft in drafts)
        return Generated(self._codec.decode(tokens), read, written)

    def _draft(self, view: View, row: Row) -> Draft:
        ids = self._codec.render(row.messages, row.max_new_tokens)
        (tokens,) = self._write([row], [ids], view.adapter)
        reasoning = split_reasoning(tokens, self._codec.decode)
        text = self._codec.decode(tokens)
        return Draft(view.adapter, view.weight, ids, tokens, text, reasoning)

    def _begin(self, draft: Draft) -> Decoding:
        return Decoding(self._model, draft.prompt, draft.tokens[: draft.reasoning])

    def _take_turn(self, adapter: str | None) -> None:
        """Between two steps: others go first, then `adapter` answers."""
        self._turns.pass_on()
        self._adapters.use(adapter)

    def _write(
        self,
        rows: list[Row],
        prompts: list[list[int]],
        adapter: str | None,
        heard: Confidence | None = None,
    ) -> list[list[int]]:
        """The output tokens of each row."""
        inputs = {k: v.to(self._device) for k, v in self._codec.inputs(prompts).items()}
        start = 1 if self.is_encoder_decoder else inputs["input_ids"].shape[1]
        watch = RowWatch(rows, start, self._codec, lambda: self._take_turn(adapter))
        self._adapters.use(adapter)
        longest = max(row.max_new_tokens for row in rows)
        sequences = self._model.generate(
            **inputs,
            generation_config=self._settings(longest, len(rows)),
            stopping_criteria=StoppingCriteriaList([watch]),
            logits_processor=LogitsProcessorList([heard] if heard else []),
        )
        watch.see(sequences)
        return watch.finish()

    def _settings(self, max_new_tokens: int, rows: int) -> GenerationConfig:
        return GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            # A quote repeats the document: the base model's own penalty must not forbid it.
            repetition_penalty=1.0,
            eos_token_id=self._codec.end_ids,
            pad_token_id=self._codec.pad_id,
            use_cache=True,
            # Transformers checks drafts for one row at a time.
            prompt_lookup_num_tokens=self._draft_tokens if rows == 1 else None,
        )
