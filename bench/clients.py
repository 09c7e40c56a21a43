"""Clients that ask an engine, each its next question when the last is answered."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rayraft.protocols import GenerateRequest
from serve.engines import Engine

R = TypeVar("R")
A = TypeVar("A")


@dataclass(frozen=True)
class Answered:
    """One answer."""

    first_s: float
    """From asking to the first text."""
    tokens: int
    text: str


@dataclass(frozen=True)
class Load:
    """What a number of clients got."""

    answers: list[Answered]
    seconds: float

    @property
    def tokens_per_s(self) -> float:
        """Output tokens of all clients."""
        return sum(answer.tokens for answer in self.answers) / self.seconds

    @property
    def first_p50_s(self) -> float:
        """Median time to the first text."""
        return statistics.median(answer.first_s for answer in self.answers)


Ask = Callable[[R], Awaitable[Answered]]


async def drive(ask: Ask[R], requests: Sequence[R], clients: int) -> Load:
    """All requests, `clients` at a time."""
    return Load(*await answer_all(ask, requests, clients))


async def answer_all(
    ask: Callable[[R], Awaitable[A]], requests: Sequence[R], clients: int
) -> tuple[list[A], float]:
    """The answers in the requests' order, and the seconds that all took."""
    left = list(enumerate(requests))[::-1]
    answers: dict[int, A] = {}

    async def client() -> None:
        while left:
            number, request = left.pop()
            answers[number] = await ask(request)

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return [answers[n] for n in range(len(requests))], time.perf_counter() - began


def asking(engine: Engine) -> Ask[GenerateRequest]:
    """Streams an engine's answer."""

    async def ask(request: GenerateRequest) -> Answered:
        began = time.perf_counter()
        first_s, text, tokens = 0.0, "", 0
        async for piece in engine.stream(request):
            first_s = first_s or time.perf_counter() - began
            text += piece.text
            tokens = piece.completion_tokens or tokens
        return Answered(first_s, tokens, text)

    return ask
