"""The routing rule as its table says."""

import pytest

from rayraft.config import load
from rayraft.errors import ConfigError
from rayraft.records import Passage
from rayraft.router import Features, RouterConfig, choose_route, route_features


def seen(**changes):
    values = {
        "n_passages": 4,
        "top_cosine": 0.5,
        "gap": 0.0,
        "lexical_hit": True,
        "has_adapter": True,
        "versions_behind": 0,
    }
    return Features(**{**values, **changes})


@pytest.mark.parametrize(
    ("features", "mode"),
    [
        (seen(n_passages=0, top_cosine=None), "closed_book"),
        (seen(has_adapter=False), "rag"),
        (seen(versions_behind=51), "rag"),
        (seen(top_cosine=0.1, lexical_hit=False), "closed_book"),
        (seen(top_cosine=0.1, lexical_hit=False, has_adapter=False), "rag"),
        (seen(top_cosine=0.1, lexical_hit=True), "raft"),
        (seen(), "raft"),
        (seen(versions_behind=None), "raft"),
    ],
)
def test_rule_follows_its_table(features, mode):
    assert choose_route(features).mode == mode


def test_strong_evidence_tolerates_less_age():
    fair, strong = seen(versions_behind=40), seen(versions_behind=40, top_cosine=0.8)
    assert choose_route(fair).mode == "raft"
    assert choose_route(strong).mode == "rag"


def test_clear_lead_counts_as_strong_only_when_the_words_agree():
    lead = {"versions_behind": 40, "gap": 0.3}
    assert choose_route(seen(**lead)).mode == "rag"
    assert choose_route(seen(**lead, lexical_hit=False)).mode == "raft"


def test_more_staleness_never_moves_from_rag_back_to_the_adapter():
    for top in (0.1, 0.5, 0.9):
        modes = [
            choose_route(seen(top_cosine=top, versions_behind=n)).mode == "rag" for n in range(80)
        ]
        assert modes == sorted(modes)


def test_reason_states_the_numbers():
    reason = choose_route(seen(top_cosine=0.61, versions_behind=51)).reason
    assert "0.61" in reason and "51 versions behind" in reason


def test_features_come_from_scores_and_words():
    passages = [
        Passage(chunk_id="a", document_id="a", text="Parking costs two euros.", dense_score=0.4),
        Passage(chunk_id="b", document_id="b", text="Cats sleep.", dense_score=0.65),
        Passage(chunk_id="c", document_id="c", text="Dogs bark.", sparse_score=3.0),
    ]
    features = route_features("What does parking cost?", passages, has_adapter=False)
    assert features.top_cosine == 0.65
    assert features.gap == pytest.approx(0.25)
    assert not features.lexical_hit, "one of three content words"
    assert route_features("parking costs", passages, has_adapter=False).lexical_hit
    assert not route_features("is it so?", passages, has_adapter=False).lexical_hit


def test_thresholds_out_of_bounds_are_refused_by_name():
    with pytest.raises(ConfigError, match="lexical_share=2"):
        load(RouterConfig, overrides=["lexical_share=2"])
