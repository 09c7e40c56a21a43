"""The error of this project inside what Ray makes of it on the way from a worker. Knows no Ray.

Ray wraps what a task, an actor or a training worker raised, each in its own way; a person is told
the line inside, not the wrapping.
"""

import re
from collections.abc import Iterator

import rayraft.errors
from rayraft.errors import RayraftError

_IN_TEXT = re.compile(
    rf"^{re.escape(rayraft.errors.__name__)}\.(\w+): (.*)\Z", re.MULTILINE | re.DOTALL
)
"""The end of a traceback that Ray hands over as text."""
_RETRY_NOTE = re.compile(r"\nFailed to .* after \d+/\d+ attempts")
"""Where Ray Data's advice on retries begins, which it appends to the message itself."""
_WRAPPED_IN = ("cause", "_base_exc", "controller_failure", "__cause__")
"""Attributes of RayTaskError, of Ray Train's two wrappings, and of `raise ... from`."""


def own_error(error: BaseException) -> RayraftError | None:
    """The `RayraftError` that was raised in a worker, or None where it is something else."""
    for inner in _inner(error):
        found = own_error(inner)
        if found is not None:
            return found
    # Ray gives its wrapping the class of what it wraps too: then str() is a traceback.
    if isinstance(error, RayraftError) and not hasattr(error, "cause"):
        error.args = (_RETRY_NOTE.split(str(error))[0],)
        return error
    # Of an actor that failed in its constructor there is only the text.
    if getattr(error, "actor_init_failed", False):
        return _in_text(str(error))
    return None


def _inner(error: BaseException) -> Iterator[BaseException]:
    wrapped = [getattr(error, name, None) for name in _WRAPPED_IN]
    for value in [*wrapped, *getattr(error, "worker_failures", {}).values()]:
        if isinstance(value, BaseException) and value is not error:
            yield value


def _in_text(text: str) -> RayraftError | None:
    found = _IN_TEXT.search(text)
    kind = getattr(rayraft.errors, found[1], None) if found else None
    if found is None or not (isinstance(kind, type) and issubclass(kind, RayraftError)):
        return None
    return kind(found[2].strip())
