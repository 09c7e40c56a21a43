"""Adapters for vLLM: their folders, what is checked, and whose turn it is."""

import asyncio
import json
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from data_pipelines.artifacts import publish
from rayraft.errors import ArtifactMismatch, NotFoundError
from rayraft.manifests import Manifest
from rayraft.prompts import prompt_digest
from serve.adapter_turns import AdapterTurns
from serve.vllm_adapters import AdapterFolders, AdapterSource

NAMES = [f"base_model.model.layers.0.q_proj.lora_{side}.weight" for side in "AB"]


def published(store, names=NAMES, digest="base", prompts=None, **config) -> str:
    settings = {"r": 8, "target_modules": ["q_proj"], **config}
    files = {
        "adapter_model.safetensors": save({name: np.zeros((1, 1), np.float32) for name in names}),
        "adapter_config.json": json.dumps(settings).encode(),
    }
    manifest = Manifest(
        kind="adapter", base_digest=digest, prompt_digest=prompts or prompt_digest()
    )
    return publish(str(store), "adapter", "fees", files, manifest).artifact_id


def fetched(store, adapter_id, to):
    AdapterSource(str(store), "base", 8).fetch(adapter_id, to)


def test_a_published_adapter_is_copied_from_any_storage(tmp_path):
    adapter = published(f"file://{tmp_path}/store")
    fetched(f"file://{tmp_path}/store", adapter, tmp_path / "to")
    names = {path.name for path in (tmp_path / "to").iterdir()}
    assert names == {"adapter_model.safetensors", "adapter_config.json", "manifest.json"}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"digest": "other"}, "trained with other base model"),
        ({"prompts": "other"}, "trained with other prompts"),
        ({"r": 16}, r"lora\.r=16 is above generator\.vllm\.max_lora_rank=8"),
        ({"use_dora": True}, "vLLM does not do use_dora"),
        ({"alpha_pattern": {"q_proj": 4}}, "vLLM does not do alpha_pattern"),
        ({"names": NAMES[:1]}, r"half there, such as .*q_proj"),
        ({"names": [*NAMES, "lm_head.weight"]}, r"unexpected, such as lm_head\.weight"),
        ({"target_modules": ["q_proj", "v_proj"]}, "missing, such as v_proj"),
    ],
)
def test_what_vllm_would_answer_wrongly_with_is_refused(tmp_path, changed, reason):
    adapter = published(tmp_path, **changed)
    with pytest.raises(ArtifactMismatch, match=f"adapter fees-v1: .*{reason}"):
        fetched(tmp_path, adapter, tmp_path / "to")


def test_a_changed_file_is_refused(tmp_path):
    adapter = published(tmp_path)
    (tmp_path / "adapters/fees/1/adapter_model.safetensors").write_bytes(b"else")
    with pytest.raises(ArtifactMismatch, match="sha256"):
        fetched(tmp_path, adapter, tmp_path / "to")


@pytest.mark.parametrize("adapter", ["../../etc-v1", "fees-v2", "fees"])
def test_what_is_not_published_is_not_found(tmp_path, adapter):
    published(tmp_path)
    with pytest.raises(NotFoundError, match=adapter):
        fetched(tmp_path, adapter, tmp_path / "to")


class Shelf:
    """Folders whose downloads are counted, take a while and fail for `bad-v1`."""

    def __init__(self, root: Path, kept: int) -> None:
        self.root, self.fetched = root, list[str]()
        self.folders = AdapterFolders(root, self.fetch, kept)

    def fetch(self, adapter_id: str, to: Path) -> None:
        self.fetched.append(adapter_id)
        to.mkdir()
        time.sleep(0.02)
        if adapter_id == "bad-v1":
            raise NotFoundError("adapter 'bad-v1' does not exist")

    async def use(self, adapter_id: str) -> bool:
        async with self.folders.using(adapter_id) as folder:
            await asyncio.sleep(0)
            return folder.is_dir()

    @property
    def there(self) -> set[str]:
        return {path.name for path in self.root.iterdir()}


def test_who_wants_the_same_adapter_waits_for_one_download(tmp_path):
    shelf = Shelf(tmp_path, 4)

    async def go():
        return await asyncio.gather(*(shelf.use("a-v1") for _ in range(3)))

    assert asyncio.run(go()) == [True] * 3
    assert shelf.fetched == ["a-v1"]


def test_the_longest_unused_folder_goes_and_none_that_is_in_use(tmp_path):
    shelf = Shelf(tmp_path, 2)

    async def go():
        async with shelf.folders.using("a-v1"):
            for name in ("b-v1", "c-v1", "d-v1"):
                assert await shelf.use(name)
            assert shelf.there == {"a-v1", "d-v1"}
        assert await shelf.use("e-v1")
        assert len(shelf.there) == 2 and "e-v1" in shelf.there
        assert await shelf.use("b-v1"), "it is fetched again"

    asyncio.run(go())
    assert shelf.fetched.count("b-v1") == 2 and len(shelf.there) == 2


def test_a_failed_download_leaves_nothing_and_is_tried_again(tmp_path):
    shelf = Shelf(tmp_path, 2)
    for _ in range(2):
        with pytest.raises(NotFoundError):
            asyncio.run(shelf.use("bad-v1"))
    assert shelf.fetched == ["bad-v1"] * 2 and shelf.there == set()


def test_an_id_of_another_form_touches_no_folder(tmp_path):
    other = tmp_path / "other-v1"
    other.mkdir()
    (tmp_path / "root").mkdir()
    shelf = Shelf(tmp_path / "root", 2)
    with pytest.raises(NotFoundError, match="expected NAME-vN"):
        asyncio.run(shelf.use("../other-v1"))
    assert other.is_dir() and shelf.fetched == []


def test_a_download_that_nobody_waits_for_any_more_is_not_lost(tmp_path):
    shelf = Shelf(tmp_path, 2)

    async def go():
        impatient = asyncio.create_task(shelf.use("a-v1"))
        await asyncio.sleep(0.005)
        impatient.cancel()
        assert await shelf.use("a-v1")

    asyncio.run(go())
    assert shelf.fetched == ["a-v1"]


class Room:
    """Notes who is inside together."""

    def __init__(self) -> None:
        self.turns, self.inside = AdapterTurns(), list[str | None]()
        self.order = list[str | None]()

    async def visit(self, adapter: str | None, seconds: float = 0.002) -> None:
        async with self.turns.of(adapter):
            self.inside.append(adapter)
            self.order.append(adapter)
            assert set(self.inside) == {adapter}
            await asyncio.sleep(seconds)
            self.inside.remove(adapter)


def test_different_adapters_are_never_inside_together_and_nobody_waits_for_ever():
    async def go():
        room = Room()
        names = [None, "a-v1", "b-v1", "a-v1", None, "b-v1"] * 5
        await asyncio.wait_for(asyncio.gather(*(room.visit(name) for name in names)), 5)
        return room.order

    order = asyncio.run(go())
    assert len(order) == 30
    assert order == [None] + ["a-v1"] * 10 + ["b-v1"] * 10 + [None] * 9


def test_requests_of_one_adapter_are_inside_together():
    async def go():
        room, began = Room(), time.monotonic()
        await asyncio.gather(*(room.visit("a-v1", 0.05) for _ in range(20)))
        return time.monotonic() - began

    assert asyncio.run(go()) < 0.5


def test_who_comes_later_does_not_pass_who_waits():
    async def go():
        room = Room()
        visits = [asyncio.create_task(room.visit("a-v1", 0.01))]
        for name in ("b-v1", "a-v1"):
            await asyncio.sleep(0.001)
            visits.append(asyncio.create_task(room.visit(name)))
        await asyncio.gather(*visits)
        return room.order

    assert asyncio.run(go()) == ["a-v1", "b-v1", "a-v1"]


def test_whoever_gives_up_waiting_holds_up_nobody():
    async def go():
        room = Room()
        async with room.turns.of(None):
            names = ("a-v1", "b-v1", "a-v1")
            waiting = [asyncio.create_task(room.visit(name)) for name in names]
            await asyncio.sleep(0.001)
            waiting[0].cancel()
        waiting[1].cancel()  # let in by now, and called off before it runs
        await asyncio.wait_for(room.visit("c-v1"), 2)
        return room.order

    assert asyncio.run(go()) == ["a-v1", "c-v1"]
