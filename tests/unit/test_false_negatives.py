"""The guard against distractors that answer, alone and in the writer."""

import numpy as np

from data_pipelines.false_negatives import FalseNegativeGuard
from data_pipelines.raft_examples import FilterConfig, RaftConfig
from data_pipelines.raft_writer import RaftWriter
from rayraft.records import Passage
from tests.unit.test_raft_writer import CHUNKS, OneQuestionTeacher, WholeSearch


class ByNumber:
    """Scores a passage by the number in its text: later topics look like better answers."""

    def __init__(self):
        self.asked = []

    def score(self, question, passages):
        self.asked.append(question)
        return np.array([float(p.split("Topic ")[1].split()[0]) for p in passages], np.float32)


def passage(number):
    return Passage(chunk_id=f"c{number}", document_id="d", text=f"Topic {number} is here.")


def test_suspects_score_at_least_as_the_golden_passage_plus_the_margin():
    others = [passage(n) for n in (3, 5, 7, 9)]
    assert FalseNegativeGuard(ByNumber(), 0).suspects("Q?", [passage(5)], others) == {
        "c5",
        "c7",
        "c9",
    }
    assert FalseNegativeGuard(ByNumber(), 2).suspects("Q?", [passage(5)], others) == {"c7", "c9"}
    assert FalseNegativeGuard(ByNumber(), 0).suspects("Q?", [passage(5)], []) == set()


def test_no_example_shows_a_suspect_and_refusals_are_counted():
    config = RaftConfig(golden_fraction=1.0, filters=FilterConfig(golden_within=None))
    guard = FalseNegativeGuard(ByNumber(), 0)
    writer = RaftWriter(WholeSearch(), list(CHUNKS), config, guard)
    outcomes = writer.write(["c2", "c20", "c29"], OneQuestionTeacher())
    for outcome in outcomes:
        golden = int(outcome.chunk_id[1:])
        (example,) = outcome.examples
        shown = [int(p.chunk_id[1:]) for p in example.passages]
        assert max(shown) == golden
    assert outcomes[0].refused_distractors > 0
    # Of two chunks alone nothing better than the golden one remains: fewer are shown, none wrong.
    assert len(outcomes[0].examples[0].passages) == 3
    assert outcomes[2].refused_distractors == 0


def test_a_question_that_does_not_find_its_document_does_not_name_its_subject():
    def written(within):
        config = RaftConfig(golden_fraction=1.0, filters=FilterConfig(golden_within=within))
        writer = RaftWriter(WholeSearch(), list(CHUNKS), config)
        return writer.write(["c3", "c6"], OneQuestionTeacher())

    # The search returns chunks by number, whatever is asked: document d6 is seventh.
    assert [len(outcome.examples) for outcome in written(7)] == [1, 1]
    early = written(6)
    assert [len(outcome.examples) for outcome in early] == [1, 0]
    assert early[1].dropped["subject_not_named"] == 1
