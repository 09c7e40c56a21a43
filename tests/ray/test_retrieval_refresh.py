"""An index that follows the knowledge base: refreshed equals fresh, one version a search."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from data_pipelines.ingest import delete_document
from data_pipelines.kb import KnowledgeBase
from rayraft.records import Document
from tests.ray.random_kb import (
    WORDS,
    put,
    random_document,
    random_kb,
    retriever,
    search,
)


@pytest.fixture
def kb(tmp_path: Path) -> KnowledgeBase:
    return random_kb(str(tmp_path))


@pytest.mark.parametrize("seed", range(4))
def test_a_refreshed_index_equals_a_fresh_one(seed: int, kb: KnowledgeBase):
    generator = random.Random(seed)
    followed = retriever(kb)
    for _ in range(6):
        for _ in range(generator.randint(1, 3)):
            numbers = generator.sample(range(80), 4)
            present = [i for i in (f"d{n}" for n in numbers) if i in kb.document_hashes()]
            if present and generator.random() < 0.4:
                delete_document(present[0], kb)
            else:
                put(kb, [random_document(number, generator) for number in numbers])
        assert followed.version < kb.version
        assert followed.refresh() == kb.version == followed.version
        fresh = retriever(kb)
        for method in ("dense", "sparse", "hybrid"):
            options = {"method": method, "groups": ("hr",), "where": {"region": "X"}}
            query = " ".join(generator.choices(WORDS, k=3))
            assert search(followed, query, 200, **options) == search(fresh, query, 200, **options)


def test_searches_see_their_version_until_refresh(kb: KnowledgeBase):
    found = retriever(kb)
    before = search(found, "u1 u2 u3", 10)
    version = found.version
    put(kb, [Document(document_id=f"d{n}", text="gone") for n in range(10)])

    assert found.version == version
    assert search(found, "u1 u2 u3", 10) == before
    assert found.refresh() == kb.version
    assert search(found, "u1 u2 u3", 10) != before


def test_passages_tell_the_version_that_wrote_them(kb: KnowledgeBase):
    found = retriever(kb)
    first = {p.document_id: p.updated_in or 0 for p in search(found, " ".join(WORDS), 100)}
    assert set(first.values()) == {next(iter(first.values()))}
    changed = put(kb, [Document(document_id="d1", text="oil tax rate shop lake bird")])
    found.refresh()
    second = {p.document_id: p.updated_in or 0 for p in search(found, " ".join(WORDS), 100)}
    # The full-text index may catch up in a version of its own after the write.
    before = first.pop("d1", max(first.values()))
    assert before < second.pop("d1") <= changed
    assert second == first


def test_searching_while_refreshing_never_mixes_versions(kb: KnowledgeBase):
    put(kb, [Document(document_id=f"d{n}", text=f"flag state0 u{n}") for n in range(60)])
    found = retriever(kb)
    done = threading.Event()
    problems: list[object] = []

    def keep_searching() -> None:
        while not done.is_set():
            try:
                passages = search(found, "flag", 60)
                states = {p.text.split()[1] for p in passages}
                if len(passages) != 60 or len(states) != 1:
                    problems.append((len(passages), states))
            except BaseException as exc:
                problems.append(exc)

    threads = [threading.Thread(target=keep_searching) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for state in range(1, 6):
            texts = [f"flag state{state} u{n}" for n in range(60)]
            put(kb, [Document(document_id=f"d{n}", text=text) for n, text in enumerate(texts)])
            found.refresh()
    finally:
        done.set()
        for thread in threads:
            thread.join()

    assert problems == []


@pytest.mark.parametrize("method", ["full_text_rows", "delta"])
def test_reading_from_storage_holds_up_no_other_search(
    method: str, kb: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
):
    found = retriever(kb)
    put(kb, [Document(document_id="d1", text="oil")])
    reading, answered = threading.Event(), threading.Event()
    read = getattr(KnowledgeBase, method)

    def slow(self: KnowledgeBase, *args: object, **options: object) -> object:
        reading.set()
        assert answered.wait(20), "the search waited for storage"
        return read(self, *args, **options)

    monkeypatch.setattr(KnowledgeBase, method, slow)
    with ThreadPoolExecutor(2) as threads:
        busy = threads.submit(
            found.refresh if method == "delta" else lambda: found.search(["a"], 3)
        )
        assert reading.wait(20)
        version = found.version
        assert threads.submit(search, found, "oil", 3, method="dense").result(timeout=10)
        assert found.version == version
        answered.set()
        busy.result(timeout=20)
