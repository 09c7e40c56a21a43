"""Files to documents. A file that cannot be read gives the reason instead; nothing is raised.

It knows nothing of Ray and of the store. Archives and mails are in `containers.py`.
"""

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from data_pipelines.config import ReadingConfig
from data_pipelines.containers import read_mail, read_zip
from data_pipelines.contents import Content
from data_pipelines.converters import Unreadable
from data_pipelines.files import read_bytes, size_and_time
from data_pipelines.limits import check_size, open_archive
from data_pipelines.quarantine import Rejected
from data_pipelines.rows import build_document, read_json, read_jsonl, read_parquet
from data_pipelines.sandbox import convert_apart
from data_pipelines.sources import SUFFIXES, SourceFile
from data_pipelines.text_formats import (
    decode_text,
    read_csv,
    read_markdown,
    read_text,
    with_title,
)
from data_pipelines.web import Page, fetch, is_web
from rayraft.errors import InputError
from rayraft.records import Document

_ZIPPED = (".docx", ".pptx", ".xlsx", ".epub")


def read_file(
    source: SourceFile, config: ReadingConfig | None = None
) -> Iterator[Document | Rejected]:
    """The file's documents, and what could not be read, with the reason."""
    config = config or ReadingConfig()
    name = source.document_id
    try:
        if is_web(source.path):
            page = fetch(source.path, config)
            name, data = f"{_page_name(page)}{page.suffix}", page.data
        else:
            check_size(size_and_time(source.path)[0], config)
            data = read_bytes(source.path)
            check_size(len(data), config)  # it may have grown
    except (Unreadable, OSError, InputError) as exc:
        yield _rejected(source.path, source.document_id, exc)
        return
    content = Content(source.document_id, source.path, name, data, 0)
    yield from read_content(content, config)


def read_content(content: Content, config: ReadingConfig) -> Iterator[Document | Rejected]:
    """The documents in the bytes of a file, by its name's extension."""
    suffix = content.suffix
    try:
        if suffix in _MANY:
            yield from _MANY[suffix](content)
        elif suffix in _NESTED:
            yield from _NESTED[suffix](content, config, read_content)
        elif suffix in SUFFIXES:
            yield _read_one(content, suffix, config)
        else:
            raise Unreadable(f"of an unknown kind: {suffix or 'no extension'}")
    except (Unreadable, OSError) as exc:
        yield _rejected(content.uri, content.document_id, exc)


def readable_name(name: str) -> str:
    """The file's name as a title: `returns_policy.md` is "returns policy"."""
    stem = PurePosixPath(name.rpartition("!")[2]).stem
    return " ".join(stem.replace("_", " ").split())


def _page_name(page: Page) -> str:
    parts = urlsplit(page.url)
    return PurePosixPath(parts.path).stem or parts.hostname or "page"


def _read_one(content: Content, suffix: str, config: ReadingConfig) -> Document | Rejected:
    if suffix in _TEXTS:
        text, fields = _TEXTS[suffix](content.data)
    else:
        text, fields = _convert(content.data, suffix, config)
    fields = {**fields, "title": fields.get("title") or readable_name(content.name)}
    return build_document(content.document_id, content.uri, text, fields)


def _convert(data: bytes, suffix: str, config: ReadingConfig) -> tuple[str, dict[str, Any]]:
    if suffix in (".html", ".htm"):
        # Decoded here, because the converter takes every page for UTF-8.
        return with_title(convert_apart(".html", decode_text(data).encode(), config))
    if suffix in _ZIPPED:
        open_archive(data, config).close()
    return with_title(convert_apart(suffix, data, config))


def _rejected(uri: str, document_id: str, error: Exception) -> Rejected:
    reason = " ".join(str(error).split())[:500] or type(error).__name__
    return Rejected(uri=uri, document_id=document_id[:1024], reason=reason)


_TEXTS: dict[str, Callable[[bytes], tuple[str, dict[str, Any]]]] = {
    ".md": read_markdown,
    ".markdown": read_markdown,
    ".txt": read_text,
    ".rst": read_text,
    ".org": read_text,
    ".csv": read_csv,
    ".tsv": read_csv,
}
_MANY: dict[str, Callable[[Content], Iterator[Document | Rejected]]] = {
    ".json": read_json,
    ".jsonl": read_jsonl,
    ".parquet": read_parquet,
}
_NESTED: dict[str, Callable[..., Iterator[Document | Rejected]]] = {
    ".zip": read_zip,
    ".eml": read_mail,
}
