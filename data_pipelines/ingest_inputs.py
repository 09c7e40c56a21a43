"""What a run has to read, and what of it: files that are as they were are not opened."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from data_pipelines.config import IngestConfig
from data_pipelines.files import size_and_time, suffix_of
from data_pipelines.ingest import Found, is_stored
from data_pipelines.ingest_reading import FILE_KEYS, SUMMARY, read_numbered, summarise
from data_pipelines.quarantine import Rejected
from data_pipelines.source_state import SourceState, Stamp
from data_pipelines.sources import CONVERTED_SUFFIXES, SourceFile
from data_pipelines.sql_source import Query, read_query
from rayraft.errors import InputError
from rayraft.records import digest

READERS = 2
"""Raised when a reader makes other text of the same file: every file is then read again."""

_CONVERTED_WEIGHT = 20
"""Reading a byte of PDF takes about so many times as long as one of text."""


@dataclass(frozen=True)
class RunOptions:
    """What a run does beside reading what is new."""

    sync: bool = False
    """Removes stored documents that the source does not hold."""
    dry_run: bool = False
    """Changes nothing and says what would be changed."""
    query: Query | None = None
    """Rows of a database that are part of the source."""
    start_ray: Callable[[], None] = lambda: None
    """Called before Ray is used; many runs never do."""


@dataclass(frozen=True)
class Inputs:
    """The documents of the source."""

    found: list[Found]
    rejected: list[Rejected]
    documents: Any
    """The rows that were read, in `READ_SCHEMA`: a table, or a dataset of Ray Data."""
    files_read: int


def read_inputs(
    files: Sequence[SourceFile],
    stored: Mapping[str, str],
    config: IngestConfig,
    state: SourceState,
    options: RunOptions,
) -> Inputs:
    """Reads the files that are new or changed, or whose documents are not stored as they are.

    Args:
        files: All files of the source.
        stored: `document_hash` by document id.
        config: The job's.
        state: What earlier runs read; brought up to date, not saved.
        options: The query, and how Ray is started.
    """
    settings = digest([READERS, config.reading.model_dump(exclude=_NOT_OF_TEXT)])[:16]
    stamps = [Stamp.of(file, settings) for file in files]
    rows: list[dict[str, Any]] = []
    unread: list[tuple[int, SourceFile]] = []
    for number, (file, stamp) in enumerate(zip(files, stamps, strict=True)):
        before = state.rows(file, stamp)
        if before is not None and _all_stored(before, stored, config.chunking.label):
            rows += [{**row, "key": number * FILE_KEYS + row["place"]} for row in before]
        else:
            unread.append((number, file))
    documents, new = _read(unread, config, options.start_ray)
    if options.query:
        options.start_ray()
        asked = read_query(options.query, len(files))
        documents = _joined(documents, asked)
        rows += asked.select(SUMMARY).to_pylist()
    by_file: dict[int, list[dict[str, Any]]] = {}
    for row in new:
        number, place = divmod(row["key"], FILE_KEYS)
        by_file.setdefault(number, []).append({**row, "place": place})
    for number, file in unread:
        state.keep(file, stamps[number], by_file.get(number, []))
    found, rejected = summarise(rows + new)
    return Inputs(found, rejected, documents, len(unread))


_NOT_OF_TEXT = {"files_per_task", "in_process_mb"}
"""Settings of reading that do not change what is read."""


def _all_stored(rows: Sequence[dict[str, Any]], stored: Mapping[str, str], chunking: str) -> bool:
    return all(
        is_stored(Found(0, row["document_id"], row["content_hash"], ""), document_hash, chunking)
        for row in rows
        if row["reason"] is None
        for document_hash in [stored.get(row["document_id"], "")]
    )


def _read(
    unread: Sequence[tuple[int, SourceFile]],
    config: IngestConfig,
    start_ray: Callable[[], None],
) -> tuple[Any, list[dict[str, Any]]]:
    if sum(_weight(file) for _, file in unread) <= config.reading.in_process_mb * 2**20:
        table: pa.Table = read_numbered(unread, config.reading)
        return table, table.select(SUMMARY).to_pylist()
    start_ray()
    from data_pipelines import ingest_ray

    documents = ingest_ray.read(unread, config.reading)
    return documents, ingest_ray.summary(documents)


def _joined(documents: Any, asked: pa.Table) -> Any:
    if isinstance(documents, pa.Table):
        return pa.concat_tables([documents, asked])
    from data_pipelines.ray_tables import from_tables

    return documents.union(from_tables([asked]))


def _weight(file: SourceFile) -> int:
    try:
        size = size_and_time(file.path)[0]
    except (OSError, InputError):
        return 0
    return size * (_CONVERTED_WEIGHT if suffix_of(file.path) in CONVERTED_SUFFIXES else 1)
