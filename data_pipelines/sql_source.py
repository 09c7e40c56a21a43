"""Rows of a database as documents: the query says which columns are `id`, `title`, `text`, `acl`.

Every other column becomes metadata. Ray Data runs the query; the drivers of servers are the user's.
"""

import functools
import re
import sqlite3
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pyarrow as pa

from data_pipelines.ingest_reading import FILE_KEYS, READ_SCHEMA, read_row
from data_pipelines.rows import document_of_row
from rayraft.errors import InputError

_DRIVERS = {"postgresql": "psycopg", "postgres": "psycopg", "mysql": "pymysql"}

_ERROR_LINE = re.compile(r"[\w.]*(?:Error|Exception): ")


class Query(NamedTuple):
    """What to ask where."""

    sql: str
    dsn: str

    @property
    def name(self) -> str:
        """The database without its password; documents' `uri` begins with it."""
        return re.sub(r"//[^/@]*@", "//", self.dsn.partition("?")[0])


def check_query(query: Query) -> Callable[[], Any]:
    """What opens the database; can be sent to another process.

    Raises:
        InputError: An unknown kind of database, one that is not there, or no driver for it.
    """
    scheme = urlsplit(query.dsn).scheme
    if scheme == "sqlite":
        path = query.dsn.removeprefix("sqlite:///")
        connect = functools.partial(_open_sqlite, path)
        try:
            connect().close()
        except sqlite3.Error as exc:
            raise InputError(f"--dsn {query.name}: {exc}") from exc
        return connect
    if scheme not in _DRIVERS:
        raise InputError(
            f"--dsn {query.name}: expected sqlite:///FILE, postgresql://... or mysql://..."
        )
    try:
        import_module(_DRIVERS[scheme])
    except ImportError as exc:
        raise InputError(f"--dsn {query.name}: pip install {_DRIVERS[scheme]} first") from exc
    return functools.partial(_open_server, query.dsn)


def read_query(query: Query, number: int) -> pa.Table:
    """The documents of the query's rows, in `READ_SCHEMA`; their keys are those of file `number`.

    Ray must be running.

    Raises:
        InputError: The database refuses the query.
    """
    connect = check_query(query)
    import ray.data

    rows = ray.data.read_sql(query.sql, connect, override_num_blocks=1)
    try:
        tables = list(_documents(rows.iter_batches(batch_format="pyarrow"), query, number))
    except Exception as exc:  # each driver has its own errors, and Ray wraps them
        raise InputError(f"--sql: {_drivers_words(exc)}") from exc
    return pa.concat_tables([READ_SCHEMA.empty_table(), *tables])


def _drivers_words(error: Exception) -> str:
    """The line of the driver's own error in what Ray makes of it; else the last line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    own = [line for line in lines if _ERROR_LINE.match(line) and not line.startswith("ray.")]
    return (own or lines or [type(error).__name__])[-1]


def _documents(batches: Any, query: Query, number: int) -> Iterator[pa.Table]:
    place = 0
    for batch in batches:
        rows = []
        for row in batch.to_pylist():
            place += 1
            found = document_of_row(row, f"{query.name}:{place}")
            rows.append(read_row(number * FILE_KEYS + place, found))
        yield pa.Table.from_pylist(rows, schema=READ_SCHEMA)


def _open_sqlite(path: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True)


def _open_server(dsn: str) -> Any:
    parts = urlsplit(dsn)
    driver = import_module(_DRIVERS[parts.scheme])
    if driver.__name__ == "psycopg":
        return driver.connect(dsn)
    return driver.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=parts.username,
        password=parts.password,
        database=parts.path.lstrip("/"),
    )
