"""Ray Train's controller is lost: another one goes on, as often as the configuration allows."""

from pathlib import Path

import pytest
from ray.exceptions import RayActorError

from tests.ray.apart import found_by
from tests.ray.fit_harness import STEPS
from train.failures import again_without_controller


@pytest.mark.parametrize(("allowed", "lost"), [(2, 2), (-1, 5), (0, 0)])
def test_a_lost_controller_is_followed_by_another(allowed: int, lost: int) -> None:
    left = [RayActorError()] * lost

    def fit() -> str:
        if left:
            raise left.pop()
        return "done"

    assert again_without_controller(fit, allowed) == "done"


def test_what_is_lost_too_often_or_fails_otherwise_is_raised() -> None:
    calls: list[int] = []

    def fit() -> str:
        calls.append(len(calls))
        raise RayActorError() if len(calls) < 3 else ValueError("a defect")

    with pytest.raises(RayActorError):
        again_without_controller(fit, 1)
    assert len(calls) == 2
    with pytest.raises(ValueError, match="a defect"):
        again_without_controller(fit, 1)


@pytest.mark.slow
def test_a_training_goes_on_after_its_controller_was_killed(tmp_path: Path) -> None:
    found = found_by("tests.ray.losing_controller", tmp_path, timeout_s=300)
    logged = found["logged"]
    steps = [step for step, _ in logged]
    # Its workers may take another step or two before they are ended.
    again = next(i for i in range(1, len(steps)) if steps[i] <= steps[i - 1])
    assert found["flag"] and again >= 6
    assert steps[:again] == [*range(1, again + 1)]
    assert steps[again:] == [*range(steps[again], STEPS + 1)]
    assert steps[again] % 4 == 1, "from a checkpoint"
    for step, loss in logged[again:]:
        if step <= again:
            assert loss == pytest.approx(logged[step - 1][1], abs=1e-4)
