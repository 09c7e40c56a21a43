"""The canary's share, and the counters it is judged by."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from data_pipelines.artifacts import publish
from data_pipelines.canaries import FILE, Canary, read_canary, start_canary, stop_canary
from rayraft.cli import build_app
from rayraft.errors import ArtifactMismatch, InputError, NotFoundError
from rayraft.manifests import Manifest
from rayraft.protocols import AdapterRef, AskRequest
from rayraft.records import Answer, Citation, Routing
from serve.canary import CanaryShare
from serve.outcomes import OutcomeCounters, outcome_of

CANARY = Canary(adapter_id="reader-v2", share=0.1, started="now")


@pytest.fixture
def store(tmp_path: Path) -> str:
    for name, method in (("reader", "raft"), ("memory", "sft")):
        manifest = Manifest(kind="adapter", config={"method": method})
        publish(str(tmp_path), "adapter", name, {"w": b"x"}, manifest)
    return str(tmp_path)


def test_a_canary_gets_its_share_and_a_question_goes_one_way():
    share = CanaryShare(lambda: CANARY, poll_s=60)
    taken = [share.adapter_for(f"question {i}") for i in range(2000)]
    assert 150 < taken.count("reader-v2") < 250
    assert taken == [share.adapter_for(f"question {i}") for i in range(2000)]
    assert CanaryShare(lambda: None, 60).adapter_for("q") is None


def test_a_named_adapter_or_blend_is_no_canarys_and_a_gone_canary_is_passed_over():
    share = CanaryShare(lambda: CANARY.model_copy(update={"share": 0.5}), poll_s=60)
    question = next(f"q{i}" for i in range(99) if share.adapter_for(f"q{i}"))

    def choose(request):
        if request.adapter == "gone":
            raise NotFoundError("gone")
        return AdapterRef(request.adapter or "champion-v1")

    def chosen(**values):
        found = share.choose(AskRequest(question=question, **values), choose)
        return found.adapter_id if found else None

    assert chosen() == chosen(mode="raft") == "reader-v2"
    assert chosen(adapter="other-v1") == "other-v1"
    assert chosen(mode="blend") == "champion-v1"
    gone = CanaryShare(lambda: CANARY.model_copy(update={"adapter_id": "gone", "share": 0.5}), 60)
    passed = [gone.choose(AskRequest(question=f"q{i}"), choose) for i in range(20)]
    assert {ref.adapter_id for ref in passed if ref} == {"champion-v1"}


def test_start_stop_and_refusals(store):
    assert read_canary(store) is None
    assert start_canary(store, "reader", 0.2).adapter_id == "reader-v1"
    assert read_canary(store) is not None
    for adapter, share, error in (
        ("nobody", 0.1, NotFoundError),
        ("memory", 0.1, InputError),
        ("reader", 0.9, InputError),
        ("reader", 0.0, InputError),
    ):
        with pytest.raises(error):
            start_canary(store, adapter, share)
    assert stop_canary(store).share == 0.2
    with pytest.raises(NotFoundError, match="no canary"):
        stop_canary(store)
    (Path(store) / FILE).write_text("{")
    with pytest.raises(ArtifactMismatch, match=r"canary\.json"):
        read_canary(store)


def test_the_command_starts_and_ends_it(store):
    def run(*arguments):
        result = CliRunner().invoke(build_app(), ["adapters", "canary", *arguments])
        return result.exit_code, result.stdout.strip()

    assert run("reader", "--store", store, "--share", "0.25") == (
        0,
        "reader-v1 answers 0.25 of the requests",
    )
    assert run("--store", store) == (0, "reader-v1 is no canary any more")
    assert run("--store", store)[0] == 2


HEARD: list[Any] = []


class Heard:
    def __init__(self, name, description, tag_keys):
        self.name, self.counts = name, []
        HEARD.append(self)

    def inc(self, value=1.0, tags=None):
        self.counts.append(tags)


def test_outcomes_are_counted_by_adapter_and_clipped_features_by_name():
    HEARD.clear()
    counters = OutcomeCounters(Heard)
    cited = Citation(chunk_id="c", document_id="d", quote="q", start=0, end=1)
    answered = Answer(text="x", mode="raft", adapter="a-v1", citations=[cited])
    clipped = Answer(text="x", mode="rag", abstained=True, routing=Routing(clipped=["top_score"]))
    for answer in (answered, answered, clipped, answered.model_copy(update={"citations": []})):
        counters.answered(answer)
    counters.failed("auto", None)
    assert dict(counters.seen) == {
        ("raft", "a-v1", "cited"): 2,
        ("raft", "a-v1", "uncited"): 1,
        ("rag", "none", "abstained"): 1,
        ("auto", "none", "failed"): 1,
    }
    answers, features = HEARD
    assert len(answers.counts) == 5 and features.counts == [{"feature": "top_score"}]
    assert outcome_of(answered) == "cited"
