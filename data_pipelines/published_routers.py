"""The published routers that fit a base model, the prompts and the published adapters.

Service, `ask` and evaluation choose from this list, so that what is measured is what answers.
"""

import functools
import logging
from collections.abc import Collection, Sequence

from data_pipelines.artifacts import ArtifactRef, listing, read_file, read_manifest
from rayraft.errors import ArtifactMismatch, NotFoundError
from rayraft.learned_router import LearnedRouter, parse_router
from rayraft.manifests import check_file
from rayraft.prompts import prompt_digest

logger = logging.getLogger(__name__)

FILE = "router.json"


def fitting_routers(
    store: str, base_digest: str, adapter_ids: Collection[str]
) -> list[LearnedRouter]:
    """The store's routers for this base model and today's prompts, oldest first.

    One that may choose an adapter which is not published is left out, as is one that cannot be
    read, with a warning: a router must never break answering.
    """
    fitting = []
    for ref in listing(store, "router"):
        try:
            created, router = _router(ref)
        except (ArtifactMismatch, NotFoundError) as exc:
            logger.warning("router %s is left out: %s", ref.artifact_id, exc)
            continue
        same = (router.base_digest, router.prompt_digest) == (base_digest, prompt_digest())
        if same and router.adapters <= set(adapter_ids):
            fitting.append((created, router))
    return [router for _, router in sorted(fitting, key=lambda each: (each[0], each[1].name))]


def newest_router(routers: Sequence[LearnedRouter], adapter_id: str | None) -> LearnedRouter | None:
    """The last router that was learned with this adapter (None: without one), if there is any."""
    learned = [router for router in routers if router.adapter == adapter_id]
    return learned[-1] if learned else None


@functools.lru_cache(maxsize=256)
def _router(ref: ArtifactRef) -> tuple[str, LearnedRouter]:
    """When it was made, and the router; published artifacts never change."""
    manifest, data = read_manifest(ref), read_file(ref, FILE)
    check_file(manifest, FILE, data, ref.uri)
    return manifest.created, parse_router(data, f"{ref.uri}/{FILE}")
