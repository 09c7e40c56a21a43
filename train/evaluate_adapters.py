"""Which adapters an evaluation uses. Checked before any worker starts."""

from collections.abc import Sequence
from dataclasses import dataclass

from data_pipelines import artifacts
from data_pipelines.published_adapters import (
    PublishedAdapter,
    default_adapter,
    fitting_adapters,
)
from data_pipelines.published_routers import fitting_routers, newest_router
from rayraft.arms import parse_arm
from rayraft.errors import NotFoundError
from rayraft.learned_router import LearnedRouter
from rayraft.manifests import check_adapter
from rayraft.models.base_files import base_digest
from rayraft.prompts import prompt_digest
from train.evaluate_config import EvaluateConfig


@dataclass(frozen=True)
class ChosenAdapters:
    """The adapters of all modes; None where a mode uses none."""

    raft: PublishedAdapter | None = None
    """For raft and auto."""
    closed_book: PublishedAdapter | None = None
    """For closed_book and that side of blend."""
    router: LearnedRouter | None = None
    """For auto; None where the rule decides."""
    routed: tuple[PublishedAdapter, ...] = ()
    """Those that the router may choose."""

    def distinct(self) -> list[PublishedAdapter]:
        """Each adapter once."""
        found = {a.ref.artifact_id: a for a in (self.raft, self.closed_book, *self.routed) if a}
        return list(found.values())


def choose_adapters(store: str, config: EvaluateConfig) -> ChosenAdapters:
    """The adapters for `config.modes`.

    A named adapter is taken or refused. Without a name the champion counts, else the one
    published last that fits the base model: for raft and auto of those trained with passages, for
    closed_book and blend of those trained without them, else the one of raft.

    Raises:
        NotFoundError: A named adapter does not exist; mode raft is asked for and there is none.
        ArtifactMismatch: A named adapter belongs to another base model or to other prompts.
    """
    fits_base = base_digest(config.base_model)
    wanted = {parse_arm(mode).mode for mode in config.modes}
    reading = _named(store, config.adapter, fits_base)
    memory = _named(store, config.adapter_closed_book, fits_base)
    memory_modes = {"closed_book", "blend"}
    if not wanted & {"raft", "auto", *memory_modes}:
        return ChosenAdapters()
    routes = config.router if "auto" in wanted else None
    published: list[PublishedAdapter] = []
    if reading is None or memory is None or routes is not None:
        published = fitting_adapters(store, fits_base)
    if reading is None or memory is None:
        if memory is None and reading is None:
            memory = default_adapter(published, "memory")
        reading = reading or default_adapter(published, "reading")
    if "raft" in wanted and reading is None:
        there = [ref.artifact_id for ref in artifacts.listing(store, "adapter")]
        raise NotFoundError(
            f"mode raft: {store} has no adapter trained with passages for base model "
            f"{config.base_model!r} (published: {', '.join(there) or 'none'}); train one, name "
            "one with --adapter, or leave the mode out"
        )
    router, routed = _router(store, routes, reading, published, fits_base)
    return ChosenAdapters(
        router=router,
        routed=routed,
        raft=reading if wanted & {"raft", "auto"} else None,
        closed_book=(memory or reading) if wanted & memory_modes else None,
    )


def _router(
    store: str,
    wanted: str | None,
    reading: PublishedAdapter | None,
    published: Sequence[PublishedAdapter],
    fits_base: str,
) -> tuple[LearnedRouter | None, tuple[PublishedAdapter, ...]]:
    """The router for auto with the adapters that it may choose, as the service takes it."""
    if wanted is None:
        return None, ()
    routers = fitting_routers(store, fits_base, [a.ref.artifact_id for a in published])
    if wanted != "latest":
        known = ", ".join(router.name for router in routers) or "none"
        routers = [router for router in routers if router.name == wanted]
        if not routers:
            raise NotFoundError(
                f"router {wanted!r} does not exist or does not fit; fitting: {known}"
            )
    router = newest_router(routers, reading.ref.artifact_id if reading else None)
    if router is None:
        return None, ()
    return router, tuple(a for a in published if a.ref.artifact_id in router.adapters)


def _named(store: str, name: str | None, fits_base: str) -> PublishedAdapter | None:
    if name is None:
        return None
    ref = artifacts.find(store, "adapter", name)
    manifest = artifacts.read_manifest(ref)
    check_adapter(manifest, fits_base, prompt_digest(), f"adapter {ref.artifact_id}")
    return PublishedAdapter(ref, manifest)
