"""How the chunks of a run are handed out."""

import math

import pytest

from data_pipelines.raft_examples import RaftConfig
from data_pipelines.raft_plan import PARTS_AN_ACTOR, even_parts


@pytest.mark.parametrize("chunks", [1, 5, 10, 64, 65, 300, 4001])
@pytest.mark.parametrize("batch", [1, 8, 64])
@pytest.mark.parametrize("actors", [1, 2, 7])
def test_all_actors_are_busy_to_the_end(chunks: int, batch: int, actors: int):
    ids = [f"c{n}" for n in range(chunks)]
    parts = even_parts(ids, batch, actors)
    assert [chunk for part in parts for chunk in part] == ids
    sizes = [len(part) for part in parts]
    assert len(set(sizes[:-1])) <= 1 and 0 < sizes[-1] <= sizes[0]
    # The longest queue of an actor is as short as it can be, but for a part's size.
    queue = math.ceil(len(parts) / actors) * sizes[0]
    assert queue <= math.ceil(chunks / actors) + sizes[0]
    assert len(parts) <= actors * PARTS_AN_ACTOR
    if chunks <= batch * actors * PARTS_AN_ACTOR:
        assert sizes[0] <= batch


def test_an_endpoint_is_asked_for_as_many_chunks_at_once_as_it_may_be():
    endpoint = {"kind": "openai", "base_model": "m", "url": "http://h/v1", "max_in_flight": 40}
    assert RaftConfig.model_validate({}).batch_chunks == 8
    asked = RaftConfig.model_validate({"teacher": endpoint})
    assert asked.batch_chunks * asked.teacher.batches_at_once == 40
    chosen = {"teacher": endpoint, "workers": {"batch_chunks": 3}}
    assert RaftConfig.model_validate(chosen).batch_chunks == 3
