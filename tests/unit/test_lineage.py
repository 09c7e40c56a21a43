"""What has seen a document, where no model is needed to tell."""

import json
from pathlib import Path

from data_pipelines.artifacts import publish
from data_pipelines.lineage import tainted
from rayraft.manifests import Manifest


def test_comparisons_are_found_by_what_their_samples_ask_about_and_show(tmp_path: Path):
    def compared(name, gold, shown):
        given = {"raft": {"documents": shown}, "closed_book": {"documents": []}}
        report = {"samples": [{"gold_ids": gold, "given": given}]}
        files = {"report.json": json.dumps(report).encode()}
        return publish(str(tmp_path), "comparison", name, files, Manifest(kind="comparison"))

    asked, shown = compared("asked", ["a", "c"], []), compared("shown", ["c"], ["b", "a"])
    compared("neither", ["c"], ["b"])
    found = tainted(str(tmp_path), "comparison", ["a", "d"])
    assert found == {asked: {"a"}, shown: {"a"}}
