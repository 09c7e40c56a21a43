"""Files of one JSON object a line, checked line by line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rayraft.errors import InputError


def read_objects(path: str | Path, what: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each object stands (for messages), and the object. Blank lines are skipped.

    Args:
        path: The file.
        what: It holds, for messages.

    Raises:
        InputError: No such file, not UTF-8, or a line that is no JSON object; names the line.
    """
    for number, line in enumerate(_text(path, what).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        try:
            values = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as exc:
            raise InputError(f"{where}: not JSON ({exc})") from exc
        if not isinstance(values, dict):
            raise InputError(f"{where}: expected a JSON object, not {type(values).__name__}")
        yield where, values


def _text(path: str | Path, what: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise InputError(f"{what} file {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise InputError(f"{what} file {path}: not UTF-8 at byte {exc.start}") from exc
