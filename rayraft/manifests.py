"""What an artifact says of itself: what it was made from, its files, its figures.

Knows nothing about storage; `data_pipelines.artifacts` writes, lists and verifies.
"""

import hashlib
import json
from typing import Any, Literal

from pydantic import Field, ValidationError

from rayraft.config import explain
from rayraft.errors import ArtifactMismatch
from rayraft.records import Record

Kind = Literal[
    "adapter",
    "raft",
    "eval",
    "router",
    "refresh",
    "comparison",
    "model",
    "index",
    "reranker",
    "embedder",
]
MANIFEST = "manifest.json"
ADAPTER_WEIGHTS, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
"""Files of an adapter, as PEFT names them."""


class Manifest(Record):
    """The content of `manifest.json`; a field that does not apply is None or empty."""

    kind: Kind
    created: str = ""
    """UTC, ISO 8601; set on publishing."""
    commit: str | None = None
    """Git commit of the code that published it; None where it did not run from a checkout."""
    rayraft_version: str | None = None
    """Of the package that published it."""
    made_from: list[str] = Field(default_factory=list)
    """Other artifacts and sources, such as `raft/<run>`."""
    kb_version: int | None = None
    """Knowledge base version that all of it was made from."""
    base_model: str | None = None
    base_digest: str | None = None
    """Of the base model's weights, tokenizer and configuration."""
    prompt_digest: str | None = None
    data_digest: str | None = None
    """Of all that the rows hold."""
    config: dict[str, Any] = Field(default_factory=dict)
    """The resolved configuration."""
    files: dict[str, str] = Field(default_factory=dict)
    """File name to hex sha256; set on publishing."""
    metrics: dict[str, float] = Field(default_factory=dict)
    curve: list[dict[str, float]] = Field(default_factory=list)
    """Training: loss by step."""

    def to_json(self) -> str:
        """The text of the file."""
        return json.dumps(self.model_dump(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def parse_manifest(text: str | bytes, source: str) -> Manifest:
    """The manifest in a file's text.

    Raises:
        ArtifactMismatch: The text is no manifest.
    """
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as exc:
        raise ArtifactMismatch(f"{source}: not a manifest: {explain(exc)}") from exc


def sha256(data: bytes) -> str:
    """Hex sha256 of a file's bytes."""
    return hashlib.sha256(data).hexdigest()


def check_file(manifest: Manifest, name: str, data: bytes, source: str) -> None:
    """Compares a file with its sum in the manifest.

    Raises:
        ArtifactMismatch: The file is not the one that was published.
    """
    expected, found = manifest.files.get(name), sha256(data)
    if expected != found:
        raise ArtifactMismatch(f"{source}/{name}: sha256 is {found[:12]}, manifest says {expected}")


def check_adapter(manifest: Manifest, base_digest: str, prompt_digest: str, source: str) -> None:
    """Whether an adapter belongs to this base model and these prompts.

    Raises:
        ArtifactMismatch: It does not; names which digest differs.
    """
    if manifest.kind != "adapter":
        raise ArtifactMismatch(f"{source}: kind is {manifest.kind}, not adapter")
    pairs = {
        "base model": (manifest.base_digest, base_digest),
        "prompts": (manifest.prompt_digest, prompt_digest),
    }
    for what, (trained, loaded) in pairs.items():
        if trained != loaded:
            raise ArtifactMismatch(
                f"{source}: trained with other {what} "
                f"(digest {(trained or 'none')[:12]}, loaded {loaded[:12]})"
            )
