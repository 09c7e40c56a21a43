"""Every YAML file that is shipped parses into its class."""

from pathlib import Path

import pytest

from rayraft.config import Config, load, read_yaml, validate
from serve.config import AppConfig
from train.config import TrainConfig
from train.mini_config import MiniTraining

ROOT = Path(__file__).parents[2]
PACKAGES = ("rayraft", "data_pipelines", "train", "serve")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.y*ml"))
CLASSES: dict[str, type[Config]] = {"train/mini.yaml": MiniTraining}
"""Files that are not of their folder's class."""
FOLDERS: dict[str, type[Config]] = {"train": TrainConfig}


def config_class(path: Path) -> type[Config]:
    name = path.relative_to(ROOT)
    return CLASSES.get(str(name)) or FOLDERS[name.parts[0]]


def test_configurations_are_shipped_for_training_and_serving():
    assert {path.relative_to(ROOT).parts[0] for path in FILES} >= {"train", "serve"}


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
