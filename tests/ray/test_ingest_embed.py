"""Embedding on Ray when the actors take every CPU there is."""

import threading

import numpy as np
import pytest

from data_pipelines.config import EmbeddingConfig


@pytest.mark.usefixtures("ray_cluster")
def test_actors_that_take_all_cpus_embed_every_text():
    import ray

    from data_pipelines.embedders import load_embedder
    from data_pipelines.ingest_ray import embed

    texts = [f"the shelf {n} holds {n % 7} boxes" for n in range(300)]
    settings = EmbeddingConfig(batch_chunks=16, threads=1)
    found: dict[int, np.ndarray] = {}

    def run() -> None:
        for places, vectors in embed(texts, "minilm", settings):
            found.update(zip(places, vectors, strict=True))

    assert ray.cluster_resources()["CPU"] == 2  # as many as there will be actors
    # By itself, because stages that wait for each other wait for ever.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout=180)
    assert not thread.is_alive()
    assert sorted(found) == list(range(300))
    some = [0, 15, 16, 299]
    expected = load_embedder("minilm").embed([texts[place] for place in some])
    np.testing.assert_allclose([found[place] for place in some], expected, atol=2e-3)
