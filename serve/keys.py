"""API keys: who a request comes from and what it may do. Only digests of keys are stored."""

import hashlib
import hmac
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, get_args

import yaml
from pydantic import Field, field_validator, model_validator

from rayraft.adapter_ids import ADAPTER_ID
from rayraft.config import NOT_YAML, Config, validate
from rayraft.errors import ConfigError, InputError, NotFoundError, RayraftError
from rayraft.tenants import GROUP, TENANT, groups_of, may_use_adapter

logger = logging.getLogger(__name__)

Scope = Literal["ask", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
KEY_NAME = r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?"
_PREFIX = "rayraft-"
_RANDOM_BYTES = 32


class ApiKey(Config):
    """One key, as its file has it."""

    name: str = Field(pattern=rf"^{KEY_NAME}$")
    """What people call it; unique in the file."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Hex digest of the key. A key has 256 random bits, so no slow hash is needed."""
    tenant: str | None = Field(default=None, pattern=rf"^(?:{TENANT})$")
    """Whose documents, adapters and feedback it reaches; null for the operator's own."""
    groups: list[str] = Field(default_factory=list, max_length=100)
    """ACL groups of whoever holds it, joined to every search; a request may only narrow them."""
    scopes: list[Scope] = Field(default=["ask"], min_length=1)
    """`ask` reads and gives feedback, `write` changes documents, `admin` promotes adapters and
    reads /metrics."""
    requests_per_minute: int | None = Field(default=None, ge=1)
    """More are refused with 429; null for no limit."""
    tokens_per_minute: int | None = Field(default=None, ge=1)
    """Prompt and completion tokens; null for no limit."""
    default_adapter: str | None = Field(default=None, pattern=rf"^(?:{ADAPTER_ID})$")
    """Adapter of raft and auto where a request names none; null for the service's."""
    created: str = ""
    """UTC, ISO 8601."""

    @field_validator("groups")
    @classmethod
    def _grammar(cls, groups: list[str]) -> list[str]:
        for group in groups:
            if not re.fullmatch(GROUP, group):
                raise ValueError(f"group {group!r}: expected letters, digits and _.@-")
        return groups

    @model_validator(mode="after")
    def _own_adapter(self) -> "ApiKey":
        if self.default_adapter and not may_use_adapter(self.default_adapter, self.all_groups):
            raise ValueError(f"default_adapter={self.default_adapter!r} is another tenant's")
        return self

    @property
    def all_groups(self) -> tuple[str, ...]:
        """As the knowledge base knows them: with the tenant's."""
        return groups_of(self.tenant, self.groups)


class KeysFile(Config):
    """The file of keys."""

    keys: list[ApiKey] = Field(default_factory=list)

    @model_validator(mode="after")
    def _unique(self) -> "KeysFile":
        for what in ("name", "sha256"):
            values = [getattr(key, what) for key in self.keys]
            twice = next((value for value in values if values.count(value) > 1), None)
            if twice is not None:
                raise ValueError(f"two keys have {what}={twice}")
        return self


def new_secret() -> str:
    """A new key, to be shown once."""
    return _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def key_digest(secret: str) -> str:
    """What is stored of a key."""
    return hashlib.sha256(secret.encode()).hexdigest()


def find_key(keys: Sequence[ApiKey], secret: str) -> ApiKey | None:
    """The key of this secret; takes the same time whichever it is, and if it is none."""
    found = None
    digest = key_digest(secret)
    for key in keys:
        if hmac.compare_digest(key.sha256, digest):
            found = key
    return found


def read_keys(location: str) -> list[ApiKey]:
    """The keys of a file or URI.

    Raises:
        ConfigError: It is missing or malformed; names what.
    """
    from data_pipelines.stores import open_filesystem

    try:
        filesystem, path = open_filesystem(location)
        with filesystem.open_input_stream(path) as stream:
            values = yaml.safe_load(bytes(stream.read()))
    except (OSError, InputError) as exc:
        raise ConfigError(f"keys file {location}: {' '.join(str(exc).split())}") from exc
    except NOT_YAML as exc:
        raise ConfigError(f"keys file {location}: not YAML: {' '.join(str(exc).split())}") from exc
    if values is not None and not isinstance(values, dict):
        raise ConfigError(f"keys file {location}: expected a mapping with `keys`")
    return validate(KeysFile, values or {}, source=f"keys file {location}").keys


def write_keys(location: str, keys: Sequence[ApiKey]) -> None:
    """Writes the file at once; a local one is readable by its owner alone.

    Raises:
        InputError: It cannot be written.
    """
    from data_pipelines.stores import open_filesystem, write_file

    file = validate(KeysFile, {"keys": list(keys)}, source=f"keys file {location}")
    text = "# API keys of RayRAFT; `rayraft keys` writes it. Digests only: a lost key is lost.\n"
    text += yaml.safe_dump(file.model_dump(), sort_keys=False)
    filesystem, path = open_filesystem(location)
    try:
        write_file(filesystem, path, text.encode())
        if "://" not in location:
            Path(path).chmod(0o600)
    except OSError as exc:
        raise InputError(f"keys file {location}: {exc.strerror or exc}") from exc


def revoke(keys: Sequence[ApiKey], name: str) -> list[ApiKey]:
    """The other keys.

    Raises:
        NotFoundError: There is no key of this name.
    """
    left = [key for key in keys if key.name != name]
    if len(left) == len(keys):
        known = ", ".join(key.name for key in keys) or "none"
        raise NotFoundError(f"key {name!r:.100} does not exist; keys: {known}")
    return left


class KeyRing:
    """The keys of a file, read again when they are older than `poll_s`.

    While the file cannot be read, the keys read last are valid: a storage outage is none of ours.

    Args:
        read: Reads all keys; raises ConfigError.
        poll_s: Age at which they are read again: so long a revoked key may still be used.
    """

    def __init__(self, read: Callable[[], Sequence[ApiKey]], poll_s: float) -> None:
        self._read = read
        self._poll_s = poll_s
        self._keys = list(read())
        self._stop = threading.Event()
        threading.Thread(target=self._follow, name="keys", daemon=True).start()

    def find(self, secret: str) -> ApiKey | None:
        """The key of this secret."""
        return find_key(self._keys, secret)

    def close(self) -> None:
        """Ends the thread."""
        self._stop.set()

    def _follow(self) -> None:
        while not self._stop.wait(self._poll_s):
            try:
                self._keys = list(self._read())
            except RayraftError as exc:
                logger.error("%s; the keys read before stay valid", exc)
                time.sleep(self._poll_s)
