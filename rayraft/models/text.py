"""The text model: prompts in, text out, with any of the loaded adapters. Greedy, so repeatable."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import LogitsProcessorList, StoppingCriteriaList

from rayraft.mini.span_reading import span_reader
from rayraft.models.adapters import Adapters
from rayraft.models.base import BaseModel, load_base
from rayraft.models.base_files import base_digest
from rayraft.models.batching import lane_batches
from rayraft.models.codec import Codec
from rayraft.models.combined import Draft, Reader, combine_drafts, split_reasoning
from rayraft.models.decoding import Decoding
from rayraft.models.dtypes import AUTO, choose_device
from rayraft.models.encoding import encode_apart
from rayraft.models.generation import (
    Beginnings,
    Confidence,
    Generated,
    RowWatch,
    greedy_settings,
)
from rayraft.models.reading import Reads
from rayraft.models.row_batch import RowBatch, can_continue
from rayraft.models.turns import Turns
from rayraft.prompts import Message, prompt_digest
from rayraft.protocols import Combine, View
from rayraft.writing import Row, RowLimits, always

BATCH_TOKENS = 8192
"""Padded prompt tokens of one forward pass."""


class TextModel:
    """A causal or sequence-to-sequence model and its adapters; calling threads take turns."""

    def __init__(self, base: BaseModel, digest: str, device: str) -> None:
        self.base_digest = digest
        self.is_encoder_decoder = base.is_encoder_decoder
        self._codec = Codec.of(base)
        self._device = torch.device(device)
        self._model: Any = base.model.to(self._device).eval()  # type: ignore[arg-type]
        self._adapters = Adapters(base.model, digest, prompt_digest())
        # Transformers checks drafts for one row at a time.
        self._draft_tokens: int | None = getattr(base.model, "draft_tokens", None)
        self._turns = Turns()
        self._threads = torch.get_num_threads()
        reader = span_reader(base.model, base.tokenizer)
        own = (self._codec, self._adapters, self._turns, self._threads)
        self._reads = None if reader is None else Reads(reader, *own)
        self.reads_at_once = 0 if reader is None else self._threads

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
        device = choose_device(device, dtype)
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
        alternative: int = 0,
    ) -> list[Generated]:
        """One output a prompt, in order; `alternative` is that of `Row`.

        Raises what `generate_rows` raises.
        """
        return self.generate_rows(
            [Row(p, max_new_tokens, adapter=adapter, alternative=alternative) for p in prompts]
        )

    def shares_batches(self, adapter: str | None) -> bool:
        """Whether rows of this adapter share forward passes with others' (`Adapters.shares`)."""
        return self._adapters.shares(adapter)

    def read(self, row: Row) -> Generated | None:
        """The output of a row that need not be written; None: `generate_rows` has to write it.

        Several threads may call this and read at the same time. Raises what `generate_rows` raises.
        """
        if self._reads is None:
            return None
        return self._reads.one(row, self._codec.render(row.messages, row.max_new_tokens))

    def generate_rows(self, rows: Sequence[Row]) -> list[Generated]:
        """One output a row, in order, by its own adapter; its text is handed out as it is written.

        Those that cannot share a forward pass are written one after the other. Several threads may
        call this: they take turns after every step.

        Raises:
            NotFoundError: The adapter is not loaded.
            InputError: A prompt and its output are longer than the model's context.
        """
        rendered = [self._codec.render(row.messages, row.max_new_tokens) for row in rows]
        outputs = {} if self._reads is None else self._reads.all(rows, rendered)
        written_out = [n for n in range(len(rows)) if n not in outputs]
        # Rows of one lane share forward passes.
        shares = self._adapters.shares
        lanes = {n: None if shares(rows[n].adapter) else rows[n].adapter for n in written_out}
        for numbers in lane_batches(list(map(len, rendered)), lanes, BATCH_TOKENS):
            prompts, heard = [rendered[n] for n in numbers], Confidence()
            with self._alone():
                tokens = self._write([rows[n] for n in numbers], prompts, heard)
            start = 1 if self.is_encoder_decoder else max(map(len, prompts))
            for place, (n, written) in enumerate(zip(numbers, tokens, strict=True)):
                sure = heard.mean(place, start, len(written))
                text = self._codec.decode(written)
                outputs[n] = Generated(text, len(rendered[n]), len(written), sure)
        return [outputs[n] for n in range(len(rows))]

    def open_rows(self, limits: RowLimits) -> RowBatch | None:
        """Rows that come and go while others are written; None if this model cannot do that.

        Steps of it take turns with other threads' calls, as `generate_rows` does.
        """
        with self._turns:
            self._adapters.use(None)
            able = can_continue(self._model)
        if not able:
            return None
        return RowBatch(self._model, self._codec, self._adapters, self._turns, limits)

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
        wanted = wanted or always
        rows = [Row(v.messages, max_new_tokens, None, wanted, v.adapter) for v in views]
        reader = Reader(self._begin, lambda one: self._pass_on([one]), self._codec.end_ids)
        with self._alone():
            drafts = [self._draft(view, row) for view, row in zip(views, rows, strict=True)]
            tokens = combine_drafts(drafts, combine, reader, max_new_tokens)
        read = sum(len(draft.prompt) for draft in drafts)
        written = sum(len(draft.tokens) for draft in drafts)
        return Generated(self._codec.decode(tokens), read, written)

    def _draft(self, view: View, row: Row) -> Draft:
        ids = self._codec.render(row.messages, row.max_new_tokens)
        reading = None if self._reads is None else self._reads.within(row, ids)
        tokens = reading.tokens if reading else self._write([row], [ids])[0]
        reasoning = split_reasoning(tokens, self._codec.decode)
        text = self._codec.decode(tokens)
        return Draft(view.adapter, view.weight, ids, tokens, text, reasoning)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """A turn of one's own, with all threads: another thread of this process may have fewer."""
        with self._turns, torch.inference_mode():
            torch.set_num_threads(self._threads)
            yield

    def _begin(self, draft: Draft) -> Decoding:
        return Decoding(self._model, draft.prompt, draft.tokens[: draft.reasoning])

    def _pass_on(self, adapters: Sequence[str | None]) -> None:
        """Between two steps: others go first, then each row is answered by its adapter."""
        self._turns.pass_on()
        self._adapters.use_rows(adapters)

    def _write(
        self, rows: list[Row], prompts: list[list[int]], heard: Confidence | None = None
    ) -> list[list[int]]:
        """The output tokens of each row."""
        inputs = {k: v.to(self._device) for k, v in self._codec.inputs(prompts).items()}
        start = 1 if self.is_encoder_decoder else inputs["input_ids"].shape[1]
        adapters = [row.adapter for row in rows]
        watch = RowWatch(rows, start, self._codec, lambda: self._pass_on(adapters))
        if self.is_encoder_decoder and len(set(adapters)) > 1:
            inputs["encoder_outputs"] = encode_apart(
                self._model.get_encoder(), inputs, adapters, self._adapters.use
            )
        self._adapters.use_rows(adapters)
        longest = max(row.max_new_tokens for row in rows)
        ranks = [row.alternative for row in rows]
        begun = [Beginnings(ranks, start)] if any(ranks) else []
        drafts = self._draft_tokens if ranks == [0] else None
        sequences = self._model.generate(
            **inputs,
            generation_config=greedy_settings(self._codec, longest, drafts),
            stopping_criteria=StoppingCriteriaList([watch]),
            logits_processor=LogitsProcessorList([*([heard] if heard else []), *begun]),
        )
        watch.see(sequences)
        return watch.finish()
