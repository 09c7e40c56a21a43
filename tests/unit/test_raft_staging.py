"""What an unfinished run leaves, and what the next one finds of it."""

from pathlib import Path

from data_pipelines.artifacts import listing
from data_pipelines.raft_staging import FLUSH_ROWS, FOLDER, Staging


def test_rows_are_found_under_their_own_key_alone_and_gone_when_cleared(tmp_path: Path):
    store = str(tmp_path)
    staging = Staging(store, "key")
    for i in range(FLUSH_ROWS + 3):
        staging.add({"chunk_id": f"c{i}", "examples": ["{}"]})
    assert len(Staging(store, "key").rows()) == FLUSH_ROWS  # the rest is not flushed yet
    staging.flush()
    found = Staging(store, "key").rows()
    assert list(found) and found["c2"] == {"chunk_id": "c2", "examples": ["{}"]}
    assert len(found) == FLUSH_ROWS + 3
    assert Staging(store, "other").rows() == {}
    assert listing(store, "raft") == []  # no run of this name
    Staging(store, "key").clear()
    assert Staging(store, "key").rows() == {}
    Staging(store, "key").clear()


def test_a_file_that_was_cut_off_counts_for_nothing(tmp_path: Path):
    staging = Staging(str(tmp_path), "key")
    staging.add({"chunk_id": "whole"})
    staging.flush()
    staging.add({"chunk_id": "cut"})
    staging.flush()
    for path in (tmp_path / FOLDER / "key").iterdir():
        if "cut" in path.read_text():
            path.write_text(path.read_text()[:-4])
    assert list(Staging(str(tmp_path), "key").rows()) == ["whole"]
