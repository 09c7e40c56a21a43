"""Quality where what is shown is chosen by hand: distractors, contradictions, no golden passage."""

from collections.abc import Sequence
from typing import Any

from data_pipelines.progress import Advance
from rayraft.metrics import bootstrap_interval
from rayraft.records import Question
from train.compare.arms import Arm
from train.compare.asking import Desk, ask_all
from train.compare.canaries import choose_answerable
from train.compare.conditions import ABSENT, CONTRADICTING, DISTRACTORS, REWORDED, SHUFFLED
from train.compare.config import RobustnessSettings
from train.compare.figures import defined, mean
from train.compare.rows import Task


def conditions_of(settings: RobustnessSettings) -> list[str]:
    """All conditions; the first is the answer as the service gives it."""
    shown = [f"{DISTRACTORS}{n}" for n in settings.distractors]
    return ["", *shown, ABSENT, CONTRADICTING, SHUFFLED, REWORDED]


def run_robustness(
    desk: Desk,
    arms: Sequence[Arm],
    questions: Sequence[Question],
    settings: RobustnessSettings,
    progress: Advance,
) -> dict[str, Any]:
    """Condition -> arm -> token F1 with interval, and the shares of abstaining and hallucinating.

    Where the golden passage is absent no answer can be right but by heart: abstaining is what is
    wanted, and the figure to look at is `abstained`.
    """
    chosen = choose_answerable(questions, settings.questions)
    readers = [arm for arm in arms if arm.retrieves]
    tasks = [
        Task(arm=arm.name, question=question, condition=condition)
        for condition in conditions_of(settings)
        for arm in readers
        for question in chosen
    ]
    found: dict[str, Any] = {}
    rows = ask_all(desk, tasks, progress)
    for condition in conditions_of(settings):
        found[condition or "as asked"] = {}
        for arm in readers:
            own = [row for row in rows if (row.arm, row.condition) == (arm.name, condition)]
            if own:
                scores = defined(own, "token_f1")
                found[condition or "as asked"][arm.name] = {
                    "n": len(own),
                    "token_f1": mean(scores),
                    "ci95": bootstrap_interval(scores),
                    "abstained": mean([float(row.abstained) for row in own]),
                    "hallucination": mean(defined(own, "hallucination")),
                }
    return found
