"""Which adapters an evaluation uses. Checked before any worker starts."""

from collections.abc import Sequence
from dataclasses import dataclass

from data_pipelines import artifacts
from data_pipelines.artifacts import ArtifactRef
from rayraft.errors import ArtifactMismatch, NotFoundError
from rayraft.manifests import Manifest, check_adapter
from rayraft.models.base import base_digest
from rayraft.prompts import prompt_digest
from rayraft.protocols import AdapterRef
from train.evaluate_config import EvaluateConfig

READING_METHODS = ("raft", "mixed")
MEMORY_METHODS = ("sft", "mixed")


@dataclass(frozen=True)
class ChosenAdapter:
    """A published adapter that fits the base model and the prompts."""

    ref: ArtifactRef
    manifest: Manifest

    @property
    def reference(self) -> AdapterRef:
        """As the answering logic knows it."""
        return AdapterRef(self.ref.artifact_id, self.manifest.kb_version)


@dataclass(frozen=True)
class ChosenAdapters:
    """The adapters of all modes; None where a mode uses none."""

    raft: ChosenAdapter | None = None
    """For raft and auto."""
    closed_book: ChosenAdapter | None = None

    def distinct(self) -> list[ChosenAdapter]:
        """Each adapter once."""
        found = {a.ref.artifact_id: a for a in (self.raft, self.closed_book) if a is not None}
        return list(found.values())


def choose_adapters(store: str, config: EvaluateConfig) -> ChosenAdapters:
    """The adapters for `config.modes`.

    A named adapter is taken or refused. Without a name the one published last counts that fits
    the base model: for raft and auto one that was trained with passages, for closed_book one that
    was trained without them, else the one of raft.

    Raises:
        NotFoundError: A named adapter does not exist; mode raft is asked for and there is none.
        ArtifactMismatch: A named adapter belongs to another base model or to other prompts.
    """
    fits_base = base_digest(config.base_model)
    wanted = set(config.modes)
    reading = _named(store, config.adapter, fits_base)
    memory = _named(store, config.adapter_closed_book, fits_base)
    if not wanted & {"raft", "auto", "closed_book"}:
        return ChosenAdapters()
    if reading is None or memory is None:
        published = fitting_adapters(store, fits_base)
        if memory is None and reading is None:
            memory = _newest(published, MEMORY_METHODS)
        reading = reading or _newest(published, READING_METHODS)
    if "raft" in wanted and reading is None:
        there = [ref.artifact_id for ref in artifacts.listing(store, "adapter")]
        raise NotFoundError(
            f"mode raft: {store} has no adapter trained with passages for base model "
            f"{config.base_model!r} (published: {', '.join(there) or 'none'}); train one, name "
            "one with --adapter, or leave the mode out"
        )
    return ChosenAdapters(
        raft=reading if wanted & {"raft", "auto"} else None,
        closed_book=(memory or reading) if "closed_book" in wanted else None,
    )


def fitting_adapters(store: str, fits_base: str) -> list[ChosenAdapter]:
    """Published adapters of this base model and these prompts, oldest first."""
    fitting = []
    for ref in artifacts.listing(store, "adapter"):
        manifest = artifacts.read_manifest(ref)
        try:
            check_adapter(manifest, fits_base, prompt_digest(), ref.artifact_id)
        except ArtifactMismatch:
            continue
        fitting.append(ChosenAdapter(ref, manifest))
    return sorted(fitting, key=lambda a: (a.manifest.created, a.ref.version or 0, a.ref.name))


def _named(store: str, name: str | None, fits_base: str) -> ChosenAdapter | None:
    if name is None:
        return None
    ref = artifacts.find(store, "adapter", name)
    manifest = artifacts.read_manifest(ref)
    check_adapter(manifest, fits_base, prompt_digest(), f"adapter {ref.artifact_id}")
    return ChosenAdapter(ref, manifest)


def _newest(published: Sequence[ChosenAdapter], methods: Sequence[str]) -> ChosenAdapter | None:
    of_method = [a for a in published if a.manifest.config.get("method") in methods]
    return of_method[-1] if of_method else None
