"""Batches whose attention is wider than their longest segment, and products of rounded size."""

import pytest
import torch

from rayraft.mini import packing
from rayraft.mini.layers import Sizes
from rayraft.mini.packing import Layout, Source, attention_width, project, round_count
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


def test_counts_are_rounded_to_few_that_are_hardly_more():
    rounded = [round_count(count) for count in range(1, 4097)]
    assert all(0 <= more - count <= count / 16 for count, more in enumerate(rounded, 1))
    assert rounded == sorted(rounded)
    assert [round_count(more) for more in rounded] == rounded
    assert len(set(rounded)) <= 64 + 16 * 6  # oneDNN keeps 1,024 kernels


@pytest.mark.parametrize("lengths", [LENGTHS, (70, 70)])
def test_spare_rows_change_neither_states_nor_gradients(
    lengths: tuple[int, ...], reader: SegmentReader, monkeypatch: pytest.MonkeyPatch
):
    ids = [[101] + [200 + n] * (length - 1) for n, length in enumerate(lengths)]
    assert round_count(sum(lengths)) > sum(lengths)

    def states_and_gradients() -> list[torch.Tensor]:
        reader.zero_grad()
        states = reader.read(Source.of_segments(ids))
        weights = torch.linspace(-1, 1, states.numel()).view_as(states)
        (states * weights).sum().backward()
        grads = [p.grad for p in reader.parameters() if p.grad is not None]
        assert len(grads) == len(list(reader.parameters()))
        return [states.detach(), *grads]

    with_spare = states_and_gradients()
    monkeypatch.setattr(packing, "round_count", lambda count: count)
    for ours, plain in zip(with_spare, states_and_gradients(), strict=True):
        assert ours.shape == plain.shape
        assert torch.allclose(ours, plain, atol=1e-4 * float(plain.abs().max()))


def test_packed_rows_are_padded_again_without_the_spare_ones():
    real = torch.arange(11)[None, :] < torch.tensor([11] * 8 + [3])[:, None]
    x = torch.randn(9, 11, 5) * real[:, :, None]
    for layout in (Layout.of(real, 9, 11), Layout.of(None, 9, 11)):
        wide = layout.rounded(x.device)
        assert len(wide.pack(x)) == round_count(layout.count) > layout.count
        assert torch.equal(wide.pad(wide.pack(x)), x)
        assert torch.equal(wide.narrow(wide.pack(x)), layout.pack(x))


def test_a_projection_is_that_of_the_plain_rows_and_keeps_their_dimension() -> None:
    linear, seen = torch.nn.Linear(8, 3), []
    linear.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    for shape in ((3, 33, 8), (99, 8), (6, 144, 8)):
        x = torch.randn(shape)
        assert torch.allclose(project(linear, x), linear(x), atol=1e-6)
    computed = seen[::2]
    assert computed == [(3, 34, 8), (100, 8), (6, 144, 8)], "adapters go by the first dimension"
