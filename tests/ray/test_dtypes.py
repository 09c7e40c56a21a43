"""`auto` takes the number format that the hardware is quick at, and workers agree on one."""

from types import MappingProxyType

import pytest
import torch

from rayraft.models import dtypes
from rayraft.models.base import load_base
from train.config import TrainConfig
from train.precision import common_precision, expected


@pytest.mark.parametrize(
    ("unit", "quick"),
    [
        ("amx_bf16", "bf16"),
        ("avx512_bf16", "bf16"),
        ("bf16", "bf16"),  # ARM's
        ("avx512_f", "fp32"),  # emulates bf16
        ("avx2", "fp32"),
        ("neon", "fp32"),
    ],
)
def test_a_cpu_takes_bf16_only_where_it_multiplies_it(
    unit: str, quick: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: MappingProxyType({unit: True}))
    dtypes._cpu_multiplies_bf16.cache_clear()
    try:
        assert dtypes.quick_precision() == quick
        assert load_base("mini", "auto").model.dtype == dtypes.DTYPES[quick]
        assert load_base("mini", "bf16").model.dtype == torch.bfloat16  # what was said is taken
        estimate = expected(TrainConfig()).precision
        assert estimate == quick
    finally:
        dtypes._cpu_multiplies_bf16.cache_clear()


def test_workers_take_what_all_of_them_are_quick_at() -> None:
    assert common_precision(["bf16", "bf16"], 1) == "bf16"
    assert common_precision(["bf16", "fp32"], 1) == "fp32"
    assert common_precision(["fp16", "bf16"], 1) == "fp16"
    assert common_precision(["bf16"], 0) == "fp32"
