"""Where a training run is kept, and what its files are called.

Without torch: who starts a run and who follows it need no more than this.
"""

from dataclasses import dataclass

Point = dict[str, float]
"""One point of the loss curve: `step` and `loss` with speed, or `step` and `validation_loss`."""

EXPORT = "export"
"""Folder in the last checkpoint: adapter or whole model."""
CURVE = "curve.jsonl"
"""File in the run's folder, one point a line; a run that was resumed may repeat steps."""
STATE = "state.json"
"""File in a checkpoint: where the run stood."""


@dataclass(frozen=True)
class RunPlace:
    """Where Ray Train keeps a run; an existing name is resumed."""

    storage: str
    name: str
