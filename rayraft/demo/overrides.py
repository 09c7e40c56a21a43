"""`stage.section.key=value`: overrides that the demo hands on to the command of one stage."""

import importlib
from collections.abc import Sequence

from rayraft.config import apply_overrides, validate
from rayraft.errors import InputError

CONFIGURATIONS = {
    "ingest": ("data_pipelines.config", "IngestConfig"),
    "raft": ("data_pipelines.raft_examples", "RaftConfig"),
    "train": ("train.config", "TrainConfig"),
    "evaluate": ("train.evaluate_config", "EvaluateConfig"),
    "serve": ("serve.config", "AppConfig"),
}
"""Stage -> module and name of its configuration class, imported by name as the front's commands."""


def by_stage(overrides: Sequence[str]) -> dict[str, list[str]]:
    """The overrides of each stage, without the stage's name, checked before anything runs.

    Raises:
        InputError: An override names no stage.
        ConfigError: A stage knows no such key, or not this value.
    """
    sorted_out: dict[str, list[str]] = {stage: [] for stage in CONFIGURATIONS}
    for override in overrides:
        stage, dot, rest = override.partition(".")
        if not dot or stage not in CONFIGURATIONS or "=" in stage:
            known = ", ".join(CONFIGURATIONS)
            raise InputError(
                f"override {override!r}: expected stage.key=value, stage one of {known}"
            )
        sorted_out[stage].append(rest)
    for stage, given in sorted_out.items():
        values: dict[str, object] = {}
        apply_overrides(values, given)
        module, name = CONFIGURATIONS[stage]
        validate(getattr(importlib.import_module(module), name), values, source=stage)
    return sorted_out
