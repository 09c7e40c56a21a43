from train.early_stopping import standing


def points(*losses: float) -> list[dict[str, float]]:
    mixed: list[dict[str, float]] = []
    for i, loss in enumerate(losses, start=1):
        mixed += [{"step": i * 10 - 5.0, "loss": 9.0}, {"step": i * 10.0, "validation_loss": loss}]
    return mixed


def test_before_the_first_validation_there_is_nothing_to_stand_on():
    assert standing([]) is None
    assert standing([{"step": 1.0, "loss": 2.0}]) is None


def test_the_lowest_loss_and_what_came_after_it():
    found = standing(points(3.0, 2.0, 2.5, 2.1))
    assert found is not None
    assert (found.step, found.loss, found.since) == (20, 2.0, 2)


def test_an_improvement_within_the_bound_is_none():
    found = standing(points(3.0, 2.95, 2.85), min_improvement=0.1)
    assert found is not None
    assert (found.step, found.since) == (30, 0)
    found = standing(points(3.0, 2.95), min_improvement=0.1)
    assert found is not None
    assert (found.step, found.since) == (10, 1)
