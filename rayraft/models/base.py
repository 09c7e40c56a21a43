"""Base models: which folder a name means, what its bytes are, and loading them."""

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from rayraft.errors import InputError, NotFoundError
from rayraft.models.dtypes import torch_dtype
from rayraft.models.embedder_tokenizer import DEFAULT_EMBEDDER
from rayraft.models.embedder_tokenizer import model_folder as embedder_folder
from rayraft.models.model_manifest import verify_model

MINI, MINI_RERANKER = "mini", "mini-reranker"
_DIGESTED = ("*.safetensors", "tokenizer*.json", "config.json", "chat_template*", "*.model")


@dataclass(frozen=True)
class BaseModel:
    """A loaded base model with its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    is_encoder_decoder: bool


def base_folder(base_model: str) -> Path:
    """The folder with a base model's files; one of the hub is downloaded, or found in its cache.

    Raises:
        NotFoundError: No such folder, and the hub gives none.
    """
    if base_model in (MINI, MINI_RERANKER):
        import rayraft.mini

        return rayraft.mini.WEIGHTS if base_model == MINI else rayraft.mini.RERANKER
    if base_model == DEFAULT_EMBEDDER:
        return embedder_folder(base_model)
    folder = Path(base_model)
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(base_model, allow_patterns=["*.json", "*.jinja", *_DIGESTED]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as exc:
        reason = " ".join(str(exc).split())[:200]
        raise NotFoundError(
            f"base model {base_model!r}: no folder and not on the hub: {reason}"
        ) from exc


def load_tokenizer(base_model: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a base model."""
    folder = base_folder(base_model)
    read_config(folder)
    return AutoTokenizer.from_pretrained(folder)


def is_encoder_decoder(base_model: str) -> bool:
    """Whether the base model reads the prompt with an encoder of its own."""
    return bool(read_config(base_folder(base_model)).is_encoder_decoder)


def load_base(
    base_model: str, dtype: str, quantization: Any = None, device: str = "cpu"
) -> BaseModel:
    """Model and tokenizer on the CPU, weights in `dtype`; quantized ones on the current GPU.

    Args:
        base_model: `mini`, a folder or a model id.
        dtype: Of the weights, or of those that are not quantized; `auto` takes what `device` is
            quick at.
        quantization: A quantization configuration of Transformers.
        device: Where the model will be used.

    Raises:
        InputError: The folder holds no model that Transformers knows.
        ArtifactMismatch: A file of the shipped model is not the one that was published.
    """
    folder = base_folder(base_model)
    if base_model in (MINI, MINI_RERANKER):
        verify_model(folder)
    config = read_config(folder)
    if config.architectures == ["BertModel"]:
        raise InputError(f"base model {base_model!r}: is an embedder, and writes nothing")
    disable_progress_bar()  # type: ignore[no-untyped-call]  # loading is one step of somebody else's progress
    auto: Any = auto_class(config)
    try:
        # The checkpoint's own dtype would win otherwise; safetensors alone, pickles run code.
        options: dict[str, Any] = {
            "dtype": torch_dtype(dtype, device),
            "use_safetensors": True,
        }
        if quantization is not None:
            here = torch.cuda.current_device() if torch.cuda.is_available() else "cpu"
            options |= {"quantization_config": quantization, "device_map": {"": here}}
        model = auto.from_pretrained(folder, **options)
    except (OSError, ValueError) as exc:
        reason = " ".join(str(exc).split())[:300]
        raise InputError(f"base model {base_model!r}: cannot be loaded: {reason}") from exc
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return BaseModel(model, tokenizer, bool(config.is_encoder_decoder))


def auto_class(config: Any) -> Any:
    """The Auto class of Transformers that makes the model of a configuration."""
    if any(name.endswith("ForSequenceClassification") for name in config.architectures or []):
        return AutoModelForSequenceClassification
    return AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM


def base_digest(base_model: str) -> str:
    """Hex sha256 over weights, tokenizer and configuration: what an adapter is bound to."""
    folder = base_folder(base_model)
    files = sorted({path for pattern in _DIGESTED for path in folder.glob(pattern)})
    stamps = tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files)
    return _digest_files(stamps)


@functools.lru_cache(maxsize=32)
def _digest_files(stamps: tuple[tuple[str, int, int], ...]) -> str:
    # Keyed by size and time: weights are hashed once a process unless they change.
    total = hashlib.sha256()
    for name, _, _ in stamps:
        with open(name, "rb") as file:
            total.update(
                f"{Path(name).name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode()
            )
    return total.hexdigest()


def read_config(folder: Path) -> Any:
    """The configuration in a folder.

    Raises:
        InputError: There is none, or it would run code of its own.
    """
    import rayraft.mini  # noqa: F401  registers the shipped model class

    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as exc:
        raise InputError(f"base model {folder}: config.json: {exc}") from exc
    if "auto_map" in values:
        raise InputError(f"base model {folder}: config.json has auto_map, which would run its code")
    return AutoConfig.from_pretrained(folder)
