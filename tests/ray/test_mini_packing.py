"""Batches whose attention is wider than their longest segment."""

import pytest
import torch

from rayraft.mini.layers import Sizes
from rayraft.mini.packing import Source, attention_width
from rayraft.mini.segments import SegmentReader

LENGTHS = (173, 90, 171, 12)


@pytest.fixture(scope="module")
def reader() -> SegmentReader:
    torch.manual_seed(0)
    sizes = Sizes(64, 128, 4, 2, 200)
    return SegmentReader(sizes, torch.nn.Embedding(500, 64)).eval()


def segments() -> list[list[int]]:
    rng = torch.Generator().manual_seed(1)
    return [[101, *torch.randint(200, 500, (n - 1,), generator=rng).tolist()] for n in LENGTHS]


def test_only_wide_batches_without_gradients_are_widened():
    assert attention_width(173, 4) == 173
    with torch.no_grad():
        assert attention_width(173, 4) == 176
        assert attention_width(176, 4) == 176
        assert attention_width(173, 1) == 173


def test_states_are_those_of_each_segment_alone(reader: SegmentReader):
    ids = segments()
    with torch.no_grad():
        together = reader.read(Source.of_segments(ids))
        alone = torch.cat([reader.read(Source.of_segments([each])) for each in ids])
        rows = torch.nn.utils.rnn.pad_sequence([torch.tensor(each) for each in ids], True)
        batch = reader.read(reader.source(rows, (rows > 0).long()))

    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.allclose(batch, alone, atol=1e-5)


def test_states_with_gradients_are_the_same(reader: SegmentReader):
    with torch.no_grad():
        fused = reader.read(Source.of_segments(segments()))

    assert torch.allclose(reader.read(Source.of_segments(segments())), fused, atol=1e-5)
