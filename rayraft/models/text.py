"""The text model: prompts in, text out, with any of the loaded adapters. Greedy, so repeatable."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteriaList

from rayraft.errors import ConfigError
from rayraft.models.adapters import Adapters
from rayraft.models.base import DTYPES, BaseModel, base_digest, load_base
from rayraft.models.batching import length_batches
from rayraft.models.codec import Codec
from rayraft.models.combined import Draft, Reader, combine_drafts, split_reasoning
from rayraft.models.decoding import Decoding
from rayraft.models.generation import Generated, Stop, TokenQueue, text_deltas
from rayraft.prompts import Message, prompt_digest
from rayraft.protocols import Combine, View

BATCH_TOKENS = 8192
"""Padded prompt tokens of one forward pass."""


class TextModel:
    """A causal or sequence-to-sequence model and its adapters; calls take turns."""

    def __init__(self, base: BaseModel, digest: str, device: str) -> None:
        self.base_digest = digest
        self.is_encoder_decoder = base.is_encoder_decoder
        self._codec = Codec(base)
        self._device = torch.device(device)
        self._model: Any = base.model.to(self._device).eval()  # type: ignore[arg-type]
        self._adapters = Adapters(base.model, digest, prompt_digest())
        self._draft_tokens: int | None = getattr(base.model, "draft_tokens", None)
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        base_model: str = "mini",
        device: str = "auto",
        dtype: str = "bfloat16",
        threads: int | None = None,
    ) -> "TextModel":
        """The model `mini`, of a folder, or of the hub.

        Args:
            base_model: Name or folder.
            device: `cpu`, `cuda`, `cuda:1`, or `auto`: a GPU if there is one.
            dtype: `bfloat16`, `float16` or `float32`.
            threads: torch threads of this whole process; None leaves them.

        Raises:
            ConfigError: Unknown dtype, or the device is not there.
            NotFoundError: There is no such model.
            InputError: The folder holds no model that can be loaded.
        """
        if dtype not in DTYPES:
            raise ConfigError(f"dtype={dtype!r}: must be bfloat16, float16 or float32")
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ConfigError(f"device={device!r}: there is no GPU here")
        if threads is not None:
            torch.set_num_threads(threads)
        return cls(load_base(base_model, dtype), base_digest(base_model), device)

    @property
    def adapters(self) -> list[str]:
        """Names of the loaded adapters."""
        with self._lock:
            return self._adapters.names

    def load_adapter(self, name: str, path: Path) -> None:
        """Loads a fetched adapter artifact under `name`.

        Raises:
            ArtifactMismatch: It does not belong to this model and these prompts.
        """
        with self._lock:
            self._adapters.load(name, Path(path))

    def unload_adapter(self, name: str) -> None:
        """Forgets an adapter.

        Raises:
            NotFoundError: It is not loaded.
        """
        with self._lock:
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
        rendered = [self._codec.render(prompt, max_new_tokens) for prompt in prompts]
        outputs: dict[int, Generated] = {}
        for rows in length_batches([len(ids) for ids in rendered], BATCH_TOKENS):
            with self._answering(adapter):
                made = self._generate_batch([rendered[row] for row in rows], max_new_tokens)
            outputs.update(zip(rows, made, strict=True))
        return [outputs[row] for row in range(len(prompts))]

    def stream(
        self, prompt: list[Message], *, adapter: str | None = None, max_new_tokens: int = 96
    ) -> Iterator[str | Generated]:
        """Pieces of the output's text as they are written, then the output as a whole.

        Closing the iterator stops the model.

        Raises:
            NotFoundError: The adapter is not loaded.
            InputError: Prompt and output are longer than the model's context.
        """
        ids = self._codec.render(prompt, max_new_tokens)
        tokens, stop = TokenQueue(), Stop()
        made: list[Generated] = []

        def write() -> None:
            error: BaseException | None = None
            try:
                with self._answering(adapter):
                    watched = {
                        "streamer": tokens,
                        "stopping_criteria": StoppingCriteriaList([stop]),
                    }
                    made.extend(self._generate_batch([ids], max_new_tokens, **watched))
            except BaseException as exc:  # the reading thread raises it
                error = exc
            tokens.close(error)

        thread = threading.Thread(target=write, name="text-stream", daemon=True)
        thread.start()
        try:
            yield from text_deltas(iter(tokens), self._codec.decode)
            yield from made
        finally:
            stop.wanted.set()
            thread.join()

    def generate_combined(
        self, views: Sequence[View], combine: Combine, *, max_new_tokens: int = 96
    ) -> Generated:
        """One output for several prompts, by the mixture of their distributions.

        How is said in `rayraft.models.combined`. Tokens are counted over all views.

        Raises:
            NotFoundError: An adapter is not loaded.
            InputError: A prompt and its output are longer than the model's context.
        """
        with self._lock, torch.inference_mode():
            drafts = [self._draft(view, max_new_tokens) for view in views]
            reader = Reader(self._begin, self._adapters.use, self._codec.end_ids)
            tokens = combine_drafts(drafts, combine, reader, max_new_tokens)
        read = sum(len(draft.prompt) for draft in drafts)
        written = sum(len(draft.tokens) for draft in drafts)
        return Generated(self._codec.decode(tokens), read, written)

    def _draft(self, view: View, max_new_tokens: int) -> Draft:
        ids = self._codec.render(view.messages, max_new_tokens)
        with self._adapters.use(view.adapter):
            (tokens,) = self._generate_tokens([ids], max_new_tokens)
        reasoning = split_reasoning(tokens, self._codec.decode)
        text = self._codec.decode(tokens)
        return Draft(view.adapter, view.weight, ids, tokens, text, reasoning)

    def _begin(self, draft: Draft) -> Decoding:
        return Decoding(self._model, draft.prompt, draft.tokens[: draft.reasoning])

    @contextmanager
    def _answering(self, adapter: str | None) -> Iterator[None]:
        with self._lock, torch.inference_mode(), self._adapters.use(adapter):
            yield

    def _generate_batch(
        self, rows: list[list[int]], max_new_tokens: int, **watched: Any
    ) -> list[Generated]:
        outputs = self._generate_tokens(rows, max_new_tokens, **watched)
        return [
            Generated(self._codec.decode(tokens), len(ids), len(tokens))
            for ids, tokens in zip(rows, outputs, strict=True)
        ]

    def _generate_tokens(
        self, rows: list[list[int]], max_new_tokens: int, **watched: Any
    ) -> list[list[int]]:
        inputs = {k: v.to(self._device) for k, v in self._codec.inputs(rows).items()}
        sequences = self._model.generate(
            **inputs,
            generation_config=self._settings(max_new_tokens, len(rows)),
            **watched,
        )
        start = 1 if self.is_encoder_decoder else inputs["input_ids"].shape[1]
        return [self._codec.until_end(output[start:]) for output in sequences.tolist()]

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
