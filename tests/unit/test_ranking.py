"""From hits to the shown list: merging parts, fusion, diversity, neighbours."""

import random

import numpy as np
import pytest

from data_pipelines.config import RetrievalConfig
from data_pipelines.ranking import Candidates, Ranking, merge_candidates, with_neighbours
from data_pipelines.search_lines import passage_lines
from rayraft.diversity import diverse_order
from rayraft.fusion import weighted_fusion
from rayraft.records import FoundBy, Passage


def passage(name: str, text: str = "") -> Passage:
    return Passage(chunk_id=name, document_id=name.partition("#")[0], text=text)


def candidates(dense: dict[str, float], sparse: dict[str, float]) -> Candidates:
    def ordered(hits: dict[str, float]) -> dict[str, float]:
        return dict(sorted(hits.items(), key=lambda pair: (-pair[1], pair[0])))

    passages = {name: passage(name) for name in {**dense, **sparse}}
    return Candidates(ordered(dense), ordered(sparse), passages)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("method", ["hybrid", "dense", "sparse"])
def test_shards_merged_are_ranked_as_one_index_would(seed: int, method):
    generator = random.Random(seed)
    names = [f"c{n}" for n in range(60)]
    dense = {name: generator.random() for name in generator.sample(names, 50)}
    sparse = {name: generator.choice([1.0, 2.0, 3.0]) for name in generator.sample(names, 30)}
    ranking = Ranking(RetrievalConfig(candidates=20))
    depth = ranking.depth(8, method)

    def top(wanted: set[str]) -> Candidates:
        def best(hits: dict[str, float]) -> dict[str, float]:
            inside = [(-score, name) for name, score in hits.items() if name in wanted]
            return {name: -score for score, name in sorted(inside)[:depth]}

        return candidates(best(dense), best(sparse))

    shards: list[set[str]] = [set() for _ in range(4)]
    for name in names:
        generator.choice(shards).add(name)
    merged = merge_candidates([top(shard) for shard in shards], depth)
    assert ranking.rank("q", merged, 8, method) == ranking.rank("q", top(set(names)), 8, method)


def test_weighted_fusion_is_the_weighted_mean_of_scaled_scores():
    fused = weighted_fusion([{"a": 1.0, "b": 0.0}, {"b": 8.0, "c": 4.0}], (3, 1), (-1.0, 0.0))
    assert dict(fused) == pytest.approx({"a": 0.75, "b": 0.75 * 0.5 + 0.25, "c": 0.125})
    assert [name for name, _ in fused] == ["a", "b", "c"]
    assert weighted_fusion([{}, {"a": 0.0}], (1, 1), (-1.0, 0.0)) == [("a", 0.0)]


def test_diversity_passes_over_repetition():
    vectors = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    relevance = np.array([1, 0.9, 0.5], dtype=np.float32)
    assert diverse_order(relevance, vectors, 3, 0) == [0, 1, 2]
    assert diverse_order(relevance, vectors, 3, 0.5) == [0, 2, 1]
    found = candidates({"a": 0.9, "b": 0.8, "c": 0.1}, {"a": 2.0, "b": 1.0})
    plain = Ranking(RetrievalConfig()).rank("q", found, 2)
    assert [p.chunk_id for p in plain] == ["a", "b"]
    named = dict(zip("abc", vectors, strict=True))
    found = Candidates(found.dense, found.sparse, found.passages, named)
    diverse = Ranking(RetrievalConfig(diversity=0.6)).rank("q", found, 2)
    assert [p.chunk_id for p in diverse] == ["a", "c"]


def test_neighbours_follow_their_hit_once():
    hits = [passage("d#1"), passage("d#3")]
    beside = {"d#1": [passage("d#0"), passage("d#2")], "d#3": [passage("d#2"), passage("d#4")]}
    shown = with_neighbours(hits, beside)
    assert [p.chunk_id for p in shown] == ["d#1", "d#0", "d#2", "d#3", "d#4"]
    assert [p.found.beside for p in shown if p.found] == ["d#1", "d#1", "d#3"]


def test_a_passage_says_why_it_was_found():
    config = RetrievalConfig()
    found = candidates({"a": 0.9, "b": 0.8}, {"b": 2.0})
    [first, second] = Ranking(config).rank("red car", found, 2)
    said = passage_lines(1, first.model_copy(update={"text": "A red bus."}), "red car", config)
    assert "dense 0.800, bm25 2.00, fused 0.0325, rerank -" in said
    assert "dense place 2, bm25 place 1 -> fused place 1 (rrf: 1/(60+2) + 1/(60+1))" in said
    assert "words of the question in it: red" in said
    said = passage_lines(2, second, "red car", config)
    assert "dense place 1, bm25 place - -> fused place 2 (rrf: 1/(60+1))" in said
    beside = second.model_copy(update={"found": FoundBy(beside="a")})
    assert "beside a in" in passage_lines(3, beside, "red car", config)
    assert "why" not in passage_lines(3, beside)
