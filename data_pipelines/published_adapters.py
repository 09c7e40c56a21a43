"""The published adapters that a base model can use; service and evaluation choose from this list.

Which one is meant when a request names none is decided here, so that what is measured is what
answers.
"""

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from data_pipelines.artifacts import ArtifactRef, listing, read_manifest
from data_pipelines.champions import Role, crowned_adapters, roles_of
from rayraft.errors import ArtifactMismatch, NotFoundError
from rayraft.manifests import Manifest, check_adapter
from rayraft.prompts import prompt_digest
from rayraft.protocols import AdapterRef
from rayraft.tenants import may_use_adapter, owner_of_adapter

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishedAdapter:
    """A published adapter that fits the base model and the prompts."""

    ref: ArtifactRef
    manifest: Manifest
    champion_of: frozenset[Role] = frozenset()

    @property
    def reference(self) -> AdapterRef:
        """As the answering logic knows it."""
        return AdapterRef(self.ref.artifact_id, self.manifest.kb_version)


def fitting_adapters(store: str, base_digest: str) -> list[PublishedAdapter]:
    """The store's adapters that fit the base model and today's prompts, oldest first.

    One whose manifest cannot be read is left out with a warning: it must not take the others along.
    """
    crowned = crowned_adapters(store)
    fitting = []
    for ref in listing(store, "adapter"):
        try:
            manifest = _manifest(ref)
        except (ArtifactMismatch, NotFoundError) as exc:
            logger.warning("adapter %s is left out: %s", ref.artifact_id, exc)
            continue
        try:
            check_adapter(manifest, base_digest, prompt_digest(), ref.artifact_id)
        except ArtifactMismatch:
            continue
        roles = frozenset(role for role, winner in crowned if winner == ref.artifact_id)
        fitting.append(PublishedAdapter(ref, manifest, roles))
    return sorted(fitting, key=lambda a: (a.manifest.created, a.ref.version or 0, a.ref.name))


def default_adapter(
    adapters: Sequence[PublishedAdapter], role: Role, groups: Sequence[str] = ()
) -> PublishedAdapter | None:
    """The champion of the role, else the adapter published last of those trained for it.

    A tenant's own adapters go before those that all share; other tenants' are not looked at.
    """
    usable = [a for a in adapters if may_use_adapter(a.ref.name, groups)]
    trained = [a for a in usable if role in roles_of(a.manifest)]
    trained = [a for a in trained if owner_of_adapter(a.ref.name)] or trained
    crowned = [a for a in trained if role in a.champion_of]
    candidates = crowned or trained
    return candidates[-1] if candidates else None


@functools.lru_cache(maxsize=1024)
def _manifest(ref: ArtifactRef) -> Manifest:
    return read_manifest(ref)  # published artifacts never change
