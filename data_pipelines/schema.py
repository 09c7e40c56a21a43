"""The chunk table's columns, and the way between records and Arrow.

It knows nothing of Lance, Ray or torch.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rayraft.errors import ArtifactMismatch
from rayraft.models.spec import EmbedderSpec
from rayraft.records import Chunk, Document, Metadata

EMBEDDER_KEY = b"rayraft.embedder"
FORMAT_KEY = b"rayraft.format"
FORMAT = b"1"

_PRIMARY_KEY = {"lance-schema:unenforced-primary-key": "true"}
# Lance then finds two writers that insert the same new chunk_id, and lets only one of them commit.

_SCALAR_FIELDS = [
    pa.field("chunk_id", pa.string(), nullable=False, metadata=_PRIMARY_KEY),
    pa.field("document_id", pa.string()),
    pa.field("position", pa.int32()),
    pa.field("title", pa.string()),
    pa.field("text", pa.string()),
    pa.field("start", pa.int64()),
    pa.field("end", pa.int64()),
    pa.field("metadata", pa.string()),
    pa.field("acl", pa.list_(pa.string())),
    pa.field("uri", pa.string()),
    pa.field("document_hash", pa.string()),
]


def chunk_schema(dim: int) -> pa.Schema:
    """Schema of a table of chunks: what `KnowledgeBase.commit` takes and `read_chunks` gives."""
    return pa.schema([*_SCALAR_FIELDS, pa.field("embedding", pa.list_(pa.float32(), dim))])


def stored_schema(spec: EmbedderSpec) -> pa.Schema:
    """Schema on storage: `search_text` (title and text, for full-text search) and the embedder."""
    schema = chunk_schema(spec.dim).append(pa.field("search_text", pa.string()))
    return schema.with_metadata({FORMAT_KEY: FORMAT, EMBEDDER_KEY: spec.model_dump_json().encode()})


def embedder_of(schema: pa.Schema, source: str) -> EmbedderSpec:
    """The embedder a stored table was made with.

    Raises:
        ArtifactMismatch: `source` is no knowledge base, or one of another format.
    """
    metadata = schema.metadata or {}
    if metadata.get(FORMAT_KEY) != FORMAT or EMBEDDER_KEY not in metadata:
        raise ArtifactMismatch(f"{source}: not a knowledge base of format {FORMAT.decode()}")
    return EmbedderSpec.model_validate_json(metadata[EMBEDDER_KEY])


def embedded_text(title: str, text: str) -> str:
    """What is embedded and searched for a chunk: its title gives it its context."""
    return f"{title}\n{text}"


def stored_hash(content_hash: str, chunking: str) -> str:
    """A document's `document_hash`: its content and how it was cut; if equal, nothing is to do."""
    return f"{content_hash}:{chunking}"


def chunking_of(document_hash: str) -> str:
    """How a document was cut, from its `document_hash`: `ChunkingConfig.label`."""
    return document_hash.partition(":")[2]


def content_of(document_hash: str) -> str:
    """The hash of the content in a `document_hash`."""
    return document_hash.partition(":")[0]


def chunk_row_table(chunked: Iterable[tuple[Document, str, Sequence[Chunk]]]) -> pa.Table:
    """Rows of all chunks, without embeddings, of documents with their `document_hash`."""
    rows = [row for document in chunked for row in _chunk_rows(*document)]
    return pa.Table.from_pylist(rows, schema=pa.schema(_SCALAR_FIELDS))


def vector_array(embeddings: npt.NDArray[np.float32]) -> pa.FixedSizeListArray:
    """float32 [n, dim] as an Arrow column."""
    return pa.FixedSizeListArray.from_arrays(
        pa.array(embeddings.reshape(-1), type=pa.float32()), embeddings.shape[1]
    )


def vector_matrix(column: pa.ChunkedArray) -> npt.NDArray[np.float32]:
    """An Arrow column of vectors as float32 [n, dim]."""
    pieces = [piece.flatten().to_numpy(zero_copy_only=False) for piece in column.chunks]
    flat = np.concatenate([np.zeros(0, dtype=np.float32), *pieces])
    return flat.reshape(-1, column.type.list_size)


def _chunk_rows(
    document: Document, document_hash: str, chunks: Sequence[Chunk]
) -> Iterator[dict[str, Any]]:
    of_document = {
        "document_id": document.document_id,
        "title": document.title,
        "metadata": dump_metadata(document.metadata),
        "acl": document.acl,
        "uri": document.uri,
        "document_hash": document_hash,
    }
    for chunk in chunks:
        yield {
            **of_document,
            "chunk_id": chunk.chunk_id,
            "position": chunk.position,
            "text": chunk.text,
            "start": chunk.start,
            "end": chunk.end,
        }


DOCUMENT_COLUMNS = ("document_id", "position", "title", "text", "metadata", "acl", "uri")
"""What `document_from_rows` needs."""


def document_from_rows(rows: list[dict[str, Any]]) -> Document:
    """The document whose chunks are `rows`: the spans tile its text, so joining is exact."""
    rows = sorted(rows, key=lambda row: int(row["position"]))
    first = rows[0]
    return Document(
        document_id=first["document_id"],
        title=first["title"],
        text="".join(row["text"] for row in rows),
        metadata=json.loads(first["metadata"]),
        acl=first["acl"],
        uri=first["uri"],
    )


def dump_metadata(metadata: Metadata) -> str:
    """Metadata as JSON with sorted keys."""
    return json.dumps(metadata, ensure_ascii=False, sort_keys=True)
