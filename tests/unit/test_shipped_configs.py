"""Every YAML file that is shipped parses into its class."""

from pathlib import Path

import pytest

from data_pipelines.config import IngestConfig
from data_pipelines.raft_examples import RaftConfig
from rayraft.config import Config, load, read_yaml, validate
from serve.config import AppConfig
from train.compare.config import MEMORY, READING, CompareConfig
from train.config import TrainConfig
from train.evaluate_config import EvaluateConfig
from train.mini_config import MiniTraining
from train.refresh_config import RefreshConfig
from train.tune_config import TuneConfig

ROOT = Path(__file__).parents[2]
PACKAGES = ("rayraft", "data_pipelines", "train", "serve")
KUBERNETES = ROOT / "serve/kuberay.yaml"
"""Checked by tests/ray/test_kuberay_yaml.py."""
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.y*ml"))
TEMPLATES = ROOT / "train/lookups.yaml"
"""Of training rows; test_lookups.py writes with it."""
FILES = [path for path in FILES if path not in (KUBERNETES, TEMPLATES)]
CLASSES: dict[str, type[Config]] = {
    "data_pipelines/ingest": IngestConfig,
    "data_pipelines/raft": RaftConfig,
    "train/compare": CompareConfig,
    "train/evaluate": EvaluateConfig,
    "train/mini": MiniTraining,
    "train/refresh": RefreshConfig,
    "train/tune": TuneConfig,
    "train/": TrainConfig,
}
"""By the beginning of the path; the first that fits."""


def config_class(path: Path) -> type[Config]:
    name = str(path.relative_to(ROOT))
    return next(cls for start, cls in CLASSES.items() if name.startswith(start))


def test_every_stage_ships_a_configuration():
    assert {path.relative_to(ROOT).parts[0] for path in FILES} >= {
        "data_pipelines",
        "train",
        "serve",
    }


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.parent.name != "serve"], ids=lambda path: path.name
)
def test_a_shipped_file_parses_into_its_class(path: Path):
    load(config_class(path), path)


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.parent.name == "serve"], ids=lambda path: path.name
)
def test_the_args_of_a_shipped_serve_application_parse(path: Path):
    applications = read_yaml(path)["applications"]

    assert applications
    for application in applications:
        validate(AppConfig, application["args"], source=str(path))


def test_a_comparison_trains_by_default_as_the_shipped_files_say():
    assert load(TrainConfig, ROOT / "train/lora.yaml") == READING
    assert load(TrainConfig, ROOT / "train/sft.yaml") == MEMORY
