"""Which number format weights are kept and multiplied in: by name, or what hardware is quick at."""

import functools

import torch

from rayraft.errors import ConfigError

AUTO = "auto"
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32} | {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
}
_BF16_UNITS = ("amx_bf16", "avx512_bf16", "avx10_2", "bf16")
"""CPU features that multiply bf16 in hardware; the last is ARM's."""


def choose_device(device: str, dtype: str) -> str:
    """The device that `auto` means here, or the one that was named.

    Raises:
        ConfigError: Unknown number format, or the device is not there.
    """
    if dtype not in (AUTO, *DTYPES):
        raise ConfigError(f"dtype={dtype!r}: must be auto, bfloat16, float16 or float32")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device={device!r}: there is no GPU here")
    return device


def torch_dtype(name: str, device: str = "cpu") -> torch.dtype:
    """The format called `name`, or for `auto` the one that `device` is quick at.

    Raises:
        KeyError: Unknown name.
    """
    return DTYPES[quick_precision(device) if name == AUTO else name]


def quick_precision(device: str = "cpu") -> str:
    """`bf16` where it is multiplied in hardware, else `fp16` on a GPU and `fp32` on a CPU.

    Without such units bf16 is many times slower than fp32 on a CPU, not merely no faster: 3.7 times
    in the embedder, 100 to 400 times in one large product (AVX2, torch 2.13).
    """
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if _cpu_multiplies_bf16() else "fp32"


@functools.cache
def _cpu_multiplies_bf16() -> bool:
    has = torch.cpu.get_capabilities()
    return any(has.get(unit, False) for unit in _BF16_UNITS)
