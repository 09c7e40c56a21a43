"""Where a refresh begins: roles, the champion, and what it has heard."""

import logging

from data_pipelines import artifacts
from data_pipelines.artifacts import ArtifactRef
from data_pipelines.champions import METHODS, ROLES, Role, champions
from rayraft.models.base_files import base_digest
from rayraft.prompts import prompt_digest
from rayraft.tenants import owner_of_adapter
from train.config import TrainConfig

logger = logging.getLogger(__name__)

MODE_OF: dict[Role, str] = {"reading": "raft", "memory": "closed_book"}
"""How an adapter of a role is asked."""


def roles_of(config: TrainConfig) -> list[Role]:
    """The roles of adapters trained by this method; the first decides who the champion is."""
    return [role for role in ROLES if config.method in METHODS[role]]


def champion_of(store: str, role: Role, config: TrainConfig, name: str) -> ArtifactRef | None:
    """The champion of a role, if it fits the base model and the prompts; else None.

    Of the tenant that an adapter of this `name` belongs to, or of those that all share.
    """
    adapter_id = champions(store, owner_of_adapter(name)).get(role)
    if adapter_id is None:
        return None
    ref = artifacts.find(store, "adapter", adapter_id)
    manifest = artifacts.read_manifest(ref)
    fits = (manifest.base_digest, manifest.prompt_digest)
    if fits != (base_digest(config.base_model), prompt_digest()):
        logger.warning("champion %s has another base model or other prompts", adapter_id)
        return None
    return ref
