"""A table is begun once, whoever else begins it meanwhile."""

from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pytest

from data_pipelines.new_table import create_once

SCHEMA = pa.schema([pa.field("word", pa.string())], metadata={"made": "here"})


def test_a_new_table_is_empty_and_keeps_its_schema(tmp_path: Path):
    uri = str(tmp_path / "folder" / "table")
    create_once(uri, SCHEMA, stable_row_ids=True)
    made = lance.dataset(uri)
    assert (made.version, made.count_rows(), made.has_stable_row_ids) == (1, 0, True)
    assert made.schema == SCHEMA and made.schema.metadata == SCHEMA.metadata


def test_what_is_there_stays(tmp_path: Path):
    uri = str(tmp_path)
    lance.write_dataset(pa.table({"word": ["kept"]}), uri)
    create_once(uri, SCHEMA)
    assert lance.dataset(uri).to_table().to_pylist() == [{"word": "kept"}]


def test_what_others_write_before_the_commit_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    uri = str(tmp_path)
    commit = lance.LanceDataset.commit

    def late(*args: Any, **kwargs: Any) -> Any:
        commit(*args, **kwargs)
        for word in ("first", "second"):
            lance.write_dataset(pa.table({"word": [word]}).cast(SCHEMA), uri, mode="append")
        return commit(*args, **kwargs)

    monkeypatch.setattr(lance.LanceDataset, "commit", late)
    create_once(uri, SCHEMA)
    assert lance.dataset(uri).count_rows() == 2


def test_a_table_that_cannot_be_made_is_an_error(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        create_once(str(tmp_path / "file" / "table"), SCHEMA)
