import xml.etree.ElementTree as ET

import pytest

from train.curve_svg import curve_svg, ticks

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("bounds", [(0.0, 7.0), (0.013, 0.017), (2.0, 2.0), (0.0, 12345.0)])
def test_ticks_are_round_and_hold_the_values(bounds: tuple[float, float]):
    found = ticks(*bounds)
    assert found[0] <= bounds[0] and found[-1] >= bounds[1]
    assert 2 <= len(found) <= 12
    assert sorted(set(found)) == found


def test_the_picture_has_both_lines_within_its_bounds_and_falls_where_the_loss_does():
    curve = [{"step": float(s), "loss": 4.0 - s / 10} for s in range(1, 21)]
    curve += [{"step": 10.0, "validation_loss": 3.0}, {"step": 20.0, "validation_loss": 2.5}]
    picture = ET.fromstring(curve_svg(curve, "a <b> & c"))
    lines = [
        [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
        for line in picture.iter(f"{SVG}polyline")
    ]
    assert [len(line) for line in lines] == [20, 2]
    for line in lines:
        assert all(0 < x < 720 and 0 < y < 400 for x, y in line)
        assert [x for x, _ in line] == sorted(x for x, _ in line)
        assert [y for _, y in line] == sorted(y for _, y in line)  # downwards is up
    assert "a <b> & c" in [text.text for text in picture.iter(f"{SVG}text")]


def test_a_curve_without_a_loss_is_an_empty_picture():
    assert ET.fromstring(curve_svg([{"step": 0.0, "loss": float("nan")}], "t")) is not None
