"""A small knowledge base of random words, and searches in it."""

import random

from data_pipelines.config import ChunkingConfig, RetrievalConfig
from data_pipelines.ingest import ingest_documents
from data_pipelines.kb import KnowledgeBase
from data_pipelines.retrieval import HybridRetriever
from rayraft.records import Document, Passage
from tests.ray.hash_embedder import SPEC, HashEmbedder

WORDS = [
    "oil",
    "tax",
    "rate",
    "shop",
    "lake",
    "bird",
    "stone",
    "glass",
    "river",
    "cloud",
    "paper",
    "metal",
]
GROUPS = ["hr", "it", "public", "leads"]
CHUNKING = ChunkingConfig(chunk_tokens=16)


def random_document(number: int, generator: random.Random) -> Document:
    return Document(
        document_id=f"d{number}",
        title=" ".join(generator.choices(WORDS, k=2)),
        text=" ".join(generator.choices(WORDS, k=generator.randint(3, 40))) + f" u{number}",
        metadata={"region": generator.choice(["X", "Y"]), "n": generator.randint(0, 9)},
        acl=generator.sample(GROUPS, generator.choice([0, 0, 1, 2])),
    )


def put(kb: KnowledgeBase, documents: list[Document]) -> int:
    return ingest_documents(documents, kb, HashEmbedder(), CHUNKING)


def random_kb(store: str) -> KnowledgeBase:
    """Sixty documents in a new store."""
    kb = KnowledgeBase.create_or_open(store, SPEC)
    generator = random.Random(0)
    put(kb, [random_document(number, generator) for number in range(60)])
    return kb


def retriever(kb: KnowledgeBase, **config: object) -> HybridRetriever:
    return HybridRetriever(kb, HashEmbedder(), RetrievalConfig.model_validate(config))


def search(found: HybridRetriever, query: str, k: int, **options: object) -> list[Passage]:
    [passages] = found.search([query], k, **options)  # type: ignore[arg-type]
    return passages


def readable(acl: list[str], groups: tuple[str, ...]) -> bool:
    return not acl or bool({*groups, "public"} & {*acl})
