"""What an installation that is no checkout gets: `cluster.yaml` and container images have one."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEFT = {"__pycache__", ".mypy_cache", ".ruff_cache"}


def test_every_file_of_a_package_is_installed_with_it():
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    packages, data = tool["setuptools"]["packages"], tool["setuptools"]["package-data"]
    folders = {name: ROOT.joinpath(*name.split(".")) for name in packages}
    installed: set[Path] = set()
    for name, folder in folders.items():
        # As setuptools reads it: patterns are of the package's own folder, `*` stops at a slash.
        for pattern in ("*.py", *data["*"], *data.get(name, ())):
            installed |= {path for path in folder.glob(pattern) if path.is_file()}
    roots = {folders[name] for name in packages if "." not in name}
    there = {path for root in roots for path in root.rglob("*") if path.is_file()}
    missing = {path for path in there - installed if not LEFT & set(path.parts)}
    assert not missing, sorted(str(path.relative_to(ROOT)) for path in missing)
