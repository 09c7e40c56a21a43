"""How much the demo does on this machine: measured arithmetic, turned into a share of the whole."""

import math
import time
from dataclasses import dataclass

FULL_TFLOPS = 0.8
"""From here on nothing is cut: two cores with bf16 units reach it, with AVX2 alone 0.1."""
SMALLEST_SHARE = 0.3
QUESTIONS, CHUNKS, TRAIN_STEPS = 80, 120, 40
"""The whole: questions to evaluate on, chunks to write examples from, steps of the RAFT adapter."""
_SIZE = 1024
_PRODUCTS = 5


@dataclass(frozen=True)
class Pace:
    """What a machine multiplies, and in which number format."""

    tflops: float
    precision: str
    """`bf16`, `fp16` or `fp32`: what the models are loaded in here."""

    @property
    def share(self) -> float:
        """The share of the whole demo, in [0.3, 1].

        A heuristic: the square root, because starting Ray and the processes costs the same
        whatever the cores multiply.
        """
        return min(1.0, max(SMALLEST_SHARE, math.sqrt(self.tflops / FULL_TFLOPS)))

    def of(self, whole: int) -> int:
        """The part of `whole` that this machine gets done, at least 1."""
        return max(1, round(self.share * whole))

    def told(self) -> str:
        """The measurement and what follows from it, for a person."""
        measured = f"This machine multiplies {self.tflops:.2f} TFLOP/s in {self.precision}"
        if self.share == 1:
            return f"{measured}: nothing is cut."
        return (
            f"{measured}, so the demo takes {self.share:.0%} of its questions, chunks and steps; "
            "--questions, --chunks and --train-steps choose others."
        )


def measure_pace() -> Pace:
    """The best of a few products of two square matrices, after one to warm up; about a second."""
    import torch

    from rayraft.models.dtypes import choose_device, quick_precision, torch_dtype

    device = choose_device("auto", "auto")
    matrix = torch.ones((_SIZE, _SIZE), dtype=torch_dtype("auto", device), device=device)
    seconds = math.inf
    for _ in range(1 + _PRODUCTS):
        start = time.perf_counter()
        (matrix @ matrix)[0, 0].item()  # waits for a GPU too
        seconds = min(seconds, time.perf_counter() - start)
    return Pace(2 * _SIZE**3 / seconds / 1e12, quick_precision(device))
