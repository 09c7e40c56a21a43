"""A published adapter's files, checked before anything is made of them."""

from pathlib import Path

import torch
from peft import PeftConfig
from safetensors import SafetensorError
from safetensors.torch import load

from rayraft.errors import ArtifactMismatch
from rayraft.manifests import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    MANIFEST,
    check_adapter,
    check_file,
    parse_manifest,
)


def read_adapter(
    folder: Path, base_digest: str, prompt_digest: str
) -> tuple[PeftConfig, dict[str, torch.Tensor]]:
    """Configuration and weights.

    Args:
        folder: Of the fetched artifact.
        base_digest: Of the model that it is for.
        prompt_digest: Of the prompts that it is for.

    Raises:
        ArtifactMismatch: It is for another base model or other prompts, of another kind than LoRA,
            or a file is missing or not the published one.
    """
    try:
        manifest = parse_manifest((folder / MANIFEST).read_bytes(), str(folder / MANIFEST))
        data = {name: (folder / name).read_bytes() for name in (ADAPTER_WEIGHTS, ADAPTER_CONFIG)}
    except FileNotFoundError as exc:
        raise ArtifactMismatch(f"adapter {folder}: {Path(exc.filename).name} is missing") from exc
    check_adapter(manifest, base_digest, prompt_digest, f"adapter {folder.name}")
    for name, content in data.items():
        check_file(manifest, name, content, str(folder))
    config = PeftConfig.from_pretrained(str(folder))
    if config.peft_type != "LORA":
        raise ArtifactMismatch(f"adapter {folder}: peft_type is {config.peft_type}, not LORA")
    config.inference_mode = True
    try:
        return config, load(data[ADAPTER_WEIGHTS])
    except SafetensorError as exc:
        raise ArtifactMismatch(f"adapter {folder}/{ADAPTER_WEIGHTS}: {exc}") from exc
