"""Rows that a model answers by reading: each by itself, several at the same time.

A reading is some hundred operations on the CPU, too small for many threads: beside each other two
readings with one thread each take 0.6 of the time that they take in turn with two.
"""

import itertools
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

from rayraft.mini.span_reading import Reading, SpanReader
from rayraft.models.adapters import Adapters
from rayraft.models.codec import Codec
from rayraft.models.generation import Generated, whole_output
from rayraft.models.turns import Turns
from rayraft.writing import Row


class Reads:
    """Reads with one model, whose other users wait meanwhile.

    Args:
        reader: Of the model.
        codec: Of the model.
        adapters: Of the model.
        turns: Shared by those who read at the same time.
        threads: Of torch, for all that is read at the same time.
    """

    def __init__(
        self, reader: SpanReader, codec: Codec, adapters: Adapters, turns: Turns, threads: int
    ) -> None:
        self.threads = threads
        self._reader = reader
        self._codec = codec
        self._adapters = adapters
        self._turns = turns
        self._counting = threading.Lock()
        self._reading = 0

    def one(self, row: Row, ids: list[int], threads: int | None = None) -> Generated | None:
        """The output; None if it has to be written.

        Args:
            row: What is asked.
            ids: Its rendered prompt.
            threads: Of torch; None: those that others leave who read now.

        Raises:
            NotFoundError: The adapter is not loaded.
        """
        shared = self._turns.shared(self._adapters.kind(row.adapter))
        with shared, self._counted() as now, torch.inference_mode():
            torch.set_num_threads(threads or max(1, self.threads // now))  # of this thread
            reading = self.within(row, ids)
        if reading is None:
            return None
        return whole_output(self._codec, row, ids, reading.tokens, reading.mean_logprob)

    def all(self, rows: Sequence[Row], rendered: Sequence[list[int]]) -> dict[int, Generated]:
        """The outputs that need not be written, by number of their row.

        One row has all threads, of several each has one: what is read does not depend on time.

        Raises:
            NotFoundError: An adapter is not loaded.
        """
        if len(rows) == 1:
            outputs = [self.one(rows[0], rendered[0], self.threads)]
        else:
            one_each = itertools.repeat(1)
            with ThreadPoolExecutor(self.threads) as pool:
                outputs = list(pool.map(self.one, rows, rendered, one_each))
        return {n: output for n, output in enumerate(outputs) if output is not None}

    def within(self, row: Row, ids: list[int]) -> Reading | None:
        """As `one`, for a caller that has its turn."""
        if not (row.reads and row.wanted()):
            return None
        with self._adapters.used_here(row.adapter):
            return self._reader.read(row.messages, ids, row.max_new_tokens)

    @contextmanager
    def _counted(self) -> Iterator[int]:
        """How many read now, the caller included."""
        with self._counting:
            self._reading += 1
            now = self._reading
        try:
            yield now
        finally:
            with self._counting:
                self._reading -= 1
