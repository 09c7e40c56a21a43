"""Errors on which a caller acts.

    RayraftError
    ├── ConfigError        a configuration key, value or bound is wrong         (exit 2, HTTP 400)
    ├── InputError         a file, path, question or request is wrong           (exit 2, HTTP 400)
    ├── NotFoundError      a document, adapter, mode or store does not exist    (exit 2, HTTP 404)
    ├── ArtifactMismatch   digest, embedder, base model or prompt does not fit  (exit 3, HTTP 409)
    ├── ConcurrentWrite    another writer committed first and retries ran out   (exit 4, HTTP 409)
    ├── ClusterError       Ray could not be started or reached                  (exit 5)
    ├── VersionTimeout     `min_kb_version` was not reached in time             (HTTP 504)
    ├── DeadlineExceeded   the request's own time limit has passed              (HTTP 504)
    └── GenerationError    the generator could not answer                       (HTTP 503)

Everything else is a defect and propagates.
"""


class RayraftError(Exception):
    """Base of all errors that a caller may act on; the message is one line for a person."""

    exit_code = 1
    http_status = 500


class ConfigError(RayraftError):
    """Names the field, the value and the bound."""

    exit_code = 2
    http_status = 400


class InputError(RayraftError):
    """Names the file or field and where in it."""

    exit_code = 2
    http_status = 400


class NotFoundError(RayraftError):
    """Names what was looked for and what there is."""

    exit_code = 2
    http_status = 404


class ArtifactMismatch(RayraftError):
    """An artifact does not belong with what it is used with."""

    exit_code = 3
    http_status = 409


class ConcurrentWrite(RayraftError):
    """Another writer won; the store is as that writer left it."""

    exit_code = 4
    http_status = 409


class ClusterError(RayraftError):
    """Ray could not be started or reached; trying again may help."""

    exit_code = 5


class VersionTimeout(RayraftError):
    """The asked-for knowledge base version did not arrive within the time limit."""

    http_status = 504


class DeadlineExceeded(RayraftError):
    """The request's time limit has passed; whatever worked for it has stopped."""

    http_status = 504


class GenerationError(RayraftError):
    """Generation failed; a retry may succeed."""

    http_status = 503
