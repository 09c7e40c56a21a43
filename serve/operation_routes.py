"""HTTP routes for whoever runs the service: adapters, health and metrics."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from rayraft.errors import NotFoundError
from rayraft.tenants import may_use_adapter, owner_of_adapter
from serve.callers import WITH_KEY, Administering, Asking, Caller
from serve.config import ApiConfig
from serve.errors import Forbidden
from serve.knowledge_schemas import PromoteBody, RollbackBody
from serve.metrics import add_up
from serve.openapi import described
from serve.peers import Peers
from serve.service import Service
from serve.waiting import in_time


def operation_routes(service: Service, config: ApiConfig, peers: Peers) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["operation"])
    routes = _Routes(service, config, peers)
    keyed: dict[str, Any] = {"dependencies": WITH_KEY}
    router.get("/v1/adapters", **keyed, **described("adapters"))(routes.adapters)
    promote = "/v1/adapters/{adapter_id}/promote"
    router.post(promote, **keyed, **described("promote"))(routes.promote)
    router.post("/v1/adapters:rollback", **keyed, **described("rollback"))(routes.rollback)
    router.get("/healthz", **described("healthz"))(routes.healthz)
    router.get("/readyz", **keyed, **described("readyz"))(routes.readyz)
    router.get("/metrics", **keyed, **described("metrics"))(routes.metrics)
    return router


class _Routes:
    """One method per route."""

    def __init__(self, service: Service, config: ApiConfig, peers: Peers) -> None:
        self._service = service
        self._config = config
        self._peers = peers

    async def adapters(self, caller: Asking) -> dict[str, Any]:
        """The published adapters that this key may use, oldest first, and what they answer for."""
        groups = caller.groups(None, self._config)
        found = await in_time(self._service.adapter_facts(groups), self._config)
        return {"object": "list", "data": found}

    async def promote(
        self, adapter_id: str, caller: Administering, body: PromoteBody | None = None
    ) -> dict[str, Any]:
        """Makes the adapter the one that answers by default; replicas follow within seconds."""
        self._check_own(adapter_id, caller)
        note = body.note if body else ""
        roles = await in_time(self._service.promote(adapter_id, note), self._config)
        return {"id": adapter_id, "object": "adapter", "champion_of": roles}

    async def rollback(self, body: RollbackBody, caller: Administering) -> dict[str, Any]:
        """Takes the last promotion to a role back: the champion before it answers again."""
        taken = self._service.rollback(body.role, caller.tenant)
        return {"role": body.role, "champion": await in_time(taken, self._config)}

    async def healthz(self) -> dict[str, str]:
        """Says that this process answers."""
        return {"status": "ok"}

    async def readyz(self, caller: Asking) -> dict[str, Any]:
        """Says that every part works: the generator has to write a token."""
        version = await in_time(self._service.ready(), self._config)
        return {"status": "ready", "kb_version": version}

    async def metrics(self, caller: Administering) -> Response:
        """Figures of all replicas in Prometheus's text form; for the operator, not for tenants."""
        if caller.tenant is not None:
            raise Forbidden("the figures are of all tenants: a key of one may not read them")
        texts = await run_in_threadpool(self._peers.texts)
        return PlainTextResponse(add_up(texts), media_type=CONTENT_TYPE_LATEST)

    def _check_own(self, adapter_id: str, caller: Caller) -> None:
        """Nobody promotes what other tenants are answered by, nor what is another's."""
        if not may_use_adapter(adapter_id, caller.groups(None, self._config)):
            raise NotFoundError(f"adapter {adapter_id!r:.100} does not exist")
        if owner_of_adapter(adapter_id) != caller.tenant:
            raise Forbidden(f"adapter {adapter_id!r:.100} is shared: only the operator promotes it")
