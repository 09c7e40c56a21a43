"""One stage in the making of a shipped model: a named run, and its result in a folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rayraft.models.base_files import base_digest
from rayraft.records import digest
from train.config import TrainConfig, deciding_settings
from train.fit import FitResult
from train.run_files import Point, RunPlace

CURVE = "curve.json"


def train_stage(
    folder: Path,
    made_of: dict[str, Any],
    train: TrainConfig,
    base: Path,
    fit: Callable[[TrainConfig, RunPlace], FitResult],
) -> list[Point]:
    """The loss curve of the stage in `folder`; a finished one is not trained again.

    Args:
        folder: Gets the model; its name is the run's.
        made_of: What the rows are made of.
        train: Schedule; its base model is `base`.
        base: Folder of the model to go on from.
        fit: Makes the rows and trains on them.
    """
    if not (folder / CURVE).is_file():
        settings = train.model_copy(update={"base_model": str(base.resolve())})
        decides = [made_of, deciding_settings(settings), base_digest(str(base))]
        runs = str((folder.parent / "runs").resolve())
        result = fit(settings, RunPlace(runs, f"{folder.name}-{digest(decides)[:8]}"))
        folder.mkdir(parents=True, exist_ok=True)
        result.export_to(folder)
        # Last, so that its presence means a finished stage.
        (folder / CURVE).write_text(json.dumps(result.curve), encoding="utf-8")
    curve: list[Point] = json.loads((folder / CURVE).read_text(encoding="utf-8"))
    return curve
