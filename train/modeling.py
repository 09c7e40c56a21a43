"""The model as it is trained: what is frozen, adapters, and the files of the result."""

import importlib.util
import json
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load, save_file
from transformers import BitsAndBytesConfig

from rayraft.errors import ConfigError
from rayraft.manifests import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from rayraft.models.adapters import put_weights
from rayraft.models.base import BaseModel, load_base
from rayraft.models.dtypes import DTYPES
from train.config import TrainConfig
from train.contrastive import ContrastiveEncoder, export_encoder, load_encoder


def load_to_train(config: TrainConfig) -> BaseModel:
    """The base model; quantized on this worker's device where the configuration asks for it.

    Raises:
        ConfigError: It asks for it, and there is no bitsandbytes.
    """
    if config.contrastive_temperature is not None:
        return load_encoder(config.base_model, config.precision)
    if config.lora.quantize is None:
        return load_base(config.base_model, config.precision)
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(
            f"lora.quantize={config.lora.quantize!r}: needs bitsandbytes; "
            "pip install 'rayraft[qlora]' on the workers"
        )
    base = load_base(config.base_model, config.precision, quantization(config))
    module: Any
    for module in base.model.modules():
        # bitsandbytes 0.50 would pack weights anew for inference at the first validation on a CPU,
        # with scales in 16 bits, and training would go on with those.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return base


def quantization(config: TrainConfig) -> BitsAndBytesConfig:
    """4 bits a weight in blocks whose scales are themselves in 8 bits; arithmetic in `precision`.

    Source: QLoRA, arXiv 2305.14314, section 3.
    """
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type=config.lora.quantize,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=DTYPES[config.precision],
    )


def prepare_model(base: BaseModel, config: TrainConfig) -> torch.nn.Module:
    """The model with its trainable parameters marked.

    Raises:
        ConfigError: A `freeze` prefix or `lora.target_modules` name nothing of the model, or it has
            no dropout to set.
    """
    model: Any = base.model
    # A cache would be filled for nothing, and would defeat checkpointing and packed masks.
    model.config.use_cache = False
    if config.gradient_checkpointing:
        if not model.supports_gradient_checkpointing:
            name = type(model).__name__
            raise ConfigError(f"gradient_checkpointing=true: {name} does without; leave it false")
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    if config.dropout is not None:
        set_dropout(model, config.dropout)
    if config.tuning == "full":
        freeze(model, config.freeze)
    trained = base.model if config.tuning == "full" else _with_lora(base, config)
    if config.contrastive_temperature is None:
        return trained
    return ContrastiveEncoder(
        trained, int(base.tokenizer.cls_token_id), config.contrastive_temperature
    )


def begin_with(model: torch.nn.Module, weights: bytes, source: str) -> None:
    """Gives a model with LoRA layers the weights of a published adapter.

    Raises:
        ArtifactMismatch: They do not fit it one to one.
    """
    put_weights(cast(PeftModel, model), "default", load(weights), source)


def set_dropout(model: torch.nn.Module, probability: float) -> None:
    """Gives every dropout layer of the model this probability.

    Raises:
        ConfigError: The model has none.
    """
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    if not layers:
        raise ConfigError(f"dropout={probability}: the model has no dropout layer")
    for layer in layers:
        layer.p = probability


def freeze(model: torch.nn.Module, prefixes: list[str]) -> None:
    """Marks the parameters whose names begin with one of `prefixes` as not trained.

    Raises:
        ConfigError: A prefix that fits no name.
    """
    for prefix in prefixes:
        named = [p for name, p in model.named_parameters() if name.startswith(prefix)]
        if not named:
            raise ConfigError(f"freeze={prefix!r}: no parameter of the model begins with it")
        for parameter in named:
            parameter.requires_grad_(False)


def export_model(
    model: Any, weights: dict[str, torch.Tensor], config: TrainConfig, to: Path
) -> None:
    """Writes the trained result: an adapter's two files, or a whole model with its tokenizer.

    Args:
        model: The bare model (not DeepSpeed's engine).
        weights: Whole fp32 tensors by parameter name.
        config: Of the run.
        to: An existing folder.
    """
    if config.contrastive_temperature is not None:
        prepared = prepare_model(load_to_train(config), config)
        export_encoder(cast(ContrastiveEncoder, prepared), weights, config.base_model, to)
        return
    if config.tuning == "lora":
        tensors = get_peft_model_state_dict(model, state_dict=weights)
        save_file({k: t.contiguous() for k, t in tensors.items()}, to / ADAPTER_WEIGHTS)
        settings = model.peft_config["default"].to_dict() | {"inference_mode": True}
        text = json.dumps(settings, indent=2, sort_keys=True, default=_jsonable)
        (to / ADAPTER_CONFIG).write_text(text, encoding="utf-8")
        return
    fresh = load_base(config.base_model, config.precision)
    missing = set(weights) - set(dict(fresh.model.named_parameters()))
    assert not missing, f"trained parameters that the base lacks: {missing}"
    fresh.model.load_state_dict(weights, strict=False)
    fresh.model.save_pretrained(to)
    fresh.tokenizer.save_pretrained(to)


def _with_lora(base: BaseModel, config: TrainConfig) -> torch.nn.Module:
    lora = config.lora
    settings = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        use_rslora=lora.rslora,
        use_dora=lora.dora,
        target_modules=lora.target_modules,
        task_type=_task(base, config),
    )
    torch.manual_seed(config.seed)
    try:
        return get_peft_model(base.model, settings, autocast_adapter_dtype=False)
    except ValueError as exc:
        raise ConfigError(f"lora.target_modules={lora.target_modules!r}: {exc}") from exc


def _task(base: BaseModel, config: TrainConfig) -> TaskType:
    if config.contrastive_temperature is not None:
        return TaskType.FEATURE_EXTRACTION
    return TaskType.SEQ_2_SEQ_LM if base.is_encoder_decoder else TaskType.CAUSAL_LM


def _jsonable(value: Any) -> Any:
    return sorted(value) if isinstance(value, set) else str(value)
