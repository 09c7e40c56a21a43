"""Files and functions stay short: past these limits they hold more than one concern."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ["rayraft", "data_pipelines", "train", "serve", "bench", "tests", "examples"]
MAX_FILE = 250
MAX_FUNCTION = 60


def sources() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from sorted((ROOT / folder).rglob("*.py"))


def test_no_file_is_too_long():
    long = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert len(long) > 100
    assert {str(path): lines for path, lines in long.items() if lines > MAX_FILE} == {}


def test_no_function_is_too_long():
    long = {}
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > MAX_FUNCTION:
                    long[f"{path.relative_to(ROOT)}:{node.name}"] = lines
    assert long == {}
