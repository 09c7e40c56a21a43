"""Which chunks a RAFT run is about, before anybody is asked: for the run and for its estimate."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from data_pipelines.filters import readable
from data_pipelines.given_questions import PlacedQuestions, place_questions
from data_pipelines.kb import KnowledgeBase
from data_pipelines.raft_examples import RaftConfig
from data_pipelines.teachers import TeacherRequest
from rayraft.errors import InputError
from rayraft.records import Question, digest

PARTS_AN_ACTOR = 16
_NEAR = 50
"""Hits looked through for one that may be learned."""


class NothingToLearn(InputError):
    """No chunk may be learned, or no example is left."""


@dataclass(frozen=True)
class Scope:
    """Which chunks examples are written for, and whose questions they show."""

    questions: Sequence[Question] | None = None
    """People's, in the teacher's place (see `given_questions`)."""
    since: int | None = None
    """Only for chunks that were added or changed after this knowledge base version."""


@dataclass(frozen=True)
class RaftPlan:
    """What a run is about."""

    kb: KnowledgeBase
    visible: list[str]
    """Ids of all chunks that may be shown."""
    restricted: int
    """Chunks that may not, because of their `acl`."""
    chosen: list[str]
    """Ids of the chunks that examples are written for."""
    placed: PlacedQuestions | None
    """People's questions; None: a teacher writes them."""


def plan_run(store: str, config: RaftConfig, scope: Scope) -> RaftPlan:
    """What a run over the latest version is about.

    Raises:
        NotFoundError: The store has no knowledge base.
        NothingToLearn: There is no chunk that may be learned.
    """
    kb = KnowledgeBase.open(store)
    visible, restricted = visible_chunk_ids(kb, config)
    if not visible:
        raise NothingToLearn(f"{store}: no chunk to write examples for ({restricted} restricted)")
    placed = _placed(kb, scope.questions, set(visible), config)
    chosen = visible if placed is None else sorted(placed.written)
    if scope.since is not None:
        changed = set(kb.delta(scope.since).upserted["chunk_id"].to_pylist())
        chosen = [chunk_id for chunk_id in chosen if chunk_id in changed]
    return RaftPlan(kb, visible, restricted, choose_chunks(chosen, config), placed)


def teacher_requests(
    kb: KnowledgeBase, chunk_ids: Iterable[str], config: RaftConfig
) -> list[TeacherRequest]:
    """What a teacher is asked for these chunks."""
    wanted = set(chunk_ids)
    rows = kb.read_chunks(["chunk_id", "title", "text"]).to_pylist()
    return [
        teacher_request(row["chunk_id"], row["title"], row["text"], config)
        for row in sorted(rows, key=lambda row: str(row["chunk_id"]))
        if row["chunk_id"] in wanted
    ]


def teacher_request(chunk_id: str, title: str, text: str, config: RaftConfig) -> TeacherRequest:
    """What a teacher is asked for one chunk."""
    return TeacherRequest(chunk_id, title, text, config.questions_per_chunk, config.seed)


def visible_chunk_ids(kb: KnowledgeBase, config: RaftConfig) -> tuple[list[str], int]:
    """Sorted ids of the chunks that may be learned, and the number of those that may not."""
    rows = kb.read_chunks(["chunk_id", "acl"])
    ids = sorted(readable(rows, config.groups)["chunk_id"].to_pylist())
    return ids, rows.num_rows - len(ids)


def choose_chunks(chunk_ids: Sequence[str], config: RaftConfig) -> list[str]:
    """At most `max_chunks` of the ids: those with the lowest hash of seed and id."""
    if config.max_chunks is None or len(chunk_ids) <= config.max_chunks:
        return list(chunk_ids)
    ordered = sorted(chunk_ids, key=lambda chunk_id: digest(["chunk", config.seed, chunk_id]))
    return sorted(ordered[: config.max_chunks])


def _placed(
    kb: KnowledgeBase,
    questions: Sequence[Question] | None,
    visible: set[str],
    config: RaftConfig,
) -> PlacedQuestions | None:
    if questions is None:
        return None
    wanted = {document for question in questions for document in question.gold_ids}
    chunks = {
        document: [passage for passage in passages if passage.chunk_id in visible]
        for document, passages in kb.passages_by_document(wanted).items()
    }

    def nearest(question: str) -> str | None:
        hits = kb.full_text_search(question, _NEAR)
        return next((chunk_id for chunk_id, _ in hits if chunk_id in visible), None)

    return place_questions(questions, chunks, config.teacher.max_quote_chars, nearest)


def even_parts(chunk_ids: Sequence[str], batch: int, actors: int) -> list[list[str]]:
    """The chunks in their order, as many parts for each actor, of at most a batch where they can.

    Enough parts to keep all actors busy to the end, few enough to cost nothing.
    """
    rounds = min(math.ceil(len(chunk_ids) / batch / actors), PARTS_AN_ACTOR)
    size = math.ceil(len(chunk_ids) / (rounds * actors))
    return [list(chunk_ids[start : start + size]) for start in range(0, len(chunk_ids), size)]
