"""One store for every command, however it is named, and one line when it cannot be opened."""

from pathlib import Path

import pytest

from data_pipelines import artifacts
from data_pipelines.kb import KnowledgeBase
from data_pipelines.quarantine import Rejected, write_quarantine
from data_pipelines.stores import store_uri
from rayraft.errors import InputError, NotFoundError
from rayraft.manifests import Manifest
from tests.ray.hash_embedder import SPEC


def fill(store: str) -> None:
    KnowledgeBase.create_or_open(store, SPEC)
    write_quarantine(store, [Rejected(uri="a", reason="b")])
    artifacts.publish(store, "router", "r", {"weights.json": b"{}"}, Manifest(kind="router"))


@pytest.mark.parametrize("name", ["~/store", "store/", "./x/../store", "{root}/store"])
def test_all_parts_of_a_store_are_in_one_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    fill(name.format(root=tmp_path))

    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    inside = sorted(path.name for path in (tmp_path / "store").iterdir())
    assert inside == ["kb", "quarantine", "routers"]


def test_a_resolved_store_is_the_same_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    resolved = store_uri("store")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    assert store_uri(resolved) == resolved == str(tmp_path / "store")
    assert store_uri("s3://bucket/store/") == "s3://bucket/store"


def one_line(error: pytest.ExceptionInfo[InputError], store: str) -> bool:
    text = str(error.value)
    return text.startswith(f"store {store!r}: ") and "\n" not in text and ".rs:" not in text


def test_a_store_that_is_a_file_is_an_input_error(tmp_path: Path):
    store = str(tmp_path / "file")
    Path(store).write_text("x")

    for attempt in (
        lambda: KnowledgeBase.open(store),
        lambda: KnowledgeBase.create_or_open(store, SPEC),
    ):
        with pytest.raises(InputError, match="Not a directory") as error:
            attempt()
        assert one_line(error, store)


def test_an_unknown_scheme_is_an_input_error():
    for attempt in (
        lambda: KnowledgeBase.open("foo://x"),
        lambda: KnowledgeBase.create_or_open("foo://x", SPEC),
        lambda: write_quarantine("foo://x", [Rejected(uri="a", reason="b")]),
        lambda: artifacts.listing("foo://x", "adapter"),
    ):
        with pytest.raises(InputError, match="foo") as error:
            attempt()
        assert one_line(error, "foo://x")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder nobody may write to")
def test_a_store_that_cannot_be_made_is_an_input_error():
    store = "/proc/none/store"

    with pytest.raises(NotFoundError):
        KnowledgeBase.open(store)
    with pytest.raises(InputError) as error:
        KnowledgeBase.create_or_open(store, SPEC)
    assert one_line(error, store)
