"""Weights of the shipped models are pages of their files: all processes of a machine share them."""

from pathlib import Path

import pytest

from rayraft.models.base import load_base
from rayraft.models.base_files import base_folder


def mapped(path: Path) -> list[range]:
    """Addresses where this process has the file in its memory."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    spans = [line.split()[0].split("-") for line in lines if line.endswith(str(path))]
    return [range(int(start, 16), int(end, 16)) for start, end in spans]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux")
@pytest.mark.parametrize("name", ["mini", "mini-reranker"])
def test_nearly_all_weights_are_pages_of_the_file(name: str) -> None:
    model = load_base(name, "bfloat16").model
    file = base_folder(name) / "model.safetensors"
    spans = mapped(file)
    inside = sum(
        p.nbytes for p in model.parameters() if any(p.data_ptr() in span for span in spans)
    )
    assert inside > 0.95 * file.stat().st_size
