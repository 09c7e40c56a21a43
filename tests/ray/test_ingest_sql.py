"""Rows of a database as documents, through Ray Data."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from data_pipelines.config import IngestConfig
from data_pipelines.ingest_inputs import RunOptions
from data_pipelines.ingest_job import run_ingest
from data_pipelines.kb import KnowledgeBase
from data_pipelines.sql_source import Query
from rayraft.errors import InputError

CONFIG = IngestConfig()

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_rows_of_a_database_are_documents_beside_files(tmp_path: Path):
    store, database = str(tmp_path / "store"), tmp_path / "crm.db"
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f'{{"id": "r{n}", "text": "Fact {n}."}}\n' for n in range(20)))
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE c (id, name, notes, region)")
        rows = [(f"c{n}", f"Customer {n}", f"Likes kettle {n}.", "HN") for n in range(3)]
        connection.executemany("INSERT INTO c VALUES (?, ?, ?, ?)", [*rows, ("c9", "", None, "")])
        connection.commit()
    sql = "SELECT id, name AS title, notes AS text, region FROM c"
    options = RunOptions(query=Query(sql, f"sqlite:///{database}"))
    report = run_ingest([str(file)], store, CONFIG, options=options)

    assert (report.added, report.quarantined) == (23, 1)
    document = KnowledgeBase.open(store).document("c1")
    assert (document.title, document.text) == ("Customer 1", "Likes kettle 1.")
    assert document.metadata == {"region": "HN"}
    only = run_ingest([], store, CONFIG, options=options)
    assert (only.added, only.unchanged, only.quarantined) == (0, 3, 1)
    wrong = RunOptions(query=Query("SELECT absent FROM c", f"sqlite:///{database}"))
    with pytest.raises(InputError, match="no such column: absent"):
        run_ingest([], store, CONFIG, options=wrong)
