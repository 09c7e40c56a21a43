"""A node is lost in the midst of an ingest, a training and searches over four shards."""

from typing import Any

import pytest

from tests.ray.apart import found_by

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each part found, by its name."""
    return found_by("tests.ray.losing_nodes", tmp_path_factory.mktemp("nodes"), timeout_s=600)


def test_an_ingest_goes_on_without_the_node_and_loses_nothing(found: dict[str, Any]) -> None:
    ingest = found["ingest"]
    files = ingest["files"]
    assert 0 < ingest["lost_at"][0] < files
    assert (ingest["added"], ingest["embedded"], ingest["quarantined"]) == (files, files, 0)


def test_a_training_goes_on_with_the_workers_that_are_left(found: dict[str, Any]) -> None:
    training = found["training"]
    assert training["flag"]
    logged = training["logged"]
    assert [step for step, _ in logged] == [*range(1, 7), *range(5, training["last"] + 1)]
    for step, loss in logged[4:6]:  # by two workers, and again by the one that is left
        assert loss == pytest.approx(logged[step + 1][1], abs=1e-3)
    assert training["losses"][-1] < training["losses"][0]
    assert training["validation_loss"] > 0


def test_searches_are_partial_until_another_node_has_the_shards(found: dict[str, Any]) -> None:
    serving = found["serving"]
    assert serving["whole"] and serving["documents"] == serving["of"]
    assert serving["partial"] > 0 and serving["failed"] == []
    assert serving["same_after"]
