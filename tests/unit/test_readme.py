"""The README tells the truth: what it names is there."""

import re
from pathlib import Path

import pytest

from rayraft.cli import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
README = PAGES[0].read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page: Path):
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_command_shown_exists():
    known = {mounted.name for mounted in COMMANDS} | {"version"}
    assert set(re.findall(r"^ +rayraft (\w+)", README, re.MULTILINE)) <= known


def test_every_make_target_shown_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    shown = set(re.findall(r"\bmake ([a-z][\w-]*)\b", re.sub(r"and make are", "", README)))
    assert shown
    assert shown <= targets


def test_every_module_run_in_the_readme_has_a_main():
    modules = set(re.findall(r"python -m ([\w.]+)", README))
    assert modules
    assert [name for name in modules if not (ROOT / name / "__main__.py").is_file()] == []


def test_every_path_in_the_commands_exists():
    paths = set(re.findall(r"(?<![\w/.])((?:examples|serve|train)/[\w./-]+)", README))
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []
