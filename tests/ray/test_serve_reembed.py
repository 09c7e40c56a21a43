"""A running service after `kb reembed`: the new embedder and index, never one without the other."""

import asyncio
import shutil
import threading
import time

import pytest
from safetensors.torch import load_file, save_file

from data_pipelines.kb import KnowledgeBase
from data_pipelines.reembed import reembed
from rayraft.models.embedder_tokenizer import model_folder
from rayraft.records import Document
from serve.config import RetrieverConfig, WriterConfig
from serve.service import Search
from tests.ray.serve_store import make_store
from tests.ray.test_serve_shards import Handle

SEARCHES = [
    Search("rail allowance", 3, method=method, groups=("board",))
    for method in ("hybrid", "dense", "sparse")
]


@pytest.fixture(scope="module")
def opposite(tmp_path_factory):
    """MiniLM with every vector turned round: the same order, and mixed with MiniLM the reverse."""
    folder = tmp_path_factory.mktemp("opposite")
    for file in ("config.json", "tokenizer.json"):
        shutil.copy(model_folder("minilm") / file, folder)
    weights = load_file(model_folder("minilm") / "model.safetensors")
    for part in ("weight", "bias"):
        weights[f"encoder.layer.5.output.LayerNorm.{part}"] *= -1
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return str(folder)


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "store")


def ids(found):
    return [passage.chunk_id for passage in found.passages]


async def until(condition, timeout_s=60):
    """Looks every 10 ms, without keeping the event loop."""
    deadline = time.monotonic() + timeout_s
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def assert_one_embedder(found, before):
    """The order of `before`, and no cosine of two embedders' vectors, which would be negative."""
    assert ids(found) == ids(before)
    for passage, other in zip(found.passages, before.passages, strict=True):
        assert passage.dense_score == pytest.approx(other.dense_score, abs=0.01)


def test_a_retriever_and_the_writer_follow_while_searches_go_on(store, opposite):
    from serve.knowledge import Retriever, Writer

    retriever, writer = (
        Retriever(RetrieverConfig(poll_s=0.05), store),
        Writer(WriterConfig(), store),
    )

    async def run():
        before = [await retriever.search(search) for search in SEARCHES]
        [old], _ = await retriever.embed(["rail"])
        done = threading.Thread(target=reembed, args=(store, opposite))
        done.start()

        async def switched():
            for search, one in zip(SEARCHES, before, strict=True):
                assert_one_embedder(await retriever.search(search), one)
            return retriever.embedder.spec.name == opposite

        await until(switched)
        done.join()
        [new], _ = await retriever.embed(["rail"])
        assert float(old @ new) == pytest.approx(-1, abs=0.01)
        for search, one in zip(SEARCHES, before, strict=True):
            assert_one_embedder(await retriever.search(search), one)
        version = await writer.put([Document(document_id="new.md", text="A yellow submarine.")], ())
        found = await retriever.search(Search("yellow submarine", 1, min_kb_version=version))
        assert ids(found) == ["new.md#0"] and (found.passages[0].dense_score or 0) > 0.5
        await retriever.check_health()

    asyncio.run(run())
    assert KnowledgeBase.open(store).embedder.name == opposite


def test_shards_answer_by_one_embedder_while_one_of_them_lags_behind(store, opposite):
    from serve.shards import RetrieverShard, ShardedRetriever

    config = RetrieverConfig(shards=3, poll_s=0.05, shard_timeout_s=5)
    shards = [RetrieverShard(config, store, number) for number in range(3)]
    many = ShardedRetriever(config, store, *map(Handle, shards))
    held, refresh = threading.Event(), shards[1]._opened.refresh
    shards[1]._follower._refresh = lambda: held.wait(60) and refresh()

    async def run():
        before = [await many.search(search) for search in SEARCHES]
        reembed(store, opposite)

        async def opened(parts):
            for search, one in zip(SEARCHES, before, strict=True):
                found = await many.search(search)
                assert not found.partial
                assert_one_embedder(found, one)
            newest = [part._opened.newest.spec for part in parts]
            return all(spec.name == opposite for spec in [many.embedder.spec, *newest])

        await until(lambda: opened([shards[0], shards[2]]))
        assert await opened([]) and shards[1]._opened.newest.spec.name == "minilm"
        held.set()
        await until(lambda: opened(shards))
        for shard in shards:  # by the new index alone
            shard._opened._shown = shard._opened._shown[:1]
        assert await opened(shards)

    asyncio.run(run())


def test_a_shard_forgets_its_old_index_when_nobody_asks_for_it(store, opposite):
    from serve.shards import RetrieverShard

    config = RetrieverConfig(shards=2, poll_s=0.02, overlap_s=0.2)
    shard = RetrieverShard(config, store, 0)
    reembed(store, opposite)

    async def run():
        async def switched():
            return shard._opened.newest.spec.name == opposite

        async def alone():
            return len(shard._opened.all) == 1

        await until(switched)
        await until(alone)

    asyncio.run(run())


def test_an_embedder_that_is_not_on_this_machine_leaves_the_service_as_it_is(
    store, opposite, tmp_path, caplog
):
    from serve.knowledge import Retriever

    away = str(tmp_path / "away")
    shutil.copytree(opposite, away)
    retriever = Retriever(RetrieverConfig(poll_s=0.05), store)
    before = asyncio.run(retriever.search(SEARCHES[0]))
    kb, old = KnowledgeBase.open(store), retriever.embedder
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serve.knowledge.load_embedder", missing)
        reembed(store, away)
        asyncio.run(asyncio.sleep(0.5))
        assert asyncio.run(retriever.search(SEARCHES[0])).passages == before.passages
        assert retriever.embedder is old and asyncio.run(retriever.version()) == kb.version
    told = [record for record in caplog.records if "cannot be followed" in record.message]
    assert len(told) == 1, "said once, not at every poll"


def missing(kb, threads):
    from rayraft.errors import ConfigError

    raise ConfigError(f"embedder {kb.embedder.name!r}: no such folder")
