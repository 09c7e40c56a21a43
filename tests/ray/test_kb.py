"""The knowledge base: atomic versions, exact documents, right deltas, nothing lost to writers."""

import random
import threading
from pathlib import Path

import pytest

from data_pipelines.config import ChunkingConfig
from data_pipelines.ingest import delete_document, ingest_documents
from data_pipelines.kb import KnowledgeBase
from rayraft.errors import ArtifactMismatch, InputError, NotFoundError
from rayraft.models.spec import EmbedderSpec
from rayraft.records import Document
from tests.ray.hash_embedder import SPEC, HashEmbedder

CHUNKING = ChunkingConfig(chunk_tokens=16)


def doc(document_id: str, words: int = 10, seed: int = 0, **fields: object) -> Document:
    generator = random.Random(f"{document_id} {seed}")
    text = " ".join(generator.choice(["oil", "tax", "rate", "shop"]) for _ in range(words))
    return Document(document_id=document_id, title=f"T {document_id}", text=text, **fields)  # type: ignore[arg-type]


def put(kb: KnowledgeBase, *documents: Document) -> int:
    return ingest_documents(documents, kb, HashEmbedder(), CHUNKING)


@pytest.fixture
def kb(tmp_path: Path) -> KnowledgeBase:
    return KnowledgeBase.create_or_open(str(tmp_path), SPEC)


def rows(kb: KnowledgeBase) -> dict[str, tuple[str, str]]:
    table = kb.read_chunks(["chunk_id", "text", "document_hash"])
    return {row["chunk_id"]: (row["text"], row["document_hash"]) for row in table.to_pylist()}


def test_documents_come_back_exactly(kb: KnowledgeBase):
    text = "# H\n\n  leading, 'quoted' and \"double\"\r\n\n\n" + "Ünï 🙂 word. " * 40 + "\n\n"
    stored = Document(
        document_id='it\'s "x"; --/ä#1',
        title="T",
        text=text,
        metadata={"n": 1, "f": 0.5, "b": True, "s": "ß", "none": None},
        acl=["hr", "it's"],
        uri="file",
    )
    put(kb, stored, doc("other"))

    assert kb.document(stored.document_id) == stored
    assert kb.document(stored.document_id).content_hash() == stored.content_hash()


def test_replacing_adding_and_removing_is_one_version(kb: KnowledgeBase):
    put(kb, doc("a", 60), doc("b", 60), doc("c", 60))
    before = kb.version
    old = rows(kb)
    table = KnowledgeBase.open(str(Path(kb._uri).parent)).read_chunks(where="document_id = 'a'")
    changed = table.slice(0, 1)  # one chunk instead of four
    version = kb.commit(changed, ["b", "unknown"])

    assert version == before + 1
    assert sorted(row.split("#")[0] for row in rows(kb)) == ["a"] + ["c"] * 4
    assert kb.document_hashes().keys() == {"a", "c"}
    older = KnowledgeBase.open(str(Path(kb._uri).parent), before)
    assert rows(older) == old


def test_nothing_to_do_makes_no_version(kb: KnowledgeBase):
    version = put(kb, doc("a"))

    assert put(kb, doc("a")) == version
    assert kb.commit(kb.read_chunks(where="false"), ["unknown"]) == version
    assert KnowledgeBase.create_or_open(str(Path(kb._uri).parent), SPEC).version == version
    assert kb.optimize() == version


def test_a_change_of_metadata_or_acl_alone_is_a_change(kb: KnowledgeBase):
    first = put(kb, doc("a"))
    second = put(kb, doc("a", acl=["hr"]))
    third = put(kb, doc("a", acl=["hr"], metadata={"region": "X"}))

    assert first < second < third
    assert kb.document("a").acl == ["hr"]


def test_delete_removes_all_chunks_and_unknown_is_not_found(kb: KnowledgeBase):
    put(kb, doc("a", 60), doc("b"))
    version = kb.version

    assert delete_document("a", kb) == version + 1
    assert kb.document_hashes().keys() == {"b"}
    with pytest.raises(NotFoundError, match="'a'"):
        kb.document("a")
    with pytest.raises(NotFoundError, match="'a'"):
        delete_document("a", kb)


def test_blank_or_doubled_documents_are_refused_and_change_nothing(kb: KnowledgeBase):
    version = put(kb, doc("a"))

    with pytest.raises(InputError, match="blank"):
        put(kb, doc("b"), Document(document_id="c", text=" \n"))
    with pytest.raises(InputError, match="twice"):
        put(kb, doc("b"), doc("b", seed=1))
    assert KnowledgeBase.open(str(Path(kb._uri).parent)).version == version


def random_change(kb: KnowledgeBase, generator: random.Random) -> None:
    ids = generator.sample("abcdef", 3)
    if generator.random() < 0.3 and ids[0] in kb.document_hashes():
        delete_document(ids[0], kb)
    elif generator.random() < 0.2:
        kb.optimize()
    else:
        put(kb, *(doc(i, generator.randint(1, 60), generator.randint(0, 2)) for i in ids))


@pytest.mark.parametrize("seed", range(5))
def test_a_delta_leads_from_any_version_to_any_later_one(seed: int, kb: KnowledgeBase):
    generator = random.Random(seed)
    states = {kb.version: rows(kb)}
    for _ in range(8):
        random_change(kb, generator)
        states[kb.version] = rows(kb)
    pairs = [(since, version) for since in states for version in states if since <= version]
    for since, version in pairs:
        delta = KnowledgeBase.open(str(Path(kb._uri).parent), version).delta(since)
        applied = dict(states[since])
        for chunk_id in delta.removed_chunk_ids:
            del applied[chunk_id]  # removed chunks existed before
        for row in delta.upserted.to_pylist():
            applied[row["chunk_id"]] = (row["text"], row["document_hash"])

        assert applied == states[version]
        assert delta.version == version
        assert not {*delta.removed_chunk_ids} & {*delta.upserted["chunk_id"].to_pylist()}


def test_an_update_brings_only_the_touched_documents_into_the_delta(kb: KnowledgeBase):
    put(kb, *(doc(f"d{i}", 40) for i in range(20)))
    version = kb.version
    put(kb, doc("d3", 40, seed=1), doc("new"), doc("d4", 40))
    delta = kb.delta(version)

    assert set(delta.upserted["document_id"].to_pylist()) == {"d3", "new"}
    assert delta.removed_chunk_ids == []


def test_a_snapshot_stays_where_it_is(kb: KnowledgeBase):
    put(kb, doc("a"))
    snapshot = kb.snapshot()
    version, content = snapshot.version, rows(snapshot)
    put(kb, doc("a", seed=1), doc("b"))

    assert kb.version > version
    assert (snapshot.version, rows(snapshot)) == (version, content)
    assert snapshot.checkout_latest() == kb.version


def test_full_text_search_finds_new_and_indexed_chunks_and_forgets_removed_ones(
    kb: KnowledgeBase,
):
    put(kb, doc("a"), Document(document_id="b", title="Zebra crossing", text="stripes"))
    table = kb.read_chunks(where="document_id = 'b'")
    assert [hit for hit, _ in kb.full_text_search("zebras?", 5)] == ["b#0"]  # in the title
    delete_document("b", kb)
    assert kb.full_text_search("zebra", 5) == []
    kb.commit(table)  # not in the index
    assert kb.unindexed_chunks() == 1
    assert [hit for hit, _ in kb.full_text_search("stripes", 5)] == ["b#0"]


@pytest.mark.parametrize(
    "query", ["", '"', "it's (a) [b] {c} AND OR NOT", "\\ ~^*?+-!:/ && ||", "\0", "🙂", "the"]
)
def test_nothing_in_a_question_is_query_syntax(query: str, kb: KnowledgeBase):
    put(kb, doc("a"))

    assert kb.full_text_search(query, 5) == []
    assert [hit for hit, _ in kb.full_text_search(f"{query} shop oil tax", 5)] == ["a#0"]


def test_another_embedder_is_refused(kb: KnowledgeBase):
    other = EmbedderSpec(name="hash", digest="1" * 64, dim=64, max_tokens=512)
    store = str(Path(kb._uri).parent)

    with pytest.raises(ArtifactMismatch, match="hash 111111111111"):
        KnowledgeBase.create_or_open(store, other)
    with pytest.raises(ArtifactMismatch):
        ingest_documents([doc("a")], kb, HashEmbedder(other))
    assert KnowledgeBase.open(store).count_chunks() == 0


def test_a_missing_store_or_version_is_not_found(tmp_path: Path, kb: KnowledgeBase):
    with pytest.raises(NotFoundError, match="run ingest"):
        KnowledgeBase.open(str(tmp_path / "none"))
    with pytest.raises(NotFoundError, match="99"):
        KnowledgeBase.open(str(tmp_path), 99)
    with pytest.raises(InputError, match="99"):
        kb.delta(99)


def test_a_foreign_lance_table_is_refused(tmp_path: Path):
    import lance
    import pyarrow as pa

    lance.write_dataset(pa.table({"a": [1]}), str(tmp_path / "kb"))

    with pytest.raises(ArtifactMismatch, match="not a knowledge base"):
        KnowledgeBase.open(str(tmp_path))


def test_writers_at_the_same_time_all_win_and_no_chunk_is_doubled(kb: KnowledgeBase):
    store = str(Path(kb._uri).parent)
    barrier = threading.Barrier(4)
    errors: list[BaseException] = []

    def write(writer: int) -> None:
        try:
            mine = KnowledgeBase.open(store)
            barrier.wait()
            for step in range(3):
                put(
                    mine, doc("shared", 40, seed=10 * writer + step), doc(f"own-{writer}", 40, step)
                )
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    kb.checkout_latest()
    ids = kb.read_chunks(["chunk_id"])["chunk_id"].to_pylist()
    assert len(ids) == len(set(ids))
    assert kb.document_hashes().keys() == {"shared", *(f"own-{writer}" for writer in range(4))}
    for writer in range(4):
        assert kb.document(f"own-{writer}") == doc(f"own-{writer}", 40, 2)
    candidates = [doc("shared", 40, seed=10 * writer + 2) for writer in range(4)]
    assert kb.document("shared") in candidates
