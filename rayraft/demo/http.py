"""The running service, as a client of its HTTP API sees it."""

import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx2

from rayraft.client import ServiceError, ask_service
from rayraft.protocols import AskRequest
from rayraft.records import Answer

REQUEST_TIMEOUT_S = 90.0
POLL_S = 0.5


class Service:
    """A client of one service."""

    def __init__(self, url: str) -> None:
        self.url = url
        # The service is on this machine: a proxy of the environment is not to be asked.
        self._client = httpx2.Client(base_url=url, timeout=REQUEST_TIMEOUT_S, trust_env=False)

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def wait_until_ready(self, alive: Callable[[], bool], timeout_s: float) -> float:
        """Seconds until `/readyz` said yes.

        Raises:
            ServiceError: The process ended (`alive` says so) or the time ran out.
        """
        start = time.monotonic()
        while time.monotonic() - start < timeout_s:
            if not alive():
                raise ServiceError("the service ended before it was ready")
            if self._is_ready():
                return time.monotonic() - start
            time.sleep(POLL_S)
        raise ServiceError(f"the service was not ready within {timeout_s:.0f} s")

    def ask(self, question: str, mode: str, min_kb_version: int | None = None) -> Answer:
        """The answer to a question, by POST /v1/chat/completions."""
        request = AskRequest(question=question, mode=mode, min_kb_version=min_kb_version)
        return ask_service(self.url, request, client=self._client)

    def document(self, document_id: str) -> dict[str, Any]:
        """A stored document, by GET /v1/documents/{id}."""
        return self._call("GET", _path(document_id))

    def put_document(self, document_id: str, document: dict[str, Any]) -> int:
        """Replaces a document; the knowledge base version that holds it."""
        body = {key: document[key] for key in ("title", "text", "metadata", "acl")}
        return int(self._call("PUT", _path(document_id), body)["kb_version"])

    def delete_document(self, document_id: str) -> int:
        """Deletes a document; the knowledge base version without it."""
        return int(self._call("DELETE", _path(document_id))["kb_version"])

    def _is_ready(self) -> bool:
        try:
            return self._client.get("/readyz").status_code == 200
        except httpx2.HTTPError:
            return False

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            response = self._client.request(method, path, json=body)
        except httpx2.HTTPError as exc:
            raise ServiceError(f"{method} {path}: {exc!r}") from exc
        if response.status_code >= 400:
            raise ServiceError(f"{method} {path}: {response.status_code} {response.text[:300]}")
        answer: dict[str, Any] = response.json()
        return answer


def _path(document_id: str) -> str:
    return f"/v1/documents/{quote(document_id, safe='/')}"


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
