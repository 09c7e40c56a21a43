"""Weights that a run's result is made of in place of its last ones, kept beside each checkpoint.

The mean over the checkpoints is a better model than the last of them.

Source: stochastic weight averaging, arXiv 1803.05407. Both are kept so that a
resumed run goes on with them.
"""

from pathlib import Path
from typing import Self

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

FILE, BEST = "mean.safetensors", "best.safetensors"
_COUNT = "count"


class WeightMean:
    """A running mean of whole fp32 tensors by name."""

    def __init__(self) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self.count = 0
        """How many sets of weights it is the mean of."""

    def add(self, weights: dict[str, torch.Tensor]) -> None:
        """Takes one more set of weights into the mean."""
        self.count += 1
        for name, tensor in weights.items():
            known = self.tensors.get(name)
            self.tensors[name] = (
                tensor.clone() if known is None else known.lerp(tensor, 1 / self.count)
            )

    def save(self, folder: Path) -> None:
        """Writes the mean into a checkpoint's folder."""
        tensors = {name: tensor.contiguous() for name, tensor in self.tensors.items()}
        save_file(tensors, folder / FILE, metadata={_COUNT: str(self.count)})

    @classmethod
    def load(cls, folder: Path | None) -> Self:
        """The mean beside a checkpoint; an empty one if there is none."""
        mean = cls()
        if folder is None or not (folder / FILE).is_file():
            return mean
        with safe_open(folder / FILE, framework="pt") as stored:
            mean.count = int(stored.metadata()[_COUNT])
            mean.tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        return mean


class BestWeights:
    """The weights at the lowest validation loss: whole fp32 tensors by name; empty before it."""

    def __init__(self, tensors: dict[str, torch.Tensor] | None = None) -> None:
        self.tensors = tensors or {}

    def save(self, folder: Path) -> None:
        """Writes them into a checkpoint's folder, if there are any."""
        if self.tensors:
            save_file({n: t.contiguous() for n, t in self.tensors.items()}, folder / BEST)

    @classmethod
    def load(cls, folder: Path | None) -> Self:
        """Those beside a checkpoint; none if there are none."""
        there = folder is not None and (folder / BEST).is_file()
        return cls(load_file(folder / BEST) if folder is not None and there else None)
