"""The routing rule as its table says."""

import pytest

from rayraft.config import load
from rayraft.errors import ConfigError
from rayraft.protocols import AdapterRef
from rayraft.records import Passage
from rayraft.router import Features, RouterConfig, choose_route, route_features


def seen(**changes):
    values = {
        "n_passages": 4,
        "top_cosine": 0.5,
        "lexical_hit": True,
        "has_adapter": True,
        "newer_passages": 0,
        "versions_behind": 0,
    }
    return Features(**{**values, **changes})


NOISE = {"top_cosine": 0.1, "lexical_hit": False}


@pytest.mark.parametrize(
    ("features", "mode"),
    [
        (seen(n_passages=0, top_cosine=None), "closed_book"),
        (seen(has_adapter=False), "rag"),
        (seen(newer_passages=1), "rag"),
        (seen(**NOISE), "closed_book"),
        (seen(**NOISE, has_adapter=False), "rag"),
        (seen(**NOISE, newer_passages=2), "rag"),
        (seen(**NOISE, versions_behind=51), "rag"),
        (seen(top_cosine=0.1), "raft"),
        (seen(top_cosine=None, lexical_hit=True), "raft"),
        (seen(top_cosine=None, lexical_hit=False), "closed_book"),
        (seen(), "raft"),
        (seen(versions_behind=51), "raft"),
    ],
)
def test_rule_follows_its_table(features, mode):
    assert choose_route(features).mode == mode


def test_reason_states_the_numbers():
    assert "0.61" in choose_route(seen(top_cosine=0.61)).reason
    assert "3 of 4 passages are newer" in choose_route(seen(newer_passages=3)).reason
    assert "51 versions behind" in choose_route(seen(**NOISE, versions_behind=51)).reason


def passages(*updated_in):
    return [
        Passage(chunk_id=str(i), document_id="a", text="Parking costs two euros.", updated_in=v)
        for i, v in enumerate(updated_in)
    ]


def test_features_come_from_scores_and_words():
    found = [
        Passage(chunk_id="a", document_id="a", text="Parking costs two euros.", dense_score=0.4),
        Passage(chunk_id="b", document_id="b", text="Cats sleep.", dense_score=0.65),
        Passage(chunk_id="c", document_id="c", text="Dogs bark.", sparse_score=3.0),
    ]
    features = route_features("What does parking cost?", found, 1, None)
    assert features.top_cosine == 0.65
    assert not features.lexical_hit, "one of three content words"
    assert route_features("parking costs", found, 1, None).lexical_hit
    assert not route_features("is it so?", found, 1, None).lexical_hit


def test_features_count_what_the_adapter_cannot_have_seen():
    adapter = AdapterRef("a-v1", kb_version=5)
    features = route_features("q", passages(3, 5, 6, 9, None), 9, adapter)
    assert features.newer_passages == 2
    assert features.versions_behind == 4
    unknown = route_features("q", passages(3, 9), 9, AdapterRef("a-v1"))
    assert unknown.newer_passages == 0 and unknown.versions_behind == 0


def test_thresholds_out_of_bounds_are_refused_by_name():
    with pytest.raises(ConfigError, match="lexical_share=2"):
        load(RouterConfig, overrides=["lexical_share=2"])
