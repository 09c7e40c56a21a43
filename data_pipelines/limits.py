"""What an untrusted file may cost: size, unpacked size, ratio, nesting."""

import io
import zipfile
from pathlib import PurePosixPath

from data_pipelines.config import ReadingConfig
from data_pipelines.converters import Unreadable

_RATIO_FROM_BYTES = 2**20
"""A member of less than this, unpacked, may be packed as tightly as it likes."""


def check_size(size: int, config: ReadingConfig) -> None:
    """Refuses a file that is too large.

    Raises:
        Unreadable: Over `max_file_mb`.
    """
    if size > config.max_file_mb * 2**20:
        raise Unreadable(f"{size / 2**20:.0f} MB, over max_file_mb={config.max_file_mb}")


def open_archive(data: bytes, config: ReadingConfig) -> zipfile.ZipFile:
    """A ZIP file (DOCX, PPTX, XLSX and EPUB are some) whose directory promises no bomb.

    What the directory says is what `read_member` holds it to.

    Raises:
        Unreadable: It is none, or would unpack to too much.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as exc:
        raise Unreadable(f"not a readable ZIP file: {exc}") from exc
    members = archive.infolist()
    if len(members) > config.max_members:
        raise Unreadable(f"{len(members)} files in it, over max_members={config.max_members}")
    unpacked = sum(member.file_size for member in members)
    if unpacked > config.max_unpacked_mb * 2**20:
        raise Unreadable(
            f"{unpacked / 2**20:.0f} MB unpacked, over max_unpacked_mb={config.max_unpacked_mb}"
        )
    for member in members:
        ratio = member.file_size / max(1, member.compress_size)
        if member.file_size > _RATIO_FROM_BYTES and ratio > config.max_ratio:
            raise Unreadable(
                f"{member.filename!r} is packed 1:{ratio:.0f}, over max_ratio={config.max_ratio}"
            )
    return archive


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """A member's bytes, never more than the directory says.

    Raises:
        Unreadable: It is encrypted, broken, or longer than that.
    """
    try:
        with archive.open(member) as file:
            data = file.read(member.file_size + 1)
    except Exception as exc:  # each packer has its own, such as zlib.error and lzma.LZMAError
        raise Unreadable(f"{member.filename!r} cannot be unpacked: {exc}") from exc
    if len(data) > member.file_size:
        raise Unreadable(f"{member.filename!r} is longer than the archive says")
    return data


def check_member_name(name: str) -> str:
    """A member's path below the archive.

    Raises:
        Unreadable: It leads out of it.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0:1]:
        raise Unreadable(f"{name!r} leads out of the archive")
    return path.as_posix()
