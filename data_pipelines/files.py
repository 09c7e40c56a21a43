"""Bytes of a source file, wherever it is: on this machine or at a URI that pyarrow knows."""

import os
from pathlib import PurePosixPath

import pyarrow.fs as pafs

from rayraft.errors import InputError


def is_uri(path: str) -> bool:
    """Whether it is no path of this machine."""
    return "://" in path


def open_source(uri: str) -> tuple[pafs.FileSystem, str]:
    """The file system of a URI and the path there.

    Raises:
        InputError: Its scheme is unknown, or it cannot be reached.
    """
    try:
        filesystem, path = pafs.FileSystem.from_uri(uri)
    except (ValueError, OSError) as exc:
        raise InputError(f"path {uri!r}: {' '.join(str(exc).split())}") from exc
    return filesystem, path


def size_and_time(path: str) -> tuple[int, int]:
    """Bytes, and nanoseconds since 1970 at which the file was last changed.

    Raises:
        OSError: It cannot be looked at.
    """
    if path.lower().startswith(("http://", "https://")):
        raise FileNotFoundError(f"{path}: a page says nothing of its change")
    if not is_uri(path):
        status = os.stat(path)
        return status.st_size, status.st_mtime_ns
    filesystem, inner = open_source(path)
    info = filesystem.get_file_info(inner)
    if info.type != pafs.FileType.File:
        raise FileNotFoundError(f"{path}: no file")
    return int(info.size or 0), int(info.mtime_ns or 0)


def read_bytes(path: str) -> bytes:
    """The whole file.

    Raises:
        OSError: It cannot be read.
    """
    if not is_uri(path):
        with open(path, "rb") as file:
            return file.read()
    filesystem, inner = open_source(path)
    with filesystem.open_input_stream(inner, compression=None) as stream:
        return bytes(stream.read())


def suffix_of(path: str) -> str:
    """The extension in small letters, with its dot."""
    return PurePosixPath(path.replace("\\", "/")).suffix.lower()
