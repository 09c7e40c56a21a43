"""What a person wants to know of published adapters, as text. Knows no model."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from data_pipelines.artifacts import ArtifactRef, find, listing, read_file, read_manifest
from data_pipelines.champions import ROLES, crowned_adapters, promotions, roles_of
from rayraft.errors import ArtifactMismatch, NotFoundError
from rayraft.manifests import Manifest

_FIGURES = ("rows", "step", "loss", "validation_loss", "tokens_per_s")


def adapter_lines(store: str) -> list[str]:
    """A table of the store's adapters, oldest first, a line each.

    Raises:
        NotFoundError: There is none.
    """
    refs = listing(store, "adapter")
    if not refs:
        raise NotFoundError(f"{store}: no adapter, there is none yet")
    best = crowned_adapters(store)
    rows = [("adapter", "champion of", "method", "kb", "rows", "steps", "val. loss", "published")]
    for ref, manifest in sorted(_readable(refs), key=lambda pair: pair[1].created):
        figures = manifest.metrics
        rows.append(
            (
                ref.artifact_id,
                ", ".join(role for role in ROLES if (role, ref.artifact_id) in best) or "-",
                str(manifest.config.get("method", "-")),
                str(manifest.kb_version),
                _number(figures.get("rows")),
                _number(figures.get("step")),
                _number(figures.get("validation_loss")),
                manifest.created,
            )
        )
    return _in_columns(rows)


def describe(store: str, adapter_id: str) -> str:
    """Everything about one adapter.

    Raises:
        NotFoundError: There is no such adapter.
        ArtifactMismatch: Its manifest cannot be read.
    """
    ref = find(store, "adapter", adapter_id)
    manifest = read_manifest(ref)
    lines = [
        f"{ref.artifact_id}: {ref.uri}",
        f"published     {manifest.created}, rayraft {manifest.rayraft_version}, "
        f"commit {manifest.commit}",
        f"made from     {', '.join(manifest.made_from)}, knowledge base {manifest.kb_version}",
        f"base model    {manifest.base_model}, digest {(manifest.base_digest or '')[:12]}",
        f"prompts       digest {(manifest.prompt_digest or '')[:12]}",
        f"data          digest {(manifest.data_digest or '')[:12]}",
        f"roles         {', '.join(roles_of(manifest)) or 'none'}",
        *(
            f"promoted      {p.promoted} to {p.role}{f': {p.note}' if p.note else ''}"
            for p in promotions(store)
            if p.adapter_id == ref.artifact_id
        ),
        *(f"{name:<13} {_number(manifest.metrics.get(name))}" for name in _FIGURES),
        f"files         {', '.join(sorted(manifest.files))}",
        f"settings      {json.dumps(manifest.config, sort_keys=True)}",
        *evaluation_lines(store, ref.artifact_id),
    ]
    return "\n".join(lines)


def evaluation_lines(store: str, adapter_id: str) -> list[str]:
    """How the modes did that an adapter took part in, a line each, by evaluation."""
    lines = []
    for ref, manifest in _readable(listing(store, "eval")):
        if f"adapters/{adapter_id}" not in manifest.made_from:
            continue
        report = json.loads(read_file(ref, "report.json"))
        for mode, figures in report["modes"].items():
            if adapter_id in figures["adapters"]:
                lines.append(
                    f"evaluation    {ref.name}: {mode}, {report['n']} questions, token F1 "
                    f"{_number(figures['token_f1'])}, exact match {_number(figures['exact_match'])}"
                )
    return lines


def differences(store: str, first: str, second: str) -> str:
    """Origin, settings and figures in which two adapters differ.

    Raises:
        NotFoundError: One of them does not exist.
    """
    refs = [find(store, "adapter", adapter_id) for adapter_id in (first, second)]
    sides = [_flat(read_manifest(ref)) for ref in refs]
    rows = [("", refs[0].artifact_id, refs[1].artifact_id)]
    for name in dict.fromkeys([*sides[0], *sides[1]]):
        ours, theirs = (side.get(name, "-") for side in sides)
        if ours != theirs:
            rows.append((name, ours, theirs))
    return "\n".join(_in_columns(rows))


def _flat(manifest: Manifest) -> dict[str, str]:
    flat = {
        "made_from": ", ".join(manifest.made_from),
        "kb_version": str(manifest.kb_version),
        "base_digest": (manifest.base_digest or "")[:12],
        "prompt_digest": (manifest.prompt_digest or "")[:12],
        "data_digest": (manifest.data_digest or "")[:12],
    }
    _flatten("", manifest.config, flat)
    return flat | {name: _number(manifest.metrics.get(name)) for name in _FIGURES}


def _flatten(prefix: str, values: Mapping[str, Any], into: dict[str, str]) -> None:
    for name, value in values.items():
        if isinstance(value, Mapping):
            _flatten(f"{prefix}{name}.", value, into)
        else:
            into[f"{prefix}{name}"] = str(value)


def _in_columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _readable(refs: list[ArtifactRef]) -> list[tuple[ArtifactRef, Manifest]]:
    """Those whose manifest can be read: a broken one does not take the others along."""
    found = []
    for ref in refs:
        try:
            found.append((ref, read_manifest(ref)))
        except (ArtifactMismatch, NotFoundError):
            continue
    return found


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
