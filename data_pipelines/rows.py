"""Documents that are rows of a JSON, JSONL or Parquet file: `id`, `title`, `text` and more."""

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from data_pipelines.contents import Content
from data_pipelines.converters import Unreadable
from data_pipelines.quarantine import Rejected
from data_pipelines.schema import dump_metadata
from rayraft.config import explain
from rayraft.records import Document, Metadata

_PARQUET_BATCH_ROWS = 4096


def read_jsonl(content: Content) -> Iterator[Document | Rejected]:
    """One document, or the reason why not, for every line that is not blank."""
    for number, line in enumerate(io.BytesIO(content.data), start=1):
        if not line.strip():
            continue
        uri = f"{content.uri}:{number}"
        row = _parse(line)
        yield Rejected(uri=uri, reason=str(row)) if _failed(row) else document_of_row(row, uri)


def read_json(content: Content) -> Iterator[Document | Rejected]:
    """A list of rows as documents; an object with `text` as one, any other as its fields' text."""
    value = _parse(content.data)
    if _failed(value):
        yield Rejected(uri=content.uri, document_id=content.document_id, reason=str(value))
    elif isinstance(value, list):
        for number, row in enumerate(value, start=1):
            yield document_of_row(row, f"{content.uri}:{number}")
    elif isinstance(value, dict) and "text" in value:
        yield document_of_row({"id": content.document_id, **value}, content.uri)
    elif isinstance(value, dict):
        fields = {"acl": value.pop("acl", None), "title": value.get("title")}
        text = "\n".join(f"{'.'.join(path)}: {leaf}" for path, leaf in _leaves(value, ()))
        yield build_document(content.document_id, content.uri, text, fields)
    else:
        reason = "neither an object nor a list of them"
        yield Rejected(uri=content.uri, document_id=content.document_id, reason=reason)


def _parse(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, ValueError) as exc:
        return Unreadable(f"not JSON in UTF-8: {exc}")
    except RecursionError:
        return Unreadable("not JSON in UTF-8: nested too deeply")


def _failed(value: Any) -> bool:
    return isinstance(value, Unreadable)


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, (*path, str(name)))
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, path)
    elif value is not None:
        yield path, value


def read_parquet(content: Content) -> Iterator[Document | Rejected]:
    """One document, or the reason why not, for every row."""
    try:
        file = pq.ParquetFile(io.BytesIO(content.data))
        number = 0
        for batch in file.iter_batches(batch_size=_PARQUET_BATCH_ROWS):
            for row in _python_rows(batch):
                number += 1
                uri = f"{content.uri}:{number}"
                if isinstance(row, Exception):
                    yield Rejected(uri=uri, reason=f"a value cannot be read: {row}")
                else:
                    yield document_of_row(row, uri)
    except (pa.ArrowException, OSError) as exc:
        yield Rejected(uri=content.uri, reason=f"not a readable Parquet file: {exc}")


def _python_rows(batch: pa.RecordBatch) -> list[Any]:
    """The rows as Python values; in place of one that has none, the error that says why."""
    try:
        rows: list[Any] = batch.to_pylist()
    except (ValueError, ArithmeticError) as exc:  # no UTF-8, a date after the year 9999
        if batch.num_rows == 1:
            return [exc]
        half = batch.num_rows // 2
        return _python_rows(batch.slice(0, half)) + _python_rows(batch.slice(half))
    return rows


def document_of_row(row: Any, uri: str) -> Document | Rejected:
    """The document of a row, or why it is none."""
    if not isinstance(row, Mapping):
        return Rejected(uri=uri, reason="not an object with id and text")
    fields = dict(row)
    document_id = fields.pop("id", None)
    if isinstance(document_id, bool) or not isinstance(document_id, str | int):
        return Rejected(uri=uri, reason="id is missing or neither text nor a whole number")
    return build_document(str(document_id), uri, fields.pop("text", None), fields)


def build_document(
    document_id: str, uri: str, text: object, fields: dict[str, Any]
) -> Document | Rejected:
    """The document, or why it is none.

    Args:
        document_id: Its id.
        uri: Where it was read from.
        text: Its text; a blank one is a reason.
        fields: `title`, `acl` and any metadata; nested values are kept as JSON.
    """
    if not isinstance(text, str) or not text.strip():
        return _rejected(uri, document_id, "text is missing or blank")
    fields = dict(fields)
    title = fields.pop("title", None)
    try:
        document = Document(
            document_id=document_id,
            title=" ".join(str(title).split()) if title is not None else "",
            text=text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", ""),
            acl=parse_acl(fields.pop("acl", None)),
            metadata=flat_metadata(fields),
            uri=uri,
        )
        # JSON may hold half of a surrogate pair: no text at all.
        for part in (document_id, document.title, document.text, *document.acl):
            part.encode()
        dump_metadata(document.metadata).encode()
        return document
    except ValidationError as exc:
        return _rejected(uri, document_id, explain(exc))
    except ValueError as exc:
        return _rejected(uri, document_id, str(exc))


def _rejected(uri: str, document_id: str, reason: str) -> Rejected:
    known_id = document_id[:1024].encode(errors="replace").decode()
    return Rejected(uri=uri, document_id=known_id, reason=reason[:500])


def parse_acl(value: Any) -> list[str]:
    """Groups from a list or a comma-separated text; absent means everybody.

    Raises:
        ValueError: Anything else. A malformed list must never make a document public.
    """
    if value is None:
        return []
    groups = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(groups, list | tuple) or not all(
        isinstance(group, str) and group.strip() for group in groups
    ):
        raise ValueError(f"acl={value!r}: expected a list of group names")
    return sorted({group.strip() for group in groups})


def flat_metadata(fields: Mapping[str, Any]) -> Metadata:
    """Scalars as they are, dates in ISO form, anything nested as JSON; None is left out.

    Raises:
        ValueError: A nested value has no JSON form.
    """
    flat: Metadata = {}
    for name, value in fields.items():
        if value is None:
            continue
        if isinstance(value, str | int | float | bool):
            flat[str(name)] = value
        elif hasattr(value, "isoformat"):
            flat[str(name)] = value.isoformat()
        else:
            flat[str(name)] = _nested(str(name), value)
    return flat


def _nested(name: str, value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    except (TypeError, RecursionError) as exc:  # keys of several kinds; nested too deeply
        raise ValueError(f"{name} has no form in JSON: {exc}") from exc
