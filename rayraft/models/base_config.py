"""Configuration and tokenizer of a base model, without the model classes of Transformers."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import AutoConfig, AutoTokenizer

from rayraft.errors import InputError
from rayraft.models.base_files import base_folder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_tokenizer(base_model: str) -> "PreTrainedTokenizerBase":
    """The tokenizer of a base model."""
    folder = base_folder(base_model)
    read_config(folder)
    return AutoTokenizer.from_pretrained(folder)


def is_encoder_decoder(base_model: str) -> bool:
    """Whether the base model reads the prompt with an encoder of its own."""
    return bool(read_config(base_folder(base_model)).is_encoder_decoder)


def read_config(folder: Path) -> Any:
    """The configuration in a folder.

    Raises:
        InputError: There is none, or it would run code of its own.
    """
    import rayraft.mini.configuration  # noqa: F401  registers the shipped ones

    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as exc:
        raise InputError(f"base model {folder}: config.json: {exc}") from exc
    if "auto_map" in values:
        raise InputError(f"base model {folder}: config.json has auto_map, which would run its code")
    return AutoConfig.from_pretrained(folder)
