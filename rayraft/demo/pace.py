"""How much the demo does on this machine: measured arithmetic, turned into a share of the whole."""

import json
import math
import subprocess
import sys
from dataclasses import dataclass

FULL_TFLOPS = 0.8
"""From here on nothing is cut: two cores with bf16 units reach it, with AVX2 alone 0.1."""
SMALLEST_SHARE = 0.3
QUESTIONS, CHUNKS, TRAIN_STEPS = 80, 120, 40
"""The whole: questions to evaluate on, chunks to write examples from, steps of the RAFT adapter."""


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
    """The pace of this machine; a few seconds, in a process of its own, which torch leaves with."""
    command = [sys.executable, "-m", "rayraft.models.speed"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Pace(**json.loads(done.stdout))
