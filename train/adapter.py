"""From a RAFT run to a published adapter."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import ray.data

from data_pipelines import artifacts
from data_pipelines.artifacts import ArtifactRef
from data_pipelines.raft_reading import SPLITS, read_run
from data_pipelines.stores import store_uri
from rayraft.errors import ArtifactMismatch, ConfigError, InputError
from rayraft.manifests import Manifest
from rayraft.models.base import base_digest
from rayraft.prompts import prompt_digest
from rayraft.records import digest
from train.config import TrainConfig, deciding_settings
from train.features import encode_examples
from train.fit import FitResult, RunPlace, encode, fit_features

logger = logging.getLogger(__name__)

EXAMPLES_PER_BLOCK = 512
Watch = Callable[[RunPlace], None]
"""Told where the run is kept, before it begins."""


@dataclass(frozen=True)
class Trained:
    """A published adapter."""

    ref: ArtifactRef
    manifest: Manifest
    is_new: bool
    """False: the same training had been published before, nothing was done."""


def train_adapter(
    store: str, config: TrainConfig, name: str, run: str | None = None, watch: Watch | None = None
) -> Trained:
    """Trains on a RAFT run and publishes `<store>/adapters/<name>/<n>/`.

    The run's name comes from all that decides its result: after a crash the same command goes on
    from the last checkpoint, and after success it finds the adapter published.

    Raises:
        NotFoundError: There is no such RAFT run.
        ArtifactMismatch: The run was written for other prompts.
        InputError: The run holds no example to train on.
        ConfigError: `config.tuning` is not lora.
    """
    if config.tuning != "lora":
        raise ConfigError(f"tuning={config.tuning}: an adapter is lora")
    artifacts.check_name("adapter", name)
    source = artifacts.find(store, "raft", run) if run else artifacts.latest(store, "raft")
    made_of = artifacts.read_manifest(source)
    if made_of.prompt_digest not in (None, prompt_digest()):
        raise ArtifactMismatch(f"{source.uri}: written for other prompts; run raft again")
    recipe = digest([deciding_settings(config), made_of.files, base_digest(config.base_model)])
    place = RunPlace(f"{store_uri(store)}/runs", f"{name}-{recipe[:12]}")
    for published in artifacts.listing(store, "adapter", name):
        manifest = artifacts.read_manifest(published)
        if f"runs/{place.name}" in manifest.made_from:
            return Trained(published, manifest, is_new=False)
    if watch is not None:
        watch(place)
    features, validation = _features(source, config)
    result = fit_features(config, features, place, validation if validation.count() else None)
    manifest = Manifest(
        kind="adapter",
        made_from=[f"raft/{source.name}", f"runs/{place.name}"],
        kb_version=made_of.kb_version,
        base_model=config.base_model,
        base_digest=base_digest(config.base_model),
        prompt_digest=prompt_digest(),
        data_digest=made_of.data_digest,
        config=config.model_dump(mode="json"),
        metrics=result.metrics | {"rows": features.count(), "validation_rows": validation.count()},
        curve=result.curve,
    )
    ref = _publish(store, name, result, manifest)
    return Trained(ref, artifacts.read_manifest(ref), is_new=True)


def _features(
    source: ArtifactRef, config: TrainConfig
) -> tuple[ray.data.Dataset, ray.data.Dataset]:
    tables = read_run(source)
    features, validation = (
        encode(_examples(tables[side]), encode_examples, config) for side in SPLITS
    )
    rows = tables["train"].num_rows
    expected = rows * (2 if config.method == "mixed" else 1)
    made = features.count()
    if made == 0:
        raise InputError(
            f"{source.uri}: none of {rows} training examples makes a row of method "
            f"{config.method} within max_prompt_tokens={config.max_prompt_tokens} and "
            f"max_completion_tokens={config.max_completion_tokens}"
        )
    if made < expected:
        logger.warning(
            "%d of %d training rows are left out (too long, or no answer to learn by heart)",
            expected - made,
            expected,
        )
    return features, validation


def _examples(table: pa.Table) -> ray.data.Dataset:
    starts = range(0, max(1, table.num_rows), EXAMPLES_PER_BLOCK)
    return ray.data.from_arrow([table.slice(start, EXAMPLES_PER_BLOCK) for start in starts])


def _publish(store: str, name: str, result: FitResult, manifest: Manifest) -> ArtifactRef:
    with TemporaryDirectory() as folder:
        exported = result.export_to(Path(folder))
        files: dict[str, bytes | Path] = {path.name: path for path in exported.iterdir()}
        return artifacts.publish(store, "adapter", name, files, manifest)
