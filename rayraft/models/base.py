"""Loading base models."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from rayraft.errors import InputError
from rayraft.models.base_config import read_config
from rayraft.models.base_files import MINI, MINI_RERANKER, base_folder
from rayraft.models.dtypes import torch_dtype
from rayraft.models.model_manifest import verify_model


@dataclass(frozen=True)
class BaseModel:
    """A loaded base model with its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    is_encoder_decoder: bool


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
    import rayraft.mini.auto  # noqa: F401  registers the shipped model classes

    if any(name.endswith("ForSequenceClassification") for name in config.architectures or []):
        return AutoModelForSequenceClassification
    return AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
