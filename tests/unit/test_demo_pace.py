import pytest

from rayraft.demo.pace import CHUNKS, FULL_TFLOPS, SMALLEST_SHARE, Pace


def test_a_fast_machine_is_asked_for_everything_and_nothing_more():
    for tflops in (FULL_TFLOPS, 5.0, 500.0):
        pace = Pace(tflops, "bf16")
        assert pace.of(CHUNKS) == CHUNKS
        assert "nothing is cut" in pace.told()


def test_a_slow_machine_does_less_but_never_nothing():
    shares = [Pace(tflops, "fp32").share for tflops in (0.0001, 0.05, 0.1, 0.3, FULL_TFLOPS)]

    assert shares == sorted(shares)
    assert shares[0] == SMALLEST_SHARE and shares[-1] == 1
    assert Pace(0.1, "fp32").of(CHUNKS) == pytest.approx(CHUNKS * 0.354, abs=1)
    assert Pace(0.0001, "fp32").of(1) == 1


def test_a_person_is_told_what_was_cut_and_how_to_choose():
    told = Pace(0.1, "fp32").told()

    assert "0.10 TFLOP/s in fp32" in told and "35%" in told and "--chunks" in told
