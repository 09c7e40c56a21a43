"""What a training makes of the examples of a RAFT run: other shares than the run was written with.

A run is written once, which takes a teacher; trainings then try shares of golden passages, numbers
of distractors and closed-book rows on it. Pure functions of one example: what becomes of it depends
on its id and the seed alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rayraft.errors import ConfigError
from rayraft.prompts import completion
from rayraft.records import RaftExample, digest
from train.config import Method, TrainConfig


@dataclass(frozen=True)
class ExampleView:
    """How many passages an example shows, and how often the golden one is among them."""

    keep: float
    """Share of the examples with their golden passage that keep it."""
    distractors: int
    """Beside the golden passage; without it there is one more."""
    from_memory: bool
    """Without the golden passage the answer is written all the same."""
    seed: int


def view_of(config: TrainConfig, written_with: Mapping[str, Any]) -> ExampleView | None:
    """What `config` asks of a RAFT run's examples; None where it takes them as they are.

    Args:
        config: Of the training.
        written_with: Configuration in the run's manifest.

    Raises:
        ConfigError: It asks for more golden passages or distractors than the run has, or for golden
            passages to be taken away where no distractor is left to take their place.
    """
    if config.golden_fraction is None and config.distractors is None:
        return None
    has_fraction = float(written_with.get("golden_fraction", 1.0))
    has_distractors = int(written_with.get("distractors", 0))
    fraction = has_fraction if config.golden_fraction is None else config.golden_fraction
    distractors = has_distractors if config.distractors is None else config.distractors
    if fraction > has_fraction:
        raise ConfigError(f"golden_fraction={fraction}: the RAFT run has {has_fraction}")
    if distractors > has_distractors:
        raise ConfigError(f"distractors={distractors}: the RAFT run has {has_distractors}")
    if fraction < has_fraction and distractors == has_distractors:
        raise ConfigError(
            f"golden_fraction={fraction}: below the RAFT run's {has_fraction} it needs distractors "
            f"below the run's {has_distractors}, as one takes the golden passage's place"
        )
    keep = fraction / has_fraction if has_fraction else 1.0
    return ExampleView(
        keep, distractors, written_with.get("missing_golden") == "memory", config.seed
    )


def viewed(example: RaftExample, view: ExampleView) -> RaftExample:
    """The example as the training shows it; the order of what is left stays."""
    golden = set(example.golden_ids)
    keeps = example.has_golden and draw("golden", view.seed, example.example_id) < view.keep
    others = [p.chunk_id for p in example.passages if p.chunk_id not in golden]
    room = view.distractors + 1 - (len(golden) if keeps else 0)  # the same total for all
    shown = set(others[: max(0, room)]) | (golden if keeps else set())
    passages = [p for p in example.passages if p.chunk_id in shown]
    taken = {
        "has_golden": False,
        "quote": "",
        "further_quotes": [],
        "completion": completion("", example.answer if view.from_memory else ""),
    }
    changed = taken if example.has_golden and not keeps else {}
    return example.model_copy(update={"passages": passages, **changed})


def kinds(
    example_id: str, method: Method, closed_book_share: float, seed: int
) -> tuple[bool, bool]:
    """Whether an example gives a row with passages, and whether it gives a closed-book row."""
    if method != "mixed":
        return method == "raft", method == "sft"
    place = draw("closed book", seed, example_id)
    if closed_book_share <= 0.5:
        return True, place < closed_book_share / (1 - closed_book_share)
    return place < (1 - closed_book_share) / closed_book_share, True


def draw(what: str, seed: int, example_id: str) -> float:
    """A number in [0, 1) that depends on these alone."""
    return int(digest([what, seed, example_id])[:13], 16) / 16.0**13
