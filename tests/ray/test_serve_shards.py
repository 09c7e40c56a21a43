"""A retriever in shards: the same list as one retriever's, and what happens without a shard."""

import asyncio
import time

import pytest

from data_pipelines.config import RetrievalConfig
from data_pipelines.sharding import Shard
from serve.config import RetrieverConfig
from serve.scaling import ScaleConfig
from serve.service import Search
from tests.ray.serve_store import DOCUMENTS, make_store

BESIDE = RetrievalConfig(neighbours=1)
SEARCHES = [
    Search("rail allowance", 3),
    Search("rail allowance", 3, {"region": "DE"}),
    Search("the secret bonus of the board", 4),
    Search("the secret bonus of the board", 4, groups=("board",)),
    Search("annual leave", 2, method="dense"),
    Search("annual leave in Germany", 2, method="sparse"),
    Search("words of nothing", 2, {"nowhere": 1}),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("shards") / "store")


class Response:
    """A call that can be cancelled, as a handle's."""

    def __init__(self, answer, delay_s):
        self.answer, self.delay_s, self.cancelled = answer, delay_s, False

    def __await__(self):
        return self._wait().__await__()

    async def _wait(self):
        await asyncio.sleep(self.delay_s)
        return await self.answer

    def cancel(self):
        self.cancelled = True
        self.answer.close()


class Handle:
    """A shard in this process."""

    def __init__(self, shard):
        self.shard, self.delay_s = shard, 0.0

    def __getattr__(self, name):
        handle = self

        class Method:
            @staticmethod
            def remote(*args):
                return Response(getattr(handle.shard, name)(*args), handle.delay_s)

        return Method


@pytest.fixture(scope="module")
def parts(store):
    from serve.shards import RetrieverShard, ShardedRetriever

    config = RetrieverConfig(shards=3, shard_timeout_s=5, retrieval=BESIDE)
    handles = [Handle(RetrieverShard(config, store, number)) for number in range(3)]
    return ShardedRetriever(config, store, *handles), handles


def test_the_shards_find_what_one_retriever_finds(store, parts):
    from serve.knowledge import Retriever

    one = Retriever(RetrieverConfig(retrieval=BESIDE), store)
    many, _ = parts
    for search in SEARCHES:
        expected = asyncio.run(one.search(search))
        assert asyncio.run(many.search(search)) == expected
        assert expected.partial is False
    assert asyncio.run(many.version()) == asyncio.run(one.version())


def test_a_slow_shard_is_left_out_and_the_result_says_so(parts, monkeypatch):
    many, handles = parts
    monkeypatch.setattr(many, "_config", many._config.model_copy(update={"shard_timeout_s": 1}))
    slow = Shard(0, 3)
    absent = {d.document_id for d in DOCUMENTS if slow.has(d.document_id)}
    monkeypatch.setattr(handles[0], "delay_s", 60)
    found = asyncio.run(many.search(Search("rail leave bonus", 10, groups=("board",))))
    assert found.partial
    shown = {passage.document_id for passage in found.passages}
    assert shown == {d.document_id for d in DOCUMENTS} - absent


@pytest.mark.slow
def test_a_killed_shard_costs_its_part_until_it_is_back(ray_cluster, store):
    import ray
    import ray.serve

    from serve.app import retriever_of

    scale = ScaleConfig(num_cpus=0.2)
    config = RetrieverConfig(shards=2, shard_timeout_s=2, scale=scale)
    app = retriever_of(config, store)
    handle = ray.serve.run(app, name="shards", route_prefix=None)
    try:
        search = Search("rail leave bonus", 10, groups=("board",))
        whole = handle.search.remote(search).result(timeout_s=60)
        assert not whole.partial and len(whole.passages) == len(DOCUMENTS)
        actors = ray.util.list_named_actors(all_namespaces=True)
        [victim] = [a for a in actors if "RetrieverShard1#" in a["name"]]
        ray.kill(ray.get_actor(victim["name"], namespace=victim["namespace"]))
        seen, deadline = [], time.monotonic() + 60
        while time.monotonic() < deadline:
            found = handle.search.remote(search).result(timeout_s=30)  # none of them fails
            seen.append(found.partial)
            kept = {p.document_id for p in found.passages if Shard(0, 2).has(p.document_id)}
            assert kept == {d.document_id for d in DOCUMENTS if Shard(0, 2).has(d.document_id)}
            if True in seen and not found.partial:
                break
        assert True in seen and seen[-1] is False
        assert found.passages == whole.passages
    finally:
        ray.serve.shutdown()  # also its HTTP port, which is the default one
