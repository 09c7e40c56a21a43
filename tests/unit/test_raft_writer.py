from collections import Counter

from data_pipelines.raft_examples import RaftConfig, shown_passage
from data_pipelines.raft_writer import RaftWriter
from data_pipelines.teachers import TeacherResult, WrittenQuestion
from rayraft.prompts import completion
from rayraft.records import Chunk, Passage

CHUNKS = {
    f"c{i}": Chunk(
        chunk_id=f"c{i}",
        document_id=f"d{i % 7}",
        position=0,
        title=f"Topic {i}",
        text=f"Topic {i} has the value v{i} today. It was found in year {1900 + i} by team t{i}.",
        start=0,
        end=10,
    )
    for i in range(30)
}


class OneQuestionTeacher:
    """A question a chunk whose quote is verbatim, but for chunks named in `wrong`."""

    name = digest = "one"

    def __init__(self, wrong=()):
        self.wrong = wrong

    def write(self, requests):
        return [self._one(r) for r in requests]

    def explain(self, requests, results):
        return list(results)

    def _one(self, r):
        number = r.chunk_id[1:]
        quote = "made up" if r.chunk_id in self.wrong else f"Topic {number} has the value v{number}"
        written = WrittenQuestion(f"What is the value of {r.title}?", quote, f"v{number}")
        return TeacherResult([written], Counter(no_question_word=2))


class WholeSearch:
    """Returns all chunks in one order, the golden one included."""

    def __init__(self):
        self.groups = []

    def read(self, chunk_ids):
        return [shown_passage(CHUNKS[i]) for i in chunk_ids]

    def search(self, queries, k, *, groups):
        self.groups.append(tuple(groups))
        found = [
            Passage(chunk_id=c.chunk_id, document_id=c.document_id, title=c.title, text=c.text)
            for c in CHUNKS.values()
        ]
        return [found[:k] for _ in queries]


def write(chunk_ids, teacher=None, search=None, **settings):
    writer = RaftWriter(search or WholeSearch(), list(CHUNKS), RaftConfig(**settings))
    return writer.write(list(chunk_ids), teacher or OneQuestionTeacher())


def test_outcomes_do_not_depend_on_how_chunks_are_batched():
    whole = write(CHUNKS)
    single = [write([i])[0] for i in CHUNKS]
    assert whole == single
    assert sum(len(outcome.examples) for outcome in whole) == 30


def test_golden_appears_exactly_where_it_says_so():
    examples = [e for o in write(CHUNKS, golden_fraction=0.5) for e in o.examples]
    assert {e.has_golden for e in examples} == {True, False}
    for e in examples:
        shown = [p.chunk_id for p in e.passages]
        assert shown.count(e.chunk_id) == int(e.has_golden)
        assert len(set(shown)) == len(shown) == 4


def test_a_question_without_an_answer_shows_what_is_found_and_abstains():
    class NoAnswer(OneQuestionTeacher):
        def _one(self, r):
            return TeacherResult([WrittenQuestion(f"Who owns {r.title}?", "", "")])

    for missing in ("abstain", "memory"):
        settings = {"golden_fraction": 1.0, "missing_golden": missing}
        made = write(["c3"], NoAnswer(), **settings)
        (example,) = made[0].examples
        assert example.completion == completion("", "") and not example.golden_ids
        assert len(example.passages) == RaftConfig().distractors + 1 and not made[0].dropped


def test_a_quote_that_does_not_stand_in_the_chunk_is_dropped_and_counted():
    made = write(["c2", "c3"], OneQuestionTeacher(wrong=["c3"]), golden_fraction=1.0)
    assert [len(outcome.examples) for outcome in made] == [1, 0]
    assert made[0].dropped == {"no_question_word": 2}
    assert made[1].dropped == {"no_question_word": 2, "quote_not_verbatim": 1}


def test_only_the_configured_groups_are_searched():
    search = WholeSearch()
    write(["c0"], search=search, groups=("hr",))
    assert search.groups == [("hr",)]
