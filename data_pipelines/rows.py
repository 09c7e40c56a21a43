"""Documents that are rows of a file: JSONL and Parquet with `id`, `title`, `text` and more."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from data_pipelines.quarantine import Rejected
from data_pipelines.schema import dump_metadata
from data_pipelines.sources import SourceFile
from rayraft.config import explain
from rayraft.records import Document, Metadata

_PARQUET_BATCH_ROWS = 4096


def read_jsonl(source: SourceFile) -> Iterator[Document | Rejected]:
    """One document, or the reason why not, for every line that is not blank."""
    with open(source.path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            uri = f"{source.path}:{number}"
            try:
                row = json.loads(line.decode("utf-8-sig"))
            except (UnicodeDecodeError, ValueError) as exc:
                yield Rejected(uri=uri, reason=f"not JSON in UTF-8: {exc}")
                continue
            except RecursionError:
                yield Rejected(uri=uri, reason="not JSON in UTF-8: nested too deeply")
                continue
            yield document_of_row(row, uri)


def read_parquet(source: SourceFile) -> Iterator[Document | Rejected]:
    """One document, or the reason why not, for every row."""
    try:
        file = pq.ParquetFile(source.path)
        number = 0
        for batch in file.iter_batches(batch_size=_PARQUET_BATCH_ROWS):
            for row in _python_rows(batch):
                number += 1
                uri = f"{source.path}:{number}"
                if isinstance(row, Exception):
                    yield Rejected(uri=uri, reason=f"a value cannot be read: {row}")
                else:
                    yield document_of_row(row, uri)
    except (pa.ArrowException, OSError) as exc:
        yield Rejected(uri=source.path, reason=f"not a readable Parquet file: {exc}")


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
