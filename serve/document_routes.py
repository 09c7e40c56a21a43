"""HTTP routes that change what is known: documents and people's feedback."""

from typing import Any

from fastapi import APIRouter

from rayraft.feedback import Feedback
from rayraft.records import Document
from rayraft.tenants import check_document_id, tenant_acl
from serve.callers import WITH_KEY, Asking, Caller, Writing
from serve.config import ApiConfig
from serve.errors import Forbidden
from serve.knowledge_schemas import BatchBody, DocumentBody, FeedbackBody
from serve.metrics import Metrics
from serve.openapi import described
from serve.responses import document_body
from serve.service import Service
from serve.waiting import in_time

_DOCUMENT = "/v1/documents/{document_id:path}"


def document_routes(service: Service, config: ApiConfig, metrics: Metrics) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["knowledge"], dependencies=WITH_KEY)
    routes = _Routes(service, config, metrics)
    router.put(_DOCUMENT, **described("put_document"))(routes.put)
    router.get(_DOCUMENT, **described("get_document"))(routes.get)
    router.delete(_DOCUMENT, **described("delete_document"))(routes.delete)
    router.post("/v1/documents:batch", **described("put_documents"))(routes.put_batch)
    router.post("/v1/feedback", **described("feedback"))(routes.feedback)
    return router


class _Routes:
    """One method per route."""

    def __init__(self, service: Service, config: ApiConfig, metrics: Metrics) -> None:
        self._service = service
        self._config = config
        self._metrics = metrics

    async def put(self, document_id: str, body: DocumentBody, caller: Writing) -> dict[str, Any]:
        """Adds the document or replaces it as a whole."""
        document = self._document(document_id, body, caller)
        written = self._service.put_documents([document], caller.groups(None, self._config))
        return {"document_id": document_id, "kb_version": await self._in_time(written)}

    async def put_batch(self, body: BatchBody, caller: Writing) -> dict[str, Any]:
        """Adds or replaces documents in one version: all of them, or none."""
        documents = [self._document(one.document_id, one, caller) for one in body.documents]
        written = self._service.put_documents(documents, caller.groups(None, self._config))
        version = await self._in_time(written)
        ids = [document.document_id for document in documents]
        return {"object": "list", "document_ids": ids, "kb_version": version}

    async def get(self, document_id: str, caller: Asking) -> dict[str, Any]:
        """The document in the latest version."""
        found = self._service.document(document_id, caller.groups(None, self._config))
        return document_body(*await self._in_time(found))

    async def delete(self, document_id: str, caller: Writing) -> dict[str, Any]:
        """Removes the document."""
        self._check_writable()
        if caller.tenant is not None:
            check_document_id(document_id, caller.tenant)
        groups = caller.groups(None, self._config)
        version = await self._in_time(self._service.delete_document(document_id, groups))
        return {"document_id": document_id, "deleted": True, "kb_version": version}

    async def feedback(self, body: FeedbackBody, caller: Asking) -> dict[str, Any]:
        """Keeps a person's word on an answer, for the next refresh."""
        if not self._config.allow_feedback:
            raise Forbidden("this service does not take feedback (api.allow_feedback=false)")
        groups = caller.groups(body.groups, self._config)
        given = Feedback(**body.model_dump(exclude={"groups"}), groups=list(groups))
        version = await self._in_time(self._service.add_feedback(given))
        self._metrics.heard(given.verdict)
        return {"feedback_version": version}

    def _document(self, document_id: str, body: DocumentBody, caller: Caller) -> Document:
        self._check_writable()
        check_document_id(document_id, caller.tenant)
        values = body.model_dump(include=set(DocumentBody.model_fields))
        values["acl"] = tenant_acl(caller.tenant, body.acl)
        return Document(document_id=document_id, **values)

    def _check_writable(self) -> None:
        if not self._config.allow_writes:
            raise Forbidden("this service does not take documents (api.allow_writes=false)")

    async def _in_time(self, awaited: Any) -> Any:
        return await in_time(awaited, self._config)
