"""Embedders by the names that a store knows: `minilm`, a folder, or one that it published.

What travels to workers is a source, which every machine can open: a name, a folder, or the URI of a
published embedder in a bucket, which each machine copies into its cache.
"""

import functools
from typing import TYPE_CHECKING

from data_pipelines.artifacts import ArtifactRef, find
from data_pipelines.kb import KnowledgeBase
from data_pipelines.model_artifacts import is_artifact_id, model_folder
from data_pipelines.stores import store_uri
from rayraft.models.embedder_tokenizer import EmbedderTokenizer
from rayraft.models.spec import EmbedderSpec

if TYPE_CHECKING:
    from rayraft.models.embedder import Embedder


def embedder_source(store: str, name: str) -> str:
    """What the loaders here are given for the embedder that a setting or a store names.

    Args:
        store: Folder or URI, whose published embedders are `name-vN`.
        name: Of the embedder.

    Raises:
        NotFoundError: It is an artifact's id, and the store has no such artifact.
    """
    if not is_artifact_id(name):
        return name
    ref = find(store_uri(store), "embedder", name)
    return ref.uri if "://" in ref.store else str(model_folder(ref))


def named(spec: EmbedderSpec, name: str) -> EmbedderSpec:
    """What a store writes down of an embedder: the name that it was given, not its source."""
    return spec.model_copy(update={"name": name})


def open_embedder(kb: KnowledgeBase, threads: int | None = None) -> "Embedder":
    """The embedder that a knowledge base was made with.

    Args:
        kb: The knowledge base.
        threads: Torch threads of this process; None leaves them as they are.

    Raises:
        NotFoundError: It was published in the store, and is there no more.
        ArtifactMismatch: A file is not the one that was published.
    """
    return load_embedder(embedder_source(kb.store, kb.embedder.name), threads)


def load_embedder(source: str, threads: int | None = None) -> "Embedder":
    """The embedder of a source."""
    from rayraft.models.embedder import Embedder  # brings torch

    return Embedder.load(_local(source), threads=threads)


@functools.cache
def load_tokenizer(source: str) -> EmbedderTokenizer:
    """The tokenizer of a source; parsed once a process: it takes longer than cutting a block."""
    return EmbedderTokenizer.load(_local(source))


def _local(source: str) -> str:
    if "://" not in source:
        return source
    store, _, name, number = source.rsplit("/", 3)
    return str(model_folder(ArtifactRef(store, "embedder", name, int(number))))
