"""Who sends a request, and what that allows: the API key's scopes, tenant and groups."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from serve.config import ApiConfig
from serve.errors import Forbidden
from serve.keys import ApiKey, Scope
from serve.limits import Limiter

_BEARER = HTTPBearer(
    auto_error=False,
    scheme_name="ApiKey",
    description="A key of `rayraft keys create`; none is needed while the service has no keys.",
)


@dataclass(frozen=True)
class Caller:
    """Whoever sends a request; without API keys that is anybody, who may do everything."""

    key: ApiKey | None
    limiter: Limiter

    @property
    def tenant(self) -> str | None:
        """Whose documents are written."""
        return self.key.tenant if self.key else None

    @property
    def default_adapter(self) -> str | None:
        """The adapter of raft and auto where the request names none."""
        return self.key.default_adapter if self.key else None

    def groups(self, claimed: list[str] | None, config: ApiConfig) -> tuple[str, ...]:
        """The groups to search with: the key's, or fewer of them if the request asks for that.

        Raises:
            Forbidden: The request claims a group that is not the key's.
        """
        if self.key is None:
            if claimed and not config.trust_client_groups:
                raise Forbidden("groups: this service does not take them from requests")
            return (*config.default_groups, *(claimed or ()))
        foreign = set(claimed or ()).difference(self.key.groups)
        if foreign:
            raise Forbidden(f"groups: {min(foreign)!r:.100} is not a group of this key")
        wanted = self.key.groups if claimed is None else claimed
        own = self.key.model_copy(update={"groups": wanted}).all_groups
        return (*config.default_groups, *own)

    def spend(self, tokens: int) -> None:
        """Takes an answer's tokens out of the key's limit."""
        if self.key is not None:
            self.limiter.spend_tokens(self.key, tokens)


def _with_scope(scope: Scope) -> Callable[[Request], Awaitable[Caller]]:
    async def caller(request: Request) -> Caller:
        sender: Caller = request.state.caller
        if sender.key is not None and scope not in sender.key.scopes:
            raise Forbidden(f"key {sender.key.name} has no scope {scope!r}")
        return sender

    return caller


Asking = Annotated[Caller, Depends(_with_scope("ask"))]
"""Parameter of a route that reads."""
Writing = Annotated[Caller, Depends(_with_scope("write"))]
"""Parameter of a route that changes documents."""
Administering = Annotated[Caller, Depends(_with_scope("admin"))]
"""Parameter of a route for operators."""
WITH_KEY = [Security(_BEARER)]
"""Routes that need a key say so in the OpenAPI document; `serve.gate` checks it."""
