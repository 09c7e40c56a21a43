"""What comes in over HTTP about documents, feedback and adapters."""

from typing import Literal

from pydantic import Field

from rayraft.records import Metadata
from serve.schemas import StrictBody, examples


class DocumentBody(StrictBody):
    """PUT /v1/documents/{id}: the whole document, which replaces any former one."""

    model_config = examples(
        {"title": "Leave", "text": "There are 30 days of annual leave.", "acl": ["hr"]},
        extra="forbid",
    )

    title: str = Field(default="", max_length=4096)
    text: str
    metadata: Metadata = Field(default_factory=dict)
    acl: list[str] = Field(default_factory=list)


class BatchDocument(DocumentBody):
    """One document of a batch."""

    document_id: str = Field(min_length=1, max_length=1024)


class BatchBody(StrictBody):
    """POST /v1/documents:batch: documents that are written in one version."""

    model_config = examples(
        {
            "documents": [
                {"document_id": "handbook/leave.md", "text": "There are 30 days of leave."},
                {"document_id": "handbook/rail.md", "text": "Staff travel by rail."},
            ]
        },
        extra="forbid",
    )

    documents: list[BatchDocument] = Field(min_length=1, max_length=1000)


class PromoteBody(StrictBody):
    """POST /v1/adapters/{id}/promote."""

    model_config = examples({"note": "token F1 +0.03 on the support questions"}, extra="forbid")

    note: str = Field(default="", max_length=1000)


class RollbackBody(StrictBody):
    """POST /v1/adapters:rollback."""

    model_config = examples({"role": "reading"}, extra="forbid")

    role: Literal["reading", "memory"] = "reading"


class FeedbackBody(StrictBody):
    """POST /v1/feedback: what a person says of an answer; `Feedback` says what the fields mean."""

    model_config = examples(
        {
            "question": "How many days of leave are there?",
            "verdict": "corrected",
            "answer": "30",
            "document_ids": ["handbook/leave.md"],
        },
        extra="forbid",
    )

    question: str = Field(min_length=1, max_length=20_000)
    verdict: Literal["accepted", "corrected", "rejected"]
    answer: str = Field(default="", max_length=20_000)
    document_ids: list[str] = Field(default_factory=list, max_length=100)
    groups: list[str] | None = None
    mode: str = Field(default="", max_length=200)
    adapter: str = Field(default="", max_length=200)
    kb_version: int | None = Field(default=None, ge=0)
