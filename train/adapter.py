"""From a RAFT run to a published adapter."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import ray.data

from data_pipelines import artifacts
from data_pipelines.artifacts import ArtifactRef
from data_pipelines.raft_reading import read_run
from data_pipelines.ray_tables import from_tables
from data_pipelines.stores import store_uri
from rayraft.errors import ArtifactMismatch, ConfigError, InputError
from rayraft.manifests import Manifest
from rayraft.models.base_files import base_digest
from rayraft.prompts import prompt_digest
from rayraft.records import digest
from rayraft.tenants import check_learner, groups_of, owner_of_adapter
from train.config import TrainConfig, deciding_settings
from train.curve_svg import curve_svg
from train.example_views import ExampleView, kinds, view_of
from train.features import encode_examples
from train.fit import FitResult, encode, fit_features
from train.run_files import RunPlace
from train.starting import starting_adapter

logger = logging.getLogger(__name__)

EXAMPLES_PER_BLOCK = 512
PICTURE = "loss_curve.svg"
"""The curve as a picture, beside the weights."""
Watch = Callable[[RunPlace], None]
"""Told where the run is kept, before it begins."""


@dataclass(frozen=True)
class Trained:
    """A published adapter."""

    ref: ArtifactRef
    manifest: Manifest
    is_new: bool
    """False: the same training had been published before, nothing was done."""


def train_adapter(  # noqa: PLR0913 - two of them are rarely said
    store: str,
    config: TrainConfig,
    name: str,
    run: str | None = None,
    watch: Watch | None = None,
    heard: Sequence[str] = (),
) -> Trained:
    """Trains on a RAFT run and publishes `<store>/adapters/<name>/<n>/`.

    The run's name comes from all that decides its result: after a crash the same command goes on
    from the last checkpoint, and after success it finds the adapter published.

    Args:
        store: Folder or URI.
        config: Of the training.
        name: Of the adapter.
        run: RAFT run; None takes the newest.
        watch: Told where the run is kept.
        heard: What else went into the examples, for the manifest, such as `feedback@N`.

    Raises:
        NotFoundError: There is no such RAFT run, or no adapter to start from.
        ArtifactMismatch: The run has other prompts, or the adapter to start from another base.
        InputError: The run holds no example to train on, or what only another tenant may read.
        ConfigError: `config.tuning` is not lora, `config.start_from` has other `lora` settings, or
            the run has fewer golden passages or distractors than are asked for.
    """
    if config.tuning != "lora":
        raise ConfigError(f"tuning={config.tuning}: an adapter is lora")
    artifacts.check_name("adapter", name)
    source, made_of = examples_run(store, run)
    view = view_of(config, made_of.config)
    begin = starting_adapter(store, config)
    _check_tenants(name, source, made_of, begin.ref if begin else None)
    parts = [deciding_settings(config), made_of.files, base_digest(config.base_model)]
    recipe = digest(parts if begin is None else [*parts, begin.manifest.files])
    place = RunPlace(f"{store_uri(store)}/runs", f"{name}-{recipe[:12]}")
    if there := _published(store, name, place):
        return there
    if watch is not None:
        watch(place)
    features, validation = features_of(source, config, view)
    held_out = validation if validation.count() else None
    result = fit_features(config, features, place, held_out, begin.weights if begin else None)
    rows = {"rows": features.count(), "validation_rows": validation.count()}
    parents = [f"adapters/{begin.ref.artifact_id}"] if begin else []
    manifest = Manifest(
        kind="adapter",
        made_from=[f"raft/{source.name}", f"runs/{place.name}", *parents, *heard],
        kb_version=made_of.kb_version,
        data_digest=made_of.data_digest,
        metrics=result.metrics | rows,
        curve=result.curve,
        **_bound_to(config),
    )
    ref = _publish(store, name, result, manifest)
    return Trained(ref, artifacts.read_manifest(ref), is_new=True)


def _check_tenants(
    name: str, source: ArtifactRef, made_of: Manifest, begin: ArtifactRef | None
) -> None:
    """Whether the adapter may learn these examples, and go on from that adapter."""
    check_learner(name, made_of.config.get("groups") or (), source.uri)
    if begin is not None and (tenant := owner_of_adapter(begin.name)):
        check_learner(name, groups_of(tenant), begin.uri)


def examples_run(store: str, run: str | None) -> tuple[ArtifactRef, Manifest]:
    """The RAFT run of this name, or the newest, and its manifest.

    Raises:
        NotFoundError: There is none.
        ArtifactMismatch: It was written for other prompts.
    """
    source = artifacts.find(store, "raft", run) if run else artifacts.latest(store, "raft")
    manifest = artifacts.read_manifest(source)
    if manifest.prompt_digest not in (None, prompt_digest()):
        raise ArtifactMismatch(f"{source.uri}: written for other prompts; run raft again")
    return source, manifest


def _published(store: str, name: str, place: RunPlace) -> Trained | None:
    """What the same training had published before."""
    for ref in artifacts.listing(store, "adapter", name):
        manifest = artifacts.read_manifest(ref)
        if f"runs/{place.name}" in manifest.made_from:
            return Trained(ref, manifest, is_new=False)
    return None


def _bound_to(config: TrainConfig) -> dict[str, Any]:
    """What of the manifest follows from the configuration."""
    return {
        "base_model": config.base_model,
        "base_digest": base_digest(config.base_model),
        "prompt_digest": prompt_digest(),
        "config": config.model_dump(mode="json"),
    }


def features_of(
    source: ArtifactRef, config: TrainConfig, view: ExampleView | None
) -> tuple[ray.data.Dataset, ray.data.Dataset]:
    """Training rows and validation rows; these show what the run shows, whatever is trained on."""
    tables = read_run(source)
    features = encode(_examples(tables["train"]), partial(encode_examples, view=view), config)
    validation = encode(_examples(tables["validation"]), encode_examples, config)
    ids = tables["train"]["example_id"].to_pylist()
    mix = config.method, config.closed_book_share, config.seed
    expected = sum(sum(kinds(example_id, *mix)) for example_id in ids)
    made = features.count()
    if made == 0:
        raise InputError(
            f"{source.uri}: none of {len(ids)} training examples makes a row of method "
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
    return from_tables(table.slice(start, EXAMPLES_PER_BLOCK) for start in starts)


def _publish(store: str, name: str, result: FitResult, manifest: Manifest) -> ArtifactRef:
    with TemporaryDirectory() as folder:
        exported = result.export_to(Path(folder))
        files: dict[str, bytes | Path] = {path.name: path for path in exported.iterdir()}
        files[PICTURE] = curve_svg(result.curve, name).encode()
        return artifacts.publish(store, "adapter", name, files, manifest)
