"""What a worker's error is after Ray's wrappings, each made here as Ray makes it."""

import pytest

from data_pipelines.own_errors import own_error
from rayraft.errors import ArtifactMismatch, ConfigError

OWN = ConfigError("a.b=3: must be 2")


class TaskError(Exception):
    """As ray.exceptions.RayTaskError."""

    def __init__(self, cause):
        super().__init__("traceback")
        self.cause = cause


class DualTaskError(TaskError, ConfigError):
    """Ray gives the wrapping the class of the error inside as well."""


class TrainError(Exception):
    """As ray.train.WorkerGroupError and its UserExceptionWithTraceback."""

    def __init__(self, inner=None, failures=()):
        super().__init__("traceback")
        self._base_exc = inner
        self.worker_failures = dict(enumerate(failures))


class ActorError(Exception):
    """As ray.exceptions.ActorDiedError."""

    def __init__(self, text, failed_in_its_constructor):
        super().__init__(text)
        self.actor_init_failed = failed_in_its_constructor


def chained():
    try:
        raise ValueError("wrapping") from OWN
    except ValueError as exc:
        return exc


@pytest.mark.parametrize(
    "error",
    [
        OWN,
        TaskError(OWN),
        DualTaskError(OWN),
        TaskError(TaskError(OWN)),
        TrainError(failures=[TrainError(ValueError("x")), TrainError(OWN)]),
        chained(),
    ],
)
def test_the_error_of_a_worker_is_found_in_every_wrapping(error: Exception) -> None:
    assert own_error(error) is OWN


def test_ray_datas_advice_on_retries_is_not_part_of_the_message() -> None:
    note = "\nFailed to apply UDF transform after 1/1 attempts (total backoff 0.0s).\nTo change it"
    found = own_error(TaskError(ConfigError(f"a.b=3: must be 2{note}")))
    assert str(found) == "a.b=3: must be 2"


def test_an_actors_constructor_leaves_only_text() -> None:
    text = "Traceback\n  File x\nrayraft.errors.ArtifactMismatch: teacher t: another version"
    found = own_error(ActorError(text, True))
    assert type(found) is ArtifactMismatch
    assert str(found) == "teacher t: another version"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("rayraft.errors.ConfigError: a"),
        TaskError(ValueError("x")),
        TrainError(failures=[TrainError(ZeroDivisionError())]),
        ActorError("Traceback\nValueError: x", True),
        ActorError("rayraft.errors.ConfigError: a", False),
        ActorError("rayraft.errors.Literal: a", True),
    ],
)
def test_a_defect_stays_what_it_is(error: Exception) -> None:
    assert own_error(error) is None
