"""A small real store for the service's tests."""

from data_pipelines.ingest import ingest_documents
from data_pipelines.kb import KnowledgeBase
from rayraft.models.embedder import Embedder
from rayraft.records import Document

DOCUMENTS = [
    Document(
        document_id="travel/rail.md",
        title="Rail travel",
        text="Staff travel by rail. The rail allowance in Vietnam is 40 EUR.",
        metadata={"region": "VN"},
    ),
    Document(
        document_id="travel/rail-de.md",
        title="Rail travel",
        text="Staff travel by rail. The rail allowance in Germany is 90 EUR.",
        metadata={"region": "DE"},
    ),
    Document(document_id="leave.md", title="Leave", text="The annual leave counts 30 days."),
    Document(
        document_id="secret/bonus.md",
        title="Bonus",
        text="The secret bonus of the board is zanzibar.",
        acl=["board"],
    ),
]


def make_store(folder) -> str:
    """A store with `DOCUMENTS`."""
    embedder = Embedder.load(threads=1)
    kb = KnowledgeBase.create_or_open(str(folder), embedder.spec)
    ingest_documents(DOCUMENTS, kb, embedder)
    return str(folder)


if __name__ == "__main__":
    # Another process that writes: STORE DOCUMENT_ID TEXT; prints the version.
    import sys

    embedder = Embedder.load(threads=1)
    kb = KnowledgeBase.open(sys.argv[1])
    document = Document(document_id=sys.argv[2], title="News", text=sys.argv[3])
    print(ingest_documents([document], kb, embedder))
