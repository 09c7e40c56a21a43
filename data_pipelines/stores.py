"""What `--store` means: the one rule for folders and URIs, for Lance and for plain files alike."""

import os
import uuid
from contextlib import suppress
from typing import Any

import pyarrow.fs as pafs

from rayraft.errors import InputError


def store_uri(store: str) -> str:
    """The store as every process understands it, without a slash at its end.

    A URI stays as it is. A folder becomes absolute and its `~` the home folder, because Ray's
    workers may run in another folder than the person who named it.
    """
    if "://" in store:
        return store.rstrip("/")
    return os.path.abspath(os.path.expanduser(store))


def open_filesystem(store: str) -> tuple[pafs.FileSystem, str]:
    """The store's file system and the path of its root there.

    Raises:
        InputError: Its scheme is unknown, or it cannot be reached.
    """
    try:
        filesystem, root = pafs.FileSystem.from_uri(store_uri(store))
    except (ValueError, OSError) as exc:
        raise InputError(f"store {store!r}: {' '.join(str(exc).split())}") from exc
    return filesystem, root.rstrip("/")


def exists(filesystem: pafs.FileSystem, path: str) -> bool:
    """Whether there is a file or folder at a path of `open_filesystem`."""
    return bool(filesystem.get_file_info(path).type != pafs.FileType.NotFound)


def write_file(filesystem: Any, path: str, content: bytes) -> None:
    """Writes a file at once: a reader sees the old content or the new one."""
    if not isinstance(filesystem, pafs.LocalFileSystem):
        with filesystem.open_output_stream(path) as stream:
            stream.write(content)
        return
    temporary = f"{path}.{uuid.uuid4().hex}.tmp"  # of this writer alone, on any machine
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            os.remove(temporary)
