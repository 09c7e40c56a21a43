"""The adapter that a training goes on from."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from data_pipelines import artifacts
from data_pipelines.artifacts import ArtifactRef
from rayraft.errors import ConfigError
from rayraft.manifests import ADAPTER_WEIGHTS, Manifest, check_adapter
from rayraft.models.base_files import base_digest
from rayraft.prompts import prompt_digest
from train.config import TrainConfig


@dataclass(frozen=True)
class StartingAdapter:
    """A published adapter with its weights."""

    ref: ArtifactRef
    manifest: Manifest
    weights: bytes
    """A safetensors file."""


def starting_adapter(store: str, config: TrainConfig) -> StartingAdapter | None:
    """What `config.start_from` names, verified; None if it names nothing.

    Raises:
        NotFoundError: There is no such adapter.
        ArtifactMismatch: It belongs to another base model or other prompts, or was changed.
        ConfigError: Its `lora` settings are others.
    """
    if config.start_from is None:
        return None
    ref = artifacts.find(store, "adapter", config.start_from)
    with TemporaryDirectory() as folder:
        manifest = artifacts.fetch(ref, Path(folder))
        weights = (Path(folder) / ADAPTER_WEIGHTS).read_bytes()
    fits = base_digest(config.base_model), prompt_digest()
    check_adapter(manifest, *fits, f"start_from={ref.artifact_id}")
    trained, wanted = manifest.config.get("lora", {}), config.lora.model_dump(mode="json")
    for field, value in wanted.items():
        if field != "dropout" and trained.get(field) != value:
            raise ConfigError(
                f"start_from={ref.artifact_id}: has lora.{field}={trained.get(field)!r}, "
                f"not {value!r}"
            )
    return StartingAdapter(ref, manifest, weights)
