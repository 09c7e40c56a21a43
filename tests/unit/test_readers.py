"""Files to documents, and what cannot be read to a reason."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_pipelines.config import ReadingConfig
from data_pipelines.quarantine import Rejected, read_quarantine, write_quarantine
from data_pipelines.readers import read_file
from data_pipelines.sources import SourceFile, find_files
from rayraft.errors import InputError
from rayraft.records import Document


def read(path: Path, content: str | bytes | None = None) -> list[Document | Rejected]:
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_file(SourceFile(str(path), path.name), ReadingConfig(max_file_mb=1)))


def document(path: Path, content: str | bytes) -> Document:
    [found] = read(path, content)
    assert isinstance(found, Document), found
    return found


def reason(path: Path, content: str | bytes) -> str:
    [found] = read(path, content)
    assert isinstance(found, Rejected), found
    assert found.uri.startswith(str(path))
    return found.reason


def test_front_matter_becomes_metadata_and_leaves_the_text(tmp_path: Path):
    found = document(
        tmp_path / "a.md",
        "---\nregion: VN-HN\ndate: 2026-01-02\nacl: [staff, leads]\ntags: [a, b]\nn: 3\n"
        "nothing:\n---\n\n# Returns\n\nThirty days.\n",
    )

    assert found.text == "# Returns\n\nThirty days.\n"
    assert found.title == "Returns"
    assert found.acl == ["leads", "staff"]
    assert found.metadata == {
        "region": "VN-HN",
        "date": "2026-01-02",
        "tags": '["a", "b"]',
        "n": 3,
    }


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ("---\ntitle: Given\n---\n# Heading\ntext", "Given"),
        ("---\ntitle:\n---\n# Heading\ntext", "Heading"),
        ("Intro\n\n## Second #\n", "Second"),
        ("just text", "some file"),
    ],
)
def test_the_title_is_given_or_the_first_heading_or_the_name(
    tmp_path: Path, content: str, title: str
):
    assert document(tmp_path / "some_file.md", content).title == title


@pytest.mark.parametrize("value", ["staff", "[staff]", "' staff '", "[staff, staff]"])
def test_acl_may_be_a_list_or_a_text(tmp_path: Path, value: str):
    assert document(tmp_path / "a.md", f"---\nacl: {value}\n---\ntext").acl == ["staff"]


@pytest.mark.parametrize(
    "front_matter", ["acl: [1, 2]", "acl: {a: b}", "acl: ''", "acl: ['']", "acl: [", "acl: true"]
)
def test_a_malformed_acl_never_makes_a_document_public(tmp_path: Path, front_matter: str):
    assert reason(tmp_path / "a.md", f"---\n{front_matter}\n---\ntext")


def test_a_rule_in_the_middle_is_no_front_matter(tmp_path: Path):
    text = "One.\n\n---\nkey: value\n---\nTwo."

    assert document(tmp_path / "a.md", text).text == text


def test_text_in_another_encoding_is_read(tmp_path: Path):
    text = "Die Rückgabe ist für Käufer überall möglich, außer in größeren Fällen. " * 5

    assert document(tmp_path / "a.txt", text.encode("cp1252")).text == text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_text_in_wide_characters_is_read(tmp_path: Path, encoding: str):
    text = "Die Rückgabe ist möglich. " * 3

    assert document(tmp_path / "a.txt", text.encode(encoding)).text == text


def test_line_ends_and_byte_order_mark_are_normalised(tmp_path: Path):
    found = document(tmp_path / "a.txt", b"\xef\xbb\xbfone\r\ntwo\rthree\n")

    assert found.text == "one\ntwo\nthree\n"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"", "blank"),
        ("a.txt", b" \n ", "blank"),
        ("a.txt", b"a\0b\0c", "NUL"),
        ("a.md", b"---\nkey: [\n---\ntext", "front matter"),
        ("a.md", b"---\n- a\n---\ntext", "front matter"),
        ("a.md", b"---\ndate: 2026-02-30\n---\ntext", "day is out of range"),
        ("a.md", b"---\ndate: !!timestamp soon\n---\ntext", "front matter"),
        ("a.md", b"---\nflag: !!bool maybe\n---\ntext", "front matter"),
        ("a.md", b"---\nkey: " + b"[" * 3000 + b"\n---\ntext", "front matter"),
        ("a.md", b"---\nregion: {1: a, b: c}\n---\ntext", "region"),
        ("a.md", b"---\nkey: &a [*a]\n---\ntext", "Circular"),
        ("a.csv", b'a,b\n"1,2\n', "CSV"),
        ("a.parquet", b"not parquet", "Parquet"),
        ("a.txt", b"x" * (2**20 + 1), "max_file_mb"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, name: str, content: bytes, words: str):
    assert words in reason(tmp_path / name, content)


def test_csv_rows_name_their_columns(tmp_path: Path):
    found = document(tmp_path / "rates.csv", "date;EUR;note\n2026-01-02;1,5;\n\n2026-01-03;2;x\n")

    assert found.text == "- date: 2026-01-02; EUR: 1,5\n- date: 2026-01-03; EUR: 2; note: x\n"
    assert found.title == "rates"


def test_jsonl_rows_are_documents_and_a_broken_line_is_rejected_alone(tmp_path: Path):
    rows = [
        {"id": "a", "title": "A", "text": "one", "region": "X", "deep": {"k": [1]}, "no": None},
        {"id": 7, "text": "two", "acl": ["hr"]},
    ]
    lines = [json.dumps(rows[0]), "{broken", "", json.dumps(rows[1]), '{"text": "no id"}', "[1]"]
    found = read(tmp_path / "d.jsonl", "\n".join(lines))

    documents = [item for item in found if isinstance(item, Document)]
    rejected = [item for item in found if isinstance(item, Rejected)]
    assert [item.document_id for item in documents] == ["a", "7"]
    assert documents[0].metadata == {"region": "X", "deep": '{"k": [1]}'}
    assert documents[1].acl == ["hr"]
    assert [item.uri.rsplit(":", 1)[1] for item in rejected] == ["2", "5", "6"]


@pytest.mark.parametrize(
    "row",
    [
        {"id": "", "text": "x"},
        {"id": "x" * 1025, "text": "x"},
        {"id": True, "text": "x"},
        {"id": ["a"], "text": "x"},
        {"id": "a", "text": 5},
        {"id": "a", "text": "\ud800"},
        {"id": "a", "text": "x", "acl": 5},
        {"id": "a", "text": "x", "acl": [None]},
    ],
)
def test_a_row_with_a_wrong_field_is_rejected(tmp_path: Path, row: dict[str, object]):
    assert reason(tmp_path / "d.jsonl", json.dumps(row))


def test_parquet_rows_are_documents(tmp_path: Path):
    table = pa.table({"id": ["a", "b"], "text": ["one", " "], "title": ["A", "B"], "n": [1, 2]})
    pq.write_table(table, tmp_path / "d.parquet")
    first, second = read(tmp_path / "d.parquet")

    assert isinstance(first, Document)
    assert (first.document_id, first.title, first.metadata) == ("a", "A", {"n": 1})
    assert isinstance(second, Rejected)
    assert second.uri.endswith("d.parquet:2")


@pytest.mark.parametrize(
    "unreadable",
    [
        pa.array([0, 400_000_000_000, 0], pa.timestamp("s")),  # the year 14645
        pa.array([0, 10_000_000, 0], pa.date32()),
        pa.array([b"a", b"\xff", b"a"]).view(pa.string()),
    ],
    ids=["timestamp", "date", "text"],
)
def test_a_parquet_row_that_cannot_be_read_is_rejected_alone(tmp_path: Path, unreadable: pa.Array):
    table = pa.table({"id": ["a", "b", "c"], "text": ["one", "two", "three"], "x": unreadable})
    pq.write_table(table, tmp_path / "d.parquet")
    first, second, third = read(tmp_path / "d.parquet")

    assert (first.document_id, third.document_id) == ("a", "c")
    assert isinstance(first, Document)
    assert isinstance(third, Document)
    assert isinstance(second, Rejected)
    assert second.uri.endswith("d.parquet:2")
    assert "cannot be read" in second.reason


def test_files_are_named_below_their_folder_and_single_files_by_their_name(tmp_path: Path):
    (tmp_path / "sub").mkdir()
    for name in ("b.md", "sub/a.TXT", "c.xyz", ".hidden.md", "sub/.x"):
        (tmp_path / name).write_text("text")
    found, skipped = find_files([str(tmp_path), str(tmp_path / "sub" / "a.TXT")])

    assert [source.document_id for source in found] == ["b.md", "sub/a.TXT", "a.TXT"]
    assert skipped == [str(tmp_path / "c.xyz")]


@pytest.mark.parametrize("names", [[], [""], ["missing"], ["empty"], ["c.xyz"]])
def test_paths_with_nothing_to_read_are_an_input_error(tmp_path: Path, names: list[str]):
    (tmp_path / "empty").mkdir()
    (tmp_path / "c.xyz").write_text("x")

    with pytest.raises(InputError):
        find_files([str(tmp_path / name) if name else name for name in names])


def test_quarantine_keeps_uri_reason_and_time_and_a_rerun_adds_nothing(tmp_path: Path):
    rejected = [Rejected(uri="a.txt", document_id="a.txt", reason="blank")]
    for _ in range(2):
        write_quarantine(str(tmp_path), rejected)
    write_quarantine(str(tmp_path), [])
    write_quarantine(str(tmp_path), [Rejected(uri="b.txt", reason="NUL")])
    table = read_quarantine(str(tmp_path))

    assert sorted(table["uri"].to_pylist()) == ["a.txt", "b.txt"]
    assert all(table["time"].to_pylist())
    assert read_quarantine(str(tmp_path / "other")).num_rows == 0
