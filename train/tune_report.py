"""What a search found, for people and as a configuration file."""

from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from train.config import TrainConfig

SETTINGS = {
    "lora_r": "lora.r",
    "learning_rate": "learning_rate",
    "golden_fraction": "golden_fraction (P)",
    "distractors": "distractors (k)",
}
"""Settings that are searched, as the table names them."""


@dataclass(frozen=True)
class Trial:
    """One training of a search."""

    drawn: dict[str, float]
    step: int
    """Steps that it came to."""
    validation_loss: float | None
    """At that step; None where it came to no validation."""
    error: str | None = None


def ordered(trials: Sequence[Trial]) -> list[Trial]:
    """Best first: the farther a trial came the better, and then the lower its loss.

    A trial that was stopped early may show the lower loss of a higher learning rate that has not
    come down yet, and is not comparable with one that went to the end.
    """
    return sorted(
        trials,
        key=lambda t: (
            t.validation_loss is None,
            -t.step,
            t.validation_loss if t.validation_loss is not None else 0.0,
        ),
    )


def table(trials: Sequence[Trial], steps: int) -> str:
    """One line a trial, best first; columns stand under each other."""
    searched = [name for name in SETTINGS if any(name in trial.drawn for trial in trials)]
    lines = [[*(SETTINGS[name] for name in searched), "steps", "validation loss", ""]]
    for trial in ordered(trials):
        loss = "-" if trial.validation_loss is None else f"{trial.validation_loss:.4f}"
        drawn = [f"{trial.drawn[name]:.3g}" if name in trial.drawn else "-" for name in searched]
        how = trial.error or ("" if trial.step >= steps else "stopped")
        lines.append([*drawn, str(trial.step), loss, how])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line[:-1], widths, strict=False))
        + f"  {line[-1]}".rstrip()
        for line in lines
    )


def as_yaml(config: TrainConfig, comment: str) -> str:
    """A configuration file that `train --config` takes: what differs from the defaults."""
    text = yaml.safe_dump(
        config.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True
    )
    return "".join(f"# {line}\n" for line in comment.splitlines()) + text
