"""What an ingest run did, or would do, in words."""

from dataclasses import dataclass

from data_pipelines.quarantine import Rejected

REASONS = 5
"""Quarantined documents whose reasons are shown; all are in the store."""


@dataclass(frozen=True)
class IngestReport:
    """What a run did."""

    added: int
    changed: int
    unchanged: int
    rejected: list[Rejected]
    """What went to quarantine, with the reasons."""
    skipped: int
    """Files with an unknown extension."""
    chunks: int
    """Chunks of the documents added and changed."""
    tokens: int
    """Tokens that were embedded."""
    seconds: float
    embed_seconds: float
    """Of `seconds`, those in which chunks were made and embedded."""
    kb_version: int | None
    """None where a dry run found no knowledge base."""
    removed: int = 0
    embedded: int = 0
    """Of `chunks`, those that had to be embedded; the others' vectors were known."""
    files_read: int = 0
    """Files that were opened; those that were as the last run left them were not."""
    dry_run: bool = False

    @property
    def quarantined(self) -> int:
        """Number of documents that went to quarantine."""
        return len(self.rejected)

    @property
    def tokens_per_s(self) -> float:
        """Embedded tokens per second of chunking and embedding; 0 if there was nothing to do."""
        return self.tokens / self.embed_seconds if self.tokens else 0.0


def ingest_summary(report: IngestReport, store: str) -> str:
    """What a person wants to know of a finished run."""
    version = "none yet" if report.kb_version is None else str(report.kb_version)
    to_embed = "to embed" if report.dry_run else "embedded"
    lines = [
        f"documents   {report.added} added, {report.changed} changed, "
        f"{report.unchanged} unchanged, {report.removed} removed, "
        f"{report.quarantined} quarantined, {report.skipped} skipped",
        f"chunks      {report.chunks}, of them {report.embedded} {to_embed}",
        f"seconds     {report.seconds:.1f} ({report.tokens_per_s:.0f} tokens/s)",
        f"kb version  {version}",
    ]
    if report.dry_run:
        lines.append("dry run     nothing was changed")
    if report.rejected:
        shown = [f"{item.uri}: {item.reason}" for item in report.rejected[:REASONS]]
        left = report.quarantined - len(shown)
        place = f"{store.rstrip('/')}/quarantine/"
        lines += [f"not read    {line}" for line in shown]
        lines.append(f"            and {left} more; {place}" if left else f"            {place}")
    return "\n".join(lines)
