"""The work of the benches: chunks and questions of the example corpus."""

from pathlib import Path

from data_pipelines.chunking import chunk_document
from data_pipelines.readers import read_file
from data_pipelines.sources import find_files
from rayraft.models.embedder_tokenizer import EmbedderTokenizer
from rayraft.questions import read_questions
from rayraft.records import Chunk, Document, Question

CORPUS = Path(__file__).parent.parent / "examples" / "support_center"


def example_chunks(chunk_tokens: int = 256) -> list[Chunk]:
    """Chunks of at most `chunk_tokens` tokens of the embedder."""
    tokenizer = EmbedderTokenizer.load()
    files, _ = find_files([str(CORPUS / "documents")])
    return [
        chunk
        for file in files
        for document in read_file(file)
        if isinstance(document, Document)
        for chunk in chunk_document(document, tokenizer, chunk_tokens)
    ]


def example_questions() -> list[Question]:
    """The questions that the corpus answers."""
    return [q for q in read_questions(CORPUS / "questions.jsonl") if q.answers]
