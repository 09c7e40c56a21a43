"""How replicas follow versions and adapters, and who may read and write."""

import asyncio
import time

import pytest

from data_pipelines.artifacts import ArtifactRef
from data_pipelines.published_adapters import PublishedAdapter
from rayraft.errors import NotFoundError, VersionTimeout
from rayraft.manifests import Manifest
from rayraft.protocols import AdapterRef
from rayraft.records import Document
from serve.access import check_may_replace, read_document
from serve.adapters import AdapterCatalog, find_adapter
from serve.config import WriterConfig
from serve.follower import Follower
from serve.service import Search
from tests.ray.serve_store import make_store

PROMPT = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def small_store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("parts") / "store")


class Versions:
    """A knowledge base whose version is set by the test."""

    def __init__(self):
        self.value, self.fails, self.reads = 1, False, 0

    def refresh(self):
        self.reads += 1
        if self.fails:
            raise OSError("storage is away")
        return self.value


@pytest.fixture
def versions():
    return Versions()


@pytest.fixture
def follower(versions):
    follower = Follower(versions.refresh, poll_s=0.02)
    yield follower
    follower.stop()


def test_follower_sees_new_versions_by_itself(versions, follower):
    versions.value = 5
    deadline = time.monotonic() + 5
    while follower.version != 5:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_waiting_for_a_version_does_not_wait_for_the_next_poll(versions):
    follower = Follower(versions.refresh, poll_s=60)
    versions.value = 2
    start = time.monotonic()
    assert asyncio.run(follower.wait_for(2, timeout_s=30)) == 2
    assert time.monotonic() - start < 10
    follower.stop()


def test_waiting_ends_with_the_numbers_when_the_version_does_not_come(follower):
    with pytest.raises(VersionTimeout, match=r"min_kb_version=9.*at 1 after waiting 0.1 s"):
        asyncio.run(follower.wait_for(9, timeout_s=0.1))
    assert asyncio.run(follower.wait_for(None, 0)) == 1
    assert asyncio.run(follower.wait_for(1, 0)) == 1


def test_follower_survives_a_storage_outage(versions, follower):
    versions.fails = True
    reads = versions.reads
    while versions.reads < reads + 2:
        time.sleep(0.01)
    versions.fails, versions.value = False, 3
    assert asyncio.run(follower.wait_for(3, timeout_s=10)) == 3
    assert follower.is_alive()


def adapter(name, number, kb_version, method="raft"):
    manifest = Manifest(kind="adapter", kb_version=kb_version, config={"method": method})
    return PublishedAdapter(ArtifactRef("s", "adapter", name, number), manifest)


def test_catalog_follows_what_is_published():
    published: list[PublishedAdapter] = []
    catalog = AdapterCatalog(lambda: published, "champion", poll_s=0.0)
    assert catalog.default() is None
    published += [adapter("a", 1, 3), adapter("a", 2, 4)]
    assert catalog.default() == AdapterRef("a-v2", 4)
    fixed = AdapterCatalog(lambda: published, "a-v1", poll_s=0.0)
    assert fixed.default() == AdapterRef("a-v1", 3)
    assert AdapterCatalog(lambda: published, None, poll_s=0.0).default() is None
    with pytest.raises(NotFoundError, match=r"b-v1.*published: a-v1, a-v2"):
        find_adapter([one.reference for one in catalog.published()], "b-v1")


def test_an_adapter_trained_without_passages_never_answers_raft_by_itself():
    published = [adapter("memory", 1, 3, "sft")]
    catalog = AdapterCatalog(lambda: published, "champion", poll_s=0.0)
    assert catalog.default() is None
    published[:0] = [adapter("reader", 1, 2)]
    assert catalog.default() == AdapterRef("reader-v1", 2)
    assert catalog.default("memory-v1") == AdapterRef("memory-v1", 3), "named, it is taken"


class Documents:
    version = 4

    def __init__(self, *documents):
        self._documents = {document.document_id: document for document in documents}

    def document(self, document_id):
        if document_id not in self._documents:
            raise NotFoundError("none")
        return self._documents[document_id]


def test_restricted_documents_look_like_missing_ones():
    documents = Documents(Document(document_id="pay", text="x", acl=["hr"]))
    assert read_document(documents, "pay", ["hr"]).text == "x"
    with pytest.raises(NotFoundError) as restricted:
        read_document(documents, "pay", [])
    with pytest.raises(NotFoundError) as missing:
        read_document(documents, "gone", [])
    assert str(restricted.value).replace("pay", "gone") == str(missing.value)


def test_nobody_replaces_what_they_may_not_read():
    with pytest.raises(NotFoundError, match="'pay'"):
        check_may_replace(["hr"], "pay", [])
    check_may_replace(["hr"], "pay", ["hr"])
    check_may_replace(None, "new", [])


def test_the_writer_refuses_a_document_that_the_request_may_not_read(small_store):
    from serve.knowledge import Writer

    writer = Writer(WriterConfig(), small_store)
    secret = Document(document_id="secret/bonus.md", text="x")
    with pytest.raises(NotFoundError, match="may replace"):
        asyncio.run(writer.put([secret], ()))
    before = asyncio.run(writer.version())
    new = Document(document_id="it's new", text="x")
    with pytest.raises(NotFoundError, match="may replace"):
        asyncio.run(writer.put([new, secret], ()))
    assert asyncio.run(writer.version()) == before, "none of a batch is written"
    allowed = secret.model_copy(update={"acl": ["board"]})
    assert asyncio.run(writer.put([allowed, new], ("board",))) > before


def test_queries_that_wait_are_embedded_together_and_find_what_they_find_alone(
    small_store, monkeypatch
):
    from rayraft.errors import InputError
    from rayraft.models.embedder import Embedder
    from serve.config import RetrieverConfig
    from serve.knowledge import Retriever

    retriever = Retriever(RetrieverConfig(), small_store)
    searches = [Search(f"rail allowance {n}", 2) for n in range(9)]
    searches += [Search("annual leave", 2, method="sparse"), Search("rail", 2, {"region": "DE"})]
    alone = [asyncio.run(retriever.search(search)) for search in searches]
    sizes, embed = [], Embedder.embed

    def counting(self, texts):
        sizes.append(len(texts))
        return embed(self, texts)

    monkeypatch.setattr(Embedder, "embed", counting)

    async def at_once():
        wrong = Search("rail", 2, {"region": {"near": "DE"}})
        asked = [*searches, wrong, Search("rail", 0)]
        return await asyncio.gather(*map(retriever.search, asked), return_exceptions=True)

    *together, wrong, none = asyncio.run(at_once())
    assert sum(sizes) == 11 and len(sizes) <= 3, "ten of the searches and the wrong one"
    assert isinstance(wrong, InputError) and isinstance(none, InputError)
    for found, expected in zip(together, alone, strict=True):
        assert [p.chunk_id for p in found.passages] == [p.chunk_id for p in expected.passages]
        scores = [p.dense_score for p in expected.passages]
        assert [p.dense_score for p in found.passages] == pytest.approx(scores, abs=1e-2)
