"""Files to documents. A file that cannot be read gives the reason instead; nothing is raised.

It knows nothing of Ray and of the store.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from charset_normalizer import from_bytes

from data_pipelines.converters import Unreadable, convert
from data_pipelines.quarantine import Rejected
from data_pipelines.rows import build_document, read_jsonl, read_parquet
from data_pipelines.sources import SourceFile
from rayraft.records import Document

_FRONT_MATTER = re.compile(
    r"\A---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE
)
_FIRST_HEADING = re.compile(r"^#{1,2}[ \t]+(.+?)[ \t#]*$", re.MULTILINE)
_DELIMITERS = ",;\t|"

_YAML_ERRORS = (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError)
"""Its constructors let their own errors out: of a 30 February, `!!timestamp x`, deep nesting."""


def read_file(source: SourceFile, max_file_mb: int) -> Iterator[Document | Rejected]:
    """The file's documents, and what could not be read, with the reason."""
    path = Path(source.path)
    suffix = path.suffix.lower()
    try:
        size = path.stat().st_size
        if size > max_file_mb * 2**20:
            raise Unreadable(f"{size / 2**20:.0f} MB, over max_file_mb={max_file_mb}")
        if suffix == ".jsonl":
            yield from read_jsonl(source)
        elif suffix == ".parquet":
            yield from read_parquet(source)
        else:
            text, fields = _READERS[suffix](path)
            fields = {**fields, "title": fields.get("title") or readable_name(path)}
            yield build_document(source.document_id, source.path, text, fields)
    except (Unreadable, OSError) as exc:
        reason = " ".join(str(exc).split())[:500] or type(exc).__name__
        yield Rejected(uri=source.path, document_id=source.document_id, reason=reason)


def readable_name(path: Path) -> str:
    """The file's name as a title: `returns_policy.md` is "returns policy"."""
    return " ".join(path.stem.replace("_", " ").split())


def decode_text(data: bytes) -> str:
    """Text of unknown encoding: UTF-8 if it can be, else the most likely one.

    Raises:
        Unreadable: It is not text.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        best = from_bytes(data).best()
        if best is None:
            raise Unreadable("not text in any known encoding") from None
        text = str(best)
    if "\0" in text:
        raise Unreadable("not text: holds NUL characters")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def split_front_matter(text: str) -> tuple[str, dict[str, Any]]:
    """The text below its YAML front matter, and that mapping.

    Raises:
        Unreadable: It begins like front matter and is no YAML mapping; an `acl` in it would be
            lost.
    """
    match = _FRONT_MATTER.match(text)
    if not match:
        return text, {}
    try:
        fields = yaml.safe_load(match.group(1))
    except _YAML_ERRORS as exc:
        raise Unreadable(f"front matter is not YAML: {type(exc).__name__}: {exc}") from exc
    if fields is None:
        fields = {}
    if not isinstance(fields, dict):
        raise Unreadable("front matter is not a mapping")
    return text[match.end() :].lstrip("\n"), {str(key): value for key, value in fields.items()}


def _read_markdown(path: Path) -> tuple[str, dict[str, Any]]:
    text, fields = split_front_matter(decode_text(path.read_bytes()))
    _, heading = _with_title(text)
    return text, {**heading, **{key: value for key, value in fields.items() if value is not None}}


def _read_text(path: Path) -> tuple[str, dict[str, Any]]:
    return decode_text(path.read_bytes()), {}


def _read_csv(path: Path) -> tuple[str, dict[str, Any]]:
    # Each row names its columns, because chunks and readers do not see the header line.
    text = decode_text(path.read_bytes())
    try:
        dialect: Any = csv.Sniffer().sniff(text[:4096], delimiters=_DELIMITERS)
    except csv.Error:
        dialect = csv.excel
    try:
        header, *rows = csv.reader(io.StringIO(text), dialect, strict=True)
    except (csv.Error, ValueError) as exc:
        raise Unreadable(f"not CSV: {exc}") from exc
    lines = [_csv_line(header, row) for row in rows if any(cell.strip() for cell in row)]
    return "".join(lines), {}


def _csv_line(header: list[str], row: list[str]) -> str:
    names = [*header, *("" for _ in row[len(header) :])]
    cells = [
        f"{name.strip()}: {value.strip()}" if name.strip() else value.strip()
        for name, value in zip(names, row, strict=False)
        if value.strip()
    ]
    return f"- {'; '.join(cells)}\n"


def _read_html(path: Path) -> tuple[str, dict[str, Any]]:
    # Decoded here, because the converter takes every page for UTF-8.
    return _with_title(convert(".html", decode_text(path.read_bytes()).encode()))


def _read_converted(path: Path) -> tuple[str, dict[str, Any]]:
    return _with_title(convert(path.suffix.lower(), path.read_bytes()))


def _with_title(text: str) -> tuple[str, dict[str, Any]]:
    heading = _FIRST_HEADING.search(text)
    return text, {"title": heading.group(1)} if heading else {}


_READERS: dict[str, Callable[[Path], tuple[str, dict[str, Any]]]] = {
    ".md": _read_markdown,
    ".txt": _read_text,
    ".csv": _read_csv,
    ".html": _read_html,
    ".htm": _read_html,
    ".pdf": _read_converted,
    ".docx": _read_converted,
}
