"""What adapters learn for a comparison, and their training, all in a workspace.

Both adapters learn from the same examples: the teacher's, and those made of people's questions.
Every step is an artifact under a name made of all that decides it, so what is there is reused.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from data_pipelines import artifacts
from data_pipelines.artifacts import ArtifactRef
from data_pipelines.champions import champions, promote
from data_pipelines.kb import KnowledgeBase
from data_pipelines.progress import Advance
from data_pipelines.published_adapters import PublishedAdapter
from data_pipelines.raft import Scope, build_raft_examples
from data_pipelines.raft_publishing import JoinedRun, publish_joined
from data_pipelines.raft_reading import read_run
from rayraft.prompts import prompt_digest
from rayraft.records import Question, RaftExample, digest
from train.adapter import train_adapter
from train.compare.arms import Arm, Role
from train.compare.config import CompareConfig
from train.compare.measured import Learned, training_seconds
from train.compare.workspace import copy_adapter

LEARNED = "learned"
"""Beginning of the name of the run that adapters learn."""


@dataclass(frozen=True)
class Stores:
    """Where adapters come from and where they go."""

    user: str
    """The user's, whose published adapters may be named."""
    copy: str
    """The workspace; everything is written there."""


def learn(
    stores: Stores,
    config: CompareConfig,
    arms: Sequence[Arm],
    questions: Sequence[Question],
    progress: Advance,
) -> dict[Role, Learned]:
    """The adapters that the arms need, published and promoted in the workspace.

    Args:
        stores: The user's and the copy.
        config: How.
        arms: Which roles are needed.
        questions: People's, to learn beside the teacher's.
        progress: Of the step under way.
    """
    workspace = stores.copy
    needed = {arm.adapter for arm in arms if arm.adapter is not None}
    learned: dict[Role, Learned] = {}
    run: ArtifactRef | None = None
    roles: tuple[Role, ...] = ("memory", "reading")
    for role in roles:
        if role not in needed:
            continue
        named = config.adapter_memory if role == "memory" else config.adapter_reading
        if named is not None:
            base_model = config.evaluate.base_model
            ref = copy_adapter(stores.user, named, workspace, role, base_model)
            cpus, gpus = _places(config, role)
            learned[role] = Learned(_published(ref), trained=False, workers=cpus, gpus=gpus)
        else:
            run = run or examples_run(workspace, config, questions, progress)
            learned[role] = _trained(workspace, config, role, run)
        chosen = learned[role].adapter.ref.artifact_id
        if champions(workspace).get(role) != chosen:  # a refresh starts from the champion
            promote(workspace, chosen, "comparison")
    return learned


def examples_run(
    workspace: str, config: CompareConfig, questions: Sequence[Question], progress: Advance
) -> ArtifactRef:
    """The RAFT run of all examples, written if it is not there."""
    kb = KnowledgeBase.open(workspace)
    deciding = [
        config.raft.model_dump(mode="json", exclude={"workers"}),
        config.teacher,
        [question.model_dump() for question in questions],
        kb.version,
        prompt_digest(),
    ]
    name = f"{LEARNED}-{digest(deciding)[:16]}"
    if there := artifacts.listing(workspace, "raft", name):
        return there[0]
    parts = []
    if config.teacher or not questions:
        parts.append(_written(workspace, config, f"{name}-teacher", Scope(), progress))
    if questions:
        scope = Scope(questions)
        parts.append(_written(workspace, config, f"{name}-people", scope, progress))
    return _merged(workspace, config, name, parts, kb.version)


def _written(
    workspace: str, config: CompareConfig, name: str, scope: Scope, progress: Advance
) -> ArtifactRef:
    if not artifacts.listing(workspace, "raft", name):
        settings = config.raft
        if scope.questions is not None:
            # The number of chunks bounds the teacher's work alone; and what people are known to
            # ask is learned whole, the teacher's examples are there to validate on.
            held_out = settings.validation_fraction if not config.teacher else 0.0
            update = {"max_chunks": None, "validation_fraction": held_out}
            settings = settings.model_copy(update=update)
        build_raft_examples(workspace, settings, name, progress, scope)
    return artifacts.find(workspace, "raft", name)


def _merged(
    workspace: str,
    config: CompareConfig,
    name: str,
    parts: Sequence[ArtifactRef],
    kb_version: int,
) -> ArtifactRef:
    rows = [row for part in parts for t in read_run(part).values() for row in t.to_pylist()]
    unique = {row["example_id"]: RaftExample.model_validate(row) for row in rows}
    examples = [unique[example_id] for example_id in sorted(unique)]
    teacher = " and ".join(part.name.rsplit("-", 1)[1] for part in parts)
    joined = JoinedRun(name, teacher, kb_version, parts)
    return publish_joined(workspace, joined, examples, config.raft)


def _places(config: CompareConfig, role: Role) -> tuple[float, float]:
    """CPUs and GPUs of a training of this role, and of its refreshes."""
    workers = (config.memory if role == "memory" else config.reading).workers
    return workers.least * workers.cpus_per_worker, workers.least * workers.gpus_per_worker


def _trained(workspace: str, config: CompareConfig, role: Role, run: ArtifactRef) -> Learned:
    settings = config.memory if role == "memory" else config.reading
    trained = train_adapter(workspace, settings, role, run.name)
    made_of = artifacts.read_manifest(run).metrics
    seconds = training_seconds(trained.manifest)
    rates = [point["tokens_per_s"] for point in trained.manifest.curve if "tokens_per_s" in point]
    cpus, gpus = _places(config, role)
    return Learned(
        adapter=_published(trained.ref),
        trained=True,
        examples_seconds=float(made_of["seconds"]),
        train_seconds=round(seconds, 1),
        workers=cpus,
        gpus=gpus,
        examples=int(made_of["train"]),
        tokens=round(seconds * sum(rates) / len(rates)) if rates else 0.0,
        restricted_chunks=int(made_of["restricted_chunks"]),
    )


def _published(ref: ArtifactRef) -> PublishedAdapter:
    return PublishedAdapter(ref, artifacts.read_manifest(ref))
