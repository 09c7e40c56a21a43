"""Finds the files that a person names on the command line."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rayraft.errors import InputError

TEXT_SUFFIXES = (".md", ".txt")
CONVERTED_SUFFIXES = (".html", ".htm", ".pdf", ".docx")
ROW_SUFFIXES = (".jsonl", ".parquet")
SUFFIXES = (*TEXT_SUFFIXES, *CONVERTED_SUFFIXES, ".csv", *ROW_SUFFIXES)


class SourceFile(NamedTuple):
    """One file to read."""

    path: str
    document_id: str
    """Its path below the folder that was named, or its own name."""


def find_files(paths: Sequence[str]) -> tuple[list[SourceFile], list[str]]:
    """Files to read, in a fixed order, and the paths of those that are skipped.

    Skipped are unknown extensions and names that are not Unicode. Hidden files and folders are
    left out silently.

    Raises:
        InputError: No path, a path that does not exist, a URI, or nothing in them that can be
            read.
    """
    if not paths:
        raise InputError("no path given")
    found: list[SourceFile] = []
    skipped: list[str] = []
    for name in paths:
        for source in _files_of(name):
            if not _is_unicode(source.path):
                skipped.append(repr(source.path))
            elif Path(source.path).suffix.lower() in SUFFIXES:
                found.append(source)
            else:
                skipped.append(source.path)
    if not found:
        raise InputError(
            f"{', '.join(paths)}: no file to read ({len(skipped)} of other kinds); "
            f"known are {' '.join(SUFFIXES)}"
        )
    return found, skipped


def _files_of(name: str) -> Iterator[SourceFile]:
    if "://" in name:
        raise InputError(
            f"path {name!r}: only local paths (or a mounted file system) are read so far"
        )
    path = Path(name)
    if not name or not path.exists():
        raise InputError(f"path {name!r} does not exist")
    if path.is_file():
        yield SourceFile(str(path), path.name)
        return
    for file in sorted(path.rglob("*")):
        below = file.relative_to(path)
        if file.is_file() and not any(part.startswith(".") for part in below.parts):
            yield SourceFile(str(file), below.as_posix())


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes of another encoding in a file's name
        return False
    return True
