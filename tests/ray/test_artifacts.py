"""Real folders and a real `file://` URI; no Ray is started."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from data_pipelines.artifacts import fetch, find, latest, listing, publish, read_manifest
from rayraft.errors import ArtifactMismatch, InputError, NotFoundError
from rayraft.manifests import Manifest

FILES = {"adapter_model.safetensors": b"weights", "adapter_config.json": b"{}"}
ADAPTER = Manifest(kind="adapter", kb_version=3)


@pytest.mark.parametrize("as_uri", [False, True])
def test_what_is_fetched_is_what_was_published(tmp_path: Path, as_uri: bool) -> None:
    store = (tmp_path / "store").as_uri() if as_uri else str(tmp_path / "store")
    ref = publish(store, "adapter", "support", FILES, ADAPTER)
    manifest = fetch(ref, tmp_path / "copy")
    assert {name: (tmp_path / "copy" / name).read_bytes() for name in FILES} == FILES
    assert manifest.kb_version == 3
    assert manifest.created.endswith("Z")
    assert json.loads((tmp_path / "copy" / "manifest.json").read_text())["files"] == manifest.files


def test_numbers_rise_and_latest_is_the_highest(tmp_path: Path) -> None:
    store = str(tmp_path)
    refs = [publish(store, "adapter", "support", FILES, ADAPTER) for _ in range(11)]
    publish(store, "adapter", "other", FILES, ADAPTER)
    assert [ref.version for ref in refs] == list(range(1, 12))
    assert latest(store, "adapter", "support") == refs[-1]
    assert find(store, "adapter", "support-v2") == refs[1]
    assert find(store, "adapter", "support") == refs[-1]
    assert next(ref.artifact_id for ref in listing(store, "adapter")) == "other-v1"


def test_publishers_at_once_get_different_numbers(tmp_path: Path) -> None:
    def one(i: int) -> int | None:
        return publish(str(tmp_path), "adapter", "a", {"i": str(i).encode()}, ADAPTER).version

    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(one, range(16)))
    assert sorted(v for v in versions if v) == list(range(1, 17))
    for ref in listing(str(tmp_path), "adapter"):
        fetch(ref, tmp_path / "copy" / str(ref.version))


def test_killed_publisher_leaves_nothing_that_readers_see(tmp_path: Path) -> None:
    good = publish(str(tmp_path), "adapter", "a", FILES, ADAPTER)
    script = (
        "import sys, pathlib\n"
        "from data_pipelines.artifacts import publish\n"
        "from rayraft.manifests import Manifest\n"
        "files = {f'part{i}': bytes(1 << 20) for i in range(4000)}\n"
        "print('go', flush=True)\n"
        "publish(sys.argv[1], 'adapter', 'a', files, Manifest(kind='adapter'))\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    folder = tmp_path / "adapters" / "a" / "2"
    deadline = time.monotonic() + 120
    while not (folder.is_dir() and any(folder.iterdir())):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    assert latest(str(tmp_path), "adapter", "a") == good
    assert publish(str(tmp_path), "adapter", "a", FILES, ADAPTER).version == 3


@pytest.mark.parametrize("name", list(FILES))
def test_changed_byte_is_found(tmp_path: Path, name: str) -> None:
    ref = publish(str(tmp_path), "adapter", "a", FILES, ADAPTER)
    path = tmp_path / "adapters" / "a" / "1" / name
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ArtifactMismatch, match=name):
        fetch(ref, tmp_path / "copy")


def test_missing_file_is_not_found(tmp_path: Path) -> None:
    ref = publish(str(tmp_path), "adapter", "a", FILES, ADAPTER)
    (tmp_path / "adapters" / "a" / "1" / "adapter_config.json").unlink()
    with pytest.raises(NotFoundError, match=r"adapter_config\.json"):
        fetch(ref, tmp_path / "copy")


def test_manifest_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    ref = publish(str(tmp_path), "adapter", "a", FILES, ADAPTER)
    path = tmp_path / "adapters" / "a" / "1" / "manifest.json"
    values = json.loads(path.read_text())
    values["files"]["../../secret"] = "0"
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match="leaves the folder"):
        fetch(ref, tmp_path / "copy")


def test_unknown_adapter_names_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is none yet"):
        latest(str(tmp_path), "adapter")
    publish(str(tmp_path), "adapter", "support", FILES, ADAPTER)
    with pytest.raises(NotFoundError, match="no adapter 'suport'; there is support-v1"):
        find(str(tmp_path), "adapter", "suport")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", "a b", "-a", "a" * 65, ".hidden"])
def test_adapter_name_cannot_be_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="name"):
        publish(str(tmp_path), "adapter", name, FILES, ADAPTER)
    assert not list(tmp_path.iterdir())


def test_runs_are_named_once_and_the_latest_is_the_newest(tmp_path: Path) -> None:
    store, run = str(tmp_path), Manifest(kind="raft")
    publish(store, "raft", "b-first", {"train.parquet": b"1"}, run)
    time.sleep(1.1)  # `created` has seconds
    second = publish(store, "raft", "a-second", {"train.parquet": b"2"}, run)
    assert latest(store, "raft") == second
    assert read_manifest(second).files.keys() == {"train.parquet"}
    with pytest.raises(InputError, match="exists"):
        publish(store, "raft", "b-first", {"train.parquet": b"3"}, run)


def test_store_of_an_unknown_kind_is_one_clear_line() -> None:
    with pytest.raises(InputError, match="store 'gopher://x'"):
        listing("gopher://x", "adapter")
