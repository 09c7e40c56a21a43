"""What an actor that answers questions loads: the retriever of a version, the model, its adapters.

A module of its own because it brings torch and Transformers, ten seconds of a core: actors import
it when they start, the driver that sends them questions never does.
"""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from data_pipelines import artifacts
from data_pipelines.artifacts import ArtifactRef
from data_pipelines.kb import KnowledgeBase
from data_pipelines.open_retriever import open_retriever
from data_pipelines.retrieval import HybridRetriever
from rayraft.models.text import TextModel
from train.evaluate_config import EvaluateConfig


def load_models(
    store: str, version: int, config: EvaluateConfig, adapters: Iterable[ArtifactRef]
) -> tuple[HybridRetriever, TextModel]:
    """Retriever and model, each for one thread; adapters go by their artifacts' ids."""
    retriever = open_retriever(KnowledgeBase.open(store, version), config.retrieval, threads=1)
    model = TextModel.load(config.base_model, threads=1)
    for ref in adapters:
        with TemporaryDirectory() as folder:
            artifacts.fetch(ref, Path(folder))
            model.load_adapter(ref.artifact_id, Path(folder))
    return retriever, model
