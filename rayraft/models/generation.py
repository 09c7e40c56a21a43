"""What greedy generation reports: the output, pieces of text; and the stop."""

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from transformers import StoppingCriteria
from transformers.generation.streamers import BaseStreamer


@dataclass(frozen=True)
class Generated:
    """One output."""

    text: str
    """Without special tokens; RAFT's markers stay."""
    prompt_tokens: int
    completion_tokens: int
    """The end token included."""


class Stop(StoppingCriteria):
    """Ends generation from another thread."""

    def __init__(self) -> None:
        self.wanted = threading.Event()

    def __call__(
        self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **_: object
    ) -> object:
        """True for every row once it is wanted."""
        return torch.full((len(input_ids),), self.wanted.is_set(), device=input_ids.device)


class TokenQueue(BaseStreamer):
    """Hands tokens from the generating thread to the one that reads them."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[int | BaseException | None] = queue.SimpleQueue()
        self._prompt_seen = False

    def put(self, value: torch.Tensor) -> None:
        """Called by `generate`, first with the prompt."""
        if not self._prompt_seen:
            self._prompt_seen = True
            return
        for token in value.flatten().tolist():
            self._queue.put(token)

    def end(self) -> None:
        """Called by `generate`; the thread that runs it closes the queue itself."""

    def close(self, error: BaseException | None) -> None:
        """Ends the reader's loop, with the error if there is one."""
        self._queue.put(error)

    def __iter__(self) -> Iterator[int]:
        while True:
            item = self._queue.get()
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item


def text_deltas(tokens: Iterator[int], decode: Callable[[list[int]], str]) -> Iterator[str]:
    """Pieces of text that together are `decode(all tokens)`.

    The last word is held back, because the next token may go on with it or change how it ends.
    """
    seen: list[int] = []
    given = ""
    for token in tokens:
        seen.append(token)
        text = decode(seen)
        ready = text[: text.rfind(" ") + 1].rstrip()
        if len(ready) > len(given) and ready.startswith(given):
            yield ready[len(given) :]
            given = ready
    rest = decode(seen)[len(given) :]
    if rest:
        yield rest
