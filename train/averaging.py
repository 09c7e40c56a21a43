"""The mean of a run's weights at its checkpoints: a better model than the last of them.

Source: stochastic weight averaging, arXiv 1803.05407. The mean is kept beside each checkpoint, so
that a resumed run goes on with it.
"""

from pathlib import Path
from typing import Self

import torch
from safetensors import safe_open
from safetensors.torch import save_file

FILE = "mean.safetensors"
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
