"""Finds the files that a person names: paths, globs, folders, URIs, web pages, sitemaps."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pyarrow.fs as pafs

from data_pipelines.config import ReadingConfig
from data_pipelines.files import is_uri, open_source, suffix_of
from data_pipelines.sitemap import is_sitemap, pages_of
from data_pipelines.web import is_web
from rayraft.errors import InputError

TEXT_SUFFIXES = (".md", ".markdown", ".txt", ".rst", ".org", ".csv", ".tsv")
CONVERTED_SUFFIXES = (".html", ".htm", ".pdf", ".docx", ".pptx", ".xlsx", ".epub", ".zip", ".eml")
ROW_SUFFIXES = (".json", ".jsonl", ".parquet")
SUFFIXES = (*TEXT_SUFFIXES, *CONVERTED_SUFFIXES, *ROW_SUFFIXES)


class SourceFile(NamedTuple):
    """One file to read."""

    path: str
    document_id: str
    """Its path below the folder that was named, or its own name."""


def find_files(
    paths: Sequence[str], config: ReadingConfig | None = None
) -> tuple[list[SourceFile], list[str]]:
    """Files to read, in a fixed order, and the paths of those that are skipped.

    Skipped are unknown extensions, names that are not Unicode, and links that lead out of the
    folder that was named. Hidden files and folders are left out silently.

    Raises:
        InputError: No path, a path that does not exist, or nothing in them that can be read.
    """
    config = config or ReadingConfig()
    if not paths:
        raise InputError("no path given")
    found: list[SourceFile] = []
    skipped: list[str] = []
    for name in paths:
        for source, allowed in _files_of(name, config):
            if not _is_unicode(source.path):
                skipped.append(repr(source.path))
            elif allowed and (is_web(source.path) or suffix_of(source.path) in SUFFIXES):
                found.append(source)
            else:
                skipped.append(source.path)
    if not found:
        raise InputError(
            f"{', '.join(paths)}: no file to read ({len(skipped)} of other kinds); "
            f"known are {' '.join(SUFFIXES)}"
        )
    return found, skipped


def _files_of(name: str, config: ReadingConfig) -> Iterator[tuple[SourceFile, bool]]:
    """The files that a name stands for, and whether each may be read."""
    if is_web(name):
        urls = pages_of(name, config) if is_sitemap(name) else [name]
        yield from ((SourceFile(url, url), True) for url in urls)
        return
    if is_uri(name):
        yield from _files_at(name)
        return
    path = Path(name)
    if name and path.exists():
        yield from _files_below(path)
        return
    matches = sorted(glob.glob(name, recursive=True)) if glob.has_magic(name) else []
    if not matches:
        raise InputError(f"path {name!r} does not exist")
    below = _fixed_part(name)
    for match in matches:
        file = Path(match)
        if file.is_file():
            document_id = file.relative_to(below).as_posix()
            yield SourceFile(str(file), document_id), _is_within(file, below)


def _files_below(path: Path) -> Iterator[tuple[SourceFile, bool]]:
    if path.is_file():
        yield SourceFile(str(path), path.name), True
        return
    for file in _walk(str(path), ()):
        full = os.path.join(str(path), *file)
        if os.path.isfile(full):
            allowed = not os.path.islink(full) or _is_within(Path(full), path)
            yield SourceFile(full, "/".join(file)), allowed


def _walk(folder: str, parts: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Parts of the paths of all files below, in order; links to folders are not followed."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, (*parts, entry.name))
        else:
            yield (*parts, entry.name)


def _files_at(uri: str) -> Iterator[tuple[SourceFile, bool]]:
    filesystem, root = open_source(uri)
    base = uri[: len(uri) - len(root)] if uri.endswith(root) else f"{uri.partition('://')[0]}://"
    info = filesystem.get_file_info(root.rstrip("/") or root)
    if info.type == pafs.FileType.NotFound:
        raise InputError(f"path {uri!r} does not exist")
    if info.type == pafs.FileType.File:
        yield SourceFile(uri, PurePosixPath(root).name), True
        return
    selector = pafs.FileSelector(root.rstrip("/") or root, recursive=True)
    for found in sorted(filesystem.get_file_info(selector), key=lambda item: str(item.path)):
        below = PurePosixPath(found.path).relative_to(root)
        if found.type == pafs.FileType.File and not any(p.startswith(".") for p in below.parts):
            local = isinstance(filesystem, pafs.LocalFileSystem)
            allowed = not local or _is_within(Path(found.path), Path(root))
            yield SourceFile(f"{base}{found.path}", below.as_posix()), allowed


def _fixed_part(pattern: str) -> Path:
    """The folder above the first part of a glob that is not literal."""
    fixed: list[str] = []
    for part in Path(pattern).parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)


def _is_within(file: Path, root: Path) -> bool:
    """Whether the file, links followed, is below the folder."""
    try:
        return file.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a ring of links
        return False


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes of another encoding in a file's name
        return False
    return True
