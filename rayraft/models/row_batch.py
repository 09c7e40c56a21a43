"""Continuous batching of a causal model: rows join while others run, and leave when they end.

Every step writes one token of each row, and reads one piece of the prompt of the row that joins
next: so a long prompt holds the others up for a piece, not for all of it. A prompt is read by
itself, with its adapter; written are all rows at once, each with its own.

Not Transformers' own continuous batching (5.23): it packs all requests into one row of tokens, for
which PEFT cannot say whose adapter is whose, lets nobody else use the model meanwhile (its issue
48735), and without a flash kernel scores each token against every other request's cache, too.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

from rayraft.errors import InputError
from rayraft.models.adapters import Adapters
from rayraft.models.codec import Codec
from rayraft.models.decoding import Decoding
from rayraft.models.generation import Generated, TextDeltas
from rayraft.models.slots import Slots
from rayraft.models.turns import Turns
from rayraft.writing import Row, RowLimits

Ended = tuple["Writing", Generated | Exception]


@dataclass(eq=False)
class Writing:
    """A row in the batch, or before it."""

    row: Row
    prompt: list[int]
    deltas: TextDeltas
    tokens: list[int] = field(default_factory=list)
    read: int = 0
    """Tokens of the prompt that were read."""
    decoding: Decoding | None = None
    sum_logprob: float = 0.0

    @property
    def room(self) -> int:
        """Tokens that it may come to have."""
        return len(self.prompt) + self.row.max_new_tokens


class RowBatch:
    """The rows that a model writes now. For one thread; others may use the model between steps."""

    def __init__(
        self, model: Any, codec: Codec, adapters: Adapters, turns: Turns, limits: RowLimits
    ) -> None:
        self._model = model
        self._codec = codec
        self._adapters = adapters
        self._turns = turns
        self._limits = limits
        self._reading: list[Writing] = []
        self._lanes: dict[str | None, _Lane] = {}

    def prepare(self, row: Row) -> Writing:
        """The row, ready to join; for any thread.

        Raises:
            InputError: It is longer than the model's context, or than all memory there is for rows.
        """
        writing = Writing(
            row,
            self._codec.render(row.messages, row.max_new_tokens),
            TextDeltas(self._codec.decode),
        )
        if writing.room > self._limits.cache_tokens:
            raise InputError(
                f"prompt: {len(writing.prompt)} tokens and max_new_tokens={row.max_new_tokens} "
                f"exceed the {self._limits.cache_tokens} of cache_tokens"
            )
        return writing

    def join(self, writing: Writing) -> bool:
        """Takes the row in; False while there is no room for it."""
        rows = len(self._reading) + sum(len(lane.writings) for lane in self._lanes.values())
        if rows >= self._limits.rows or self._needed(writing) > self._limits.cache_tokens:
            return False
        self._reading.append(writing)
        return True

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self._reading or self._lanes)

    @property
    def held_tokens(self) -> int:
        """Tokens that memory is held for by rows that are written."""
        return sum(lane.slots.held for lane in self._lanes.values())

    def step(self) -> list[Ended]:
        """One token more for each row; those that ended, with their outputs or what went wrong."""
        ended: list[Ended] = []
        with self._turns, torch.inference_mode():
            for lane in self._lanes.values():
                ended += self._leave(lane, lane.writings)
                if lane.writings:
                    self._write(lane)
                    ended += self._leave(lane, lane.writings)
            self._lanes = {name: lane for name, lane in self._lanes.items() if lane.writings}
            ended += self._read()
        return ended

    def _needed(self, new: Writing) -> int:
        """Tokens of memory if it joins: all rows are as wide as the widest of their lane."""
        rooms: dict[str | None, list[int]] = {}
        for writing in [
            *self._reading,
            new,
            *(w for x in self._lanes.values() for w in x.writings),
        ]:
            rooms.setdefault(self._lane_of(writing), []).append(writing.room)
        return sum(len(each) * max(each) for each in rooms.values())

    def _lane_of(self, writing: Writing) -> str | None:
        """Rows of one lane share forward passes."""
        adapter = writing.row.adapter
        return None if self._adapters.shares(adapter) else adapter

    def _read(self) -> list[Ended]:
        """A piece of the next prompt; the row begins when all of it is read."""
        if not self._reading:
            return []
        writing = self._reading[0]
        if not writing.row.wanted():
            self._reading.pop(0)
            return [(writing, self._output(writing))]
        try:
            self._read_piece(writing)
        except Exception as exc:  # handed on: it is this row's alone
            self._reading.pop(0)
            return [(writing, exc)]
        if writing.decoding is None or writing.read < len(writing.prompt):
            return []
        self._reading.pop(0)
        return self._begin(writing, writing.decoding)

    def _read_piece(self, writing: Writing) -> None:
        piece = writing.prompt[writing.read : writing.read + self._limits.prefill_tokens]
        self._adapters.use(writing.row.adapter)
        if writing.decoding is None:
            writing.decoding = Decoding(self._model, piece)
        else:
            writing.decoding.feed(piece, keep=1)
        writing.read += len(piece)

    def _begin(self, writing: Writing, read: Decoding) -> list[Ended]:
        writing.decoding = None  # its memory goes when this returns
        sure, token = read.log_probs.max(-1)
        self._take(writing, int(token), float(sure))
        if self._ended(writing):
            return [(writing, self._output(writing))]
        lane = self._lanes.setdefault(self._lane_of(writing), _Lane())
        lane.slots.join(read.cache, len(writing.prompt), writing.room)
        lane.writings.append(writing)
        return []

    def _write(self, lane: "_Lane") -> None:
        self._adapters.use_rows([writing.row.adapter for writing in lane.writings])
        device = self._model.device
        last = torch.tensor([[writing.tokens[-1]] for writing in lane.writings], device=device)
        step = lane.slots.begin_step(device, self._model.dtype)
        out = self._model(input_ids=last, past_key_values=lane.slots, use_cache=True, **step)
        sure, tokens = out.logits[:, -1].float().log_softmax(-1).max(-1)
        taken = zip(lane.writings, tokens.tolist(), sure.tolist(), strict=True)
        for writing, token, logprob in taken:
            self._take(writing, token, logprob)

    def _leave(self, lane: "_Lane", writings: Sequence[Writing]) -> list[Ended]:
        gone = [writing for writing in writings if self._ended(writing)]
        for writing in gone:
            number = lane.writings.index(writing)
            lane.slots.leave(number)
            lane.writings[number] = lane.writings[-1]
            lane.writings.pop()
        return [(writing, self._output(writing)) for writing in gone]

    @staticmethod
    def _take(writing: Writing, token: int, logprob: float) -> None:
        writing.tokens.append(token)
        writing.sum_logprob += logprob
        if writing.row.on_text is not None and (text := writing.deltas.feed(writing.tokens)):
            writing.row.on_text(text)

    def _ended(self, writing: Writing) -> bool:
        full = len(writing.tokens) >= writing.row.max_new_tokens
        return full or writing.tokens[-1] in self._codec.end_ids or not writing.row.wanted()

    def _output(self, writing: Writing) -> Generated:
        rest = writing.deltas.finish(writing.tokens)
        if rest and writing.row.on_text is not None:
            writing.row.on_text(rest)
        count = len(writing.tokens)
        sure = writing.sum_logprob / count if count else None
        return Generated(self._codec.decode(writing.tokens), len(writing.prompt), count, sure)


@dataclass
class _Lane:
    """Rows that share forward passes, in the order of their numbers in the cache."""

    writings: list[Writing] = field(default_factory=list)
    slots: Slots = field(default_factory=Slots)


def can_continue(model: Any) -> bool:
    """Whether rows of unequal length can go on side by side, tried with two short ones.

    Not if it has other layers than attention to all that was before (windows, states), or takes no
    positions or masks of ours: then it would answer wrong without a word.
    """
    if model.config.is_encoder_decoder:
        return False
    layers = DynamicCache(config=model.config.get_text_config(decoder=True)).layers
    takes = inspect.signature(model.forward).parameters
    if not all(type(layer) is DynamicLayer for layer in layers) or "position_ids" not in takes:
        return False
    with torch.inference_mode():
        rows = [Decoding(model, range(4, 4 + length)) for length in (3, 7)]
        slots = Slots()
        for row, length in zip(rows, (3, 7), strict=True):
            slots.join(row.cache, length, length + 1)
        step = slots.begin_step(model.device, model.dtype)
        last = torch.full((2, 1), 5, device=model.device)
        out = model(input_ids=last, past_key_values=slots, use_cache=True, **step)
        together = out.logits[:, -1].float().log_softmax(-1)
        alone = torch.stack([row.feed([5], keep=1)[-1] for row in rows])
    off = float((together - alone).abs().max())
    return off < (1e-3 if model.dtype == torch.float32 else 0.2)
