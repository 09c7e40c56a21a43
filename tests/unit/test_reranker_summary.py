"""What `train-reranker` says at its end."""

from types import SimpleNamespace
from typing import Any

import pytest

from data_pipelines.artifacts import ArtifactRef
from rayraft.manifests import Manifest
from train.reranker_command import summary


def trained(after: float) -> Any:
    figures = {"ndcg@10_fused": 0.25, "ndcg@10_before": 0.18, "ndcg@10_after": after}
    manifest = Manifest(
        kind="reranker",
        made_from=["questions/q.jsonl"],
        metrics=figures | {"rows": 90.0, "measured": 10.0},
    )
    return SimpleNamespace(ref=ArtifactRef("/store", "reranker", "own", 1), manifest=manifest)


@pytest.mark.parametrize(("after", "helps"), [(0.24, False), (0.25, False), (0.31, True)])
def test_a_reranker_that_is_no_better_than_the_fused_order_is_advised_against(
    after: float, helps: bool
) -> None:
    told = summary(trained(after))
    assert f"0.2500 without a reranker, 0.1800 before, {after:.4f} after, on 10" in told
    assert ("leave reranking off" in told) is not helps
    assert "own-v1" in told
