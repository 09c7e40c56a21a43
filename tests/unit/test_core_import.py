"""The core is importable, quickly, where ray and torch are not."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

IMPORT_ALL = """
import importlib, pkgutil, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("ray", "torch", "transformers", "deepspeed", "peft"):
            raise ModuleNotFoundError(f"{name} must not be needed here", name=name)

sys.meta_path.insert(0, Absent())
import rayraft
names = [
    info.name
    for info in pkgutil.walk_packages(rayraft.__path__, "rayraft.")
    if not info.name.startswith(("rayraft.models", "rayraft.mini"))
]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_core_imports_with_ray_and_torch_absent():
    # walk_packages imports the packages that it meets, so rayraft.models must not fail either.
    result = run(IMPORT_ALL)

    assert result.returncode == 0, result.stderr
    assert int(result.stdout) >= 10


def test_mounting_every_stage_imports_neither_ray_nor_torch():
    result = run(
        "import sys, rayraft.cli\n"
        "rayraft.cli.build_app()\n"
        "print(sorted({'ray', 'torch', 'transformers', 'lance', 'faiss'} & set(sys.modules)))"
    )

    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"
