"""Text files to text and fields: Markdown, plain text, CSV."""

import codecs
import csv
import io
import re
from typing import Any

import yaml
from charset_normalizer import from_bytes

from data_pipelines.converters import Unreadable

_FRONT_MATTER = re.compile(
    r"\A---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE
)
_FIRST_HEADING = re.compile(r"^#{1,2}[ \t]+(.+?)[ \t#]*$", re.MULTILINE)
_DELIMITERS = ",;\t|"

_YAML_ERRORS = (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError)
"""Its constructors let their own errors out: of a 30 February, `!!timestamp x`, deep nesting."""


def decode_text(data: bytes) -> str:
    """Text of unknown encoding: UTF-8 if it can be, else the most likely one.

    Raises:
        Unreadable: It is not text.
    """
    try:
        text = data.decode(_wide(data) or "utf-8-sig")
    except UnicodeDecodeError:
        best = from_bytes(data).best()
        if best is None:
            raise Unreadable("not text in any known encoding") from None
        text = str(best)
    if "\0" in text:
        raise Unreadable("not text: holds NUL characters")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _wide(data: bytes) -> str | None:
    """The encoding of a text in wide characters: by its mark, else by where its zeros are."""
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    # Mostly Latin letters without a mark: every other byte is 0.
    even, odd = data[:1024:2].count(0), data[1:1024:2].count(0)
    if min(even, odd) or 2 * max(even, odd) < 0.8 * len(data[:1024]) or len(data) < 4:
        return None
    return "utf-16-be" if even else "utf-16-le"


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


def with_title(text: str) -> tuple[str, dict[str, Any]]:
    """The text, and its first heading as its title."""
    heading = _FIRST_HEADING.search(text)
    return text, {"title": heading.group(1)} if heading else {}


def read_markdown(data: bytes) -> tuple[str, dict[str, Any]]:
    """The text below the front matter, and what that says."""
    text, fields = split_front_matter(decode_text(data))
    _, heading = with_title(text)
    return text, {**heading, **{key: value for key, value in fields.items() if value is not None}}


def read_text(data: bytes) -> tuple[str, dict[str, Any]]:
    """The text as it is."""
    return decode_text(data), {}


def read_csv(data: bytes) -> tuple[str, dict[str, Any]]:
    """The rows as a list.

    Raises:
        Unreadable: It is not CSV.
    """
    # Each row names its columns, because chunks and readers do not see the header line.
    text = decode_text(data)
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
