"""Archives, mails and links: what is in them is read, and what is made to harm is refused."""

import io
import os
import zipfile
from email.message import EmailMessage
from pathlib import Path

import pytest

from data_pipelines.config import ReadingConfig
from data_pipelines.quarantine import Rejected
from data_pipelines.readers import read_file
from data_pipelines.sources import SourceFile, find_files
from rayraft.errors import InputError
from rayraft.records import Document


def packed(*members: tuple[str, bytes]) -> bytes:
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return output.getvalue()


def read(path: Path, data: bytes, **limits: float) -> list[Document | Rejected]:
    path.write_bytes(data)
    config = ReadingConfig.model_validate(limits)
    return list(read_file(SourceFile(str(path), path.name), config))


def reasons(found: list[Document | Rejected]) -> list[str]:
    return [item.reason for item in found if isinstance(item, Rejected)]


def texts(found: list[Document | Rejected]) -> dict[str, str]:
    return {item.document_id: item.text for item in found if isinstance(item, Document)}


def test_members_of_an_archive_are_documents_of_their_own(tmp_path: Path):
    inner = packed(("deep.txt", b"In the inner one."))
    rows = b'{"id": "r1", "text": "A row."}\n{broken\n'
    data = packed(
        ("a/b.md", b"---\nacl: [hr]\n---\n# Head\n\nText."),
        ("rows.jsonl", rows),
        ("inner.zip", inner),
        ("picture.png", b"x"),
        ("__MACOSX/a.md", b"x"),
        (".hidden.md", b"x"),
    )
    found = read(tmp_path / "x.zip", data)

    assert texts(found) == {
        "x.zip!a/b.md": "# Head\n\nText.",
        "r1": "A row.",
        "x.zip!inner.zip!deep.txt": "In the inner one.",
    }
    [first, *_] = [item for item in found if isinstance(item, Document)]
    assert (first.acl, first.title) == (["hr"], "Head")
    assert first.uri == f"{tmp_path / 'x.zip'}!a/b.md"
    [broken] = [item for item in found if isinstance(item, Rejected)]
    assert broken.uri.endswith("x.zip!rows.jsonl:2")


@pytest.mark.parametrize("name", ["../out.md", "/etc/out.md", "a/../../out.md", "..\\out.md"])
def test_a_member_that_leads_out_of_its_archive_is_refused(tmp_path: Path, name: str):
    found = read(tmp_path / "x.zip", packed((name, b"text"), ("in.md", b"text")))
    assert texts(found) == {"x.zip!in.md": "text"}
    assert "leads out" in reasons(found)[0]


@pytest.mark.parametrize("suffix", [".zip", ".docx", ".xlsx"])
@pytest.mark.parametrize(
    ("members", "limits", "words"),
    [
        ([("a.txt", b"\0" * 2**21)], {"max_ratio": 100}, "max_ratio=100"),
        ([("a.txt", os.urandom(2**21))], {"max_unpacked_mb": 1}, "max_unpacked_mb=1"),
        ([(f"{n}.txt", b"x") for n in range(9)], {"max_members": 8}, "max_members=8"),
    ],
)
def test_an_archive_that_unpacks_to_too_much_is_not_unpacked(
    tmp_path: Path,
    suffix: str,
    members: list[tuple[str, bytes]],
    limits: dict[str, float],
    words: str,
):
    [reason] = reasons(read(tmp_path / f"x{suffix}", packed(*members), **limits))
    assert words in reason


def test_a_member_never_gives_more_than_the_directory_says(tmp_path: Path):
    data = bytearray(packed(("a.txt", b"x" * 5000)))
    at = data.rindex(b"PK\x01\x02") + 24  # its unpacked size in the central directory
    data[at : at + 4] = (100).to_bytes(4, "little")
    found = read(tmp_path / "x.zip", bytes(data))
    assert not texts(found) and len(reasons(found)) == 1


def test_archives_in_archives_end_somewhere(tmp_path: Path):
    data = packed(("a.txt", b"deepest"))
    for _ in range(3):
        data = packed(("x.zip", data))
    assert list(texts(read(tmp_path / "x.zip", data)).values()) == ["deepest"]
    [reason] = reasons(read(tmp_path / "x.zip", data, max_nesting=2))
    assert "max_nesting=2" in reason


def mail(subject: str = "Return of a kettle") -> EmailMessage:
    made = EmailMessage()
    made["Subject"] = subject
    made["From"] = "Anna <anna@example.com>"
    made["To"] = "shop@example.com"
    made["Date"] = "Tue, 03 Mar 2026 10:00:00 +0100"
    made.set_content("It does not boil.\nPlease help.\n")
    return made


def test_a_mail_is_a_document_and_so_are_its_attachments(tmp_path: Path):
    made = mail()
    made.add_attachment("It works.", filename="note.txt")
    made.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="a.png")
    made.add_attachment(b"x", maintype="text", subtype="plain", filename="../../etc/x.txt")
    inner = mail("Inner")
    made.add_attachment(inner, filename="inner.eml")
    found = read(tmp_path / "m.eml", made.as_bytes())

    assert texts(found)["m.eml"] == ("# Return of a kettle\n\nIt does not boil.\nPlease help.\n")
    [first, *_] = [item for item in found if isinstance(item, Document)]
    assert first.metadata == {
        "from": "Anna <anna@example.com>",
        "to": "shop@example.com",
        "date": "2026-03-03T10:00:00+01:00",
    }
    assert texts(found)["m.eml!note.txt"].strip() == "It works."
    assert "does not boil" in texts(found)["m.eml!inner.eml"]
    assert "leads out" in reasons(found)[0]
    assert len(found) == 4


@pytest.mark.parametrize("data", [b"", b"no header at all", b"Subject: x\n\n"])
def test_what_is_no_mail_says_so(tmp_path: Path, data: bytes):
    assert reasons(read(tmp_path / "m.eml", data)) == ["not a mail with a text"]


def test_json_is_rows_or_one_document(tmp_path: Path):
    rows = read(tmp_path / "a.json", b'[{"id": 1, "text": "one"}, {"text": "no id"}]')
    assert texts(rows) == {"1": "one"} and len(reasons(rows)) == 1
    one = read(tmp_path / "a.json", b'{"text": "whole", "title": "T", "acl": ["hr"]}')
    assert texts(one) == {"a.json": "whole"}
    data = b'{"name": "Kettle", "specs": {"watts": 2200, "parts": ["lid", "base"]}, "acl": ["hr"]}'
    [fields] = read(tmp_path / "a.json", data)
    assert isinstance(fields, Document) and fields.acl == ["hr"]
    assert fields.text == "name: Kettle\nspecs.watts: 2200\nspecs.parts: lid\nspecs.parts: base"
    for broken in (b"[1", b"3", b"\xff", b"[" * 100_000):
        assert reasons(read(tmp_path / "a.json", broken))


def test_links_out_of_the_folder_are_skipped(tmp_path: Path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key.md").write_text("secret")
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("text")
    (folder / "inside.md").symlink_to(folder / "a.md")
    (folder / "out.md").symlink_to(tmp_path / "secret" / "key.md")
    (folder / "dir").symlink_to(tmp_path / "secret")
    (folder / "ring.md").symlink_to(folder / "ring.md")
    for name in (str(folder), str(folder / "**" / "*.md"), f"file://{folder}"):
        found, _ = find_files([name])
        assert [item.document_id for item in found] == ["a.md", "inside.md"], name


def test_a_glob_and_a_uri_name_documents_as_their_folder_does(tmp_path: Path):
    for name in ("a.md", "sub/b.txt", "sub/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"text of {name}")
    by_folder, _ = find_files([str(tmp_path)])
    by_glob, _ = find_files([str(tmp_path / "**" / "*")])
    by_uri, _ = find_files([f"file://{tmp_path}"])
    ids = ["a.md", "sub/b.txt"]
    for found in (by_folder, by_glob, by_uri):
        assert [item.document_id for item in found] == ids
        documents = [next(iter(read_file(item))) for item in found]
        assert [d.text for d in documents if isinstance(d, Document)] == [
            f"text of {name}" for name in ids
        ]
    assert find_files([f"file://{tmp_path}/a.md"])[0] == [
        SourceFile(f"file://{tmp_path}/a.md", "a.md")
    ]
    for missing in (f"file://{tmp_path}/none", str(tmp_path / "*.pdf"), "nowhere://x/y"):
        with pytest.raises(InputError, match=r"\*\.pdf|none|nowhere"):
            find_files([missing])
