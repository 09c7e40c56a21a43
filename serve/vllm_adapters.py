"""Published adapters as folders that vLLM reads, checked before it does.

vLLM takes what it is given: it knows nothing of manifests, and leaves out without a word what an
adapter lacks. A folder stays while a request uses it, since vLLM reads it again whenever its own
memory had to forget the adapter. The name that vLLM knows is the id, `name-vN`; its bytes never
change, so nothing that vLLM keeps under it, such as a prefix cache, can be stale
(vllm-project/vllm#42125, ray-project/ray#53315).
"""

import asyncio
import json
import shutil
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from data_pipelines.artifacts import ArtifactRef, fetch
from rayraft.adapter_ids import parse_adapter_id
from rayraft.errors import ArtifactMismatch
from rayraft.manifests import ADAPTER_CONFIG, ADAPTER_WEIGHTS, check_adapter
from rayraft.prompts import prompt_digest

_LORA_A, _LORA_B = ".lora_A.weight", ".lora_B.weight"
_OTHERS = (
    *("use_dora", "lora_bias", "modules_to_save", "trainable_token_indices", "layer_replication"),
    *("rank_pattern", "alpha_pattern"),  # a vLLM that is not the newest passes over these
)
"""What PEFT can and vLLM cannot."""


class AdapterFolders:
    """Adapters on this machine's disk. For one event loop.

    Args:
        root: Where the folders are; nobody else writes there.
        fetch: Puts the adapter of an id into a new folder, in a thread; raises `RayraftError`.
        kept: Folders that are kept while nobody uses them; the longest unused goes first.
    """

    def __init__(self, root: Path, fetch: Callable[[str, Path], None], kept: int) -> None:
        self._root = root
        self._fetch = fetch
        self._kept = kept
        self._there: OrderedDict[str, None] = OrderedDict()
        self._users: Counter[str] = Counter()
        self._fetching: dict[str, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def using(self, adapter_id: str) -> AsyncIterator[Path]:
        """Inside, the adapter's folder is there.

        Raises:
            NotFoundError: It is not published.
            ArtifactMismatch: It does not belong to this model, or vLLM cannot run it.
        """
        parse_adapter_id(adapter_id)  # it becomes a folder, which is removed again
        self._users[adapter_id] += 1
        try:
            if adapter_id not in self._there:
                await self._fetched(adapter_id)
            self._there.move_to_end(adapter_id)
            yield self._root / adapter_id
        finally:
            self._users[adapter_id] -= 1
            self._forget()

    async def _fetched(self, adapter_id: str) -> None:
        """Whoever waits for the same adapter waits for one download; it outlives their patience."""
        if adapter_id not in self._fetching:
            task = asyncio.create_task(self._bring(adapter_id))
            self._fetching[adapter_id] = task
            task.add_done_callback(lambda done: self._note(adapter_id, done))
        await asyncio.shield(self._fetching[adapter_id])

    async def _bring(self, adapter_id: str) -> None:
        folder = self._root / adapter_id
        try:
            await asyncio.to_thread(self._fetch, adapter_id, folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._there[adapter_id] = None

    def _note(self, adapter_id: str, done: "asyncio.Task[None]") -> None:
        del self._fetching[adapter_id]
        if not done.cancelled():
            done.exception()  # those who wait have it; if nobody does, it is no news

    def _forget(self) -> None:
        idle = [name for name in self._there if not self._users[name]]
        for name in idle[: max(0, len(self._there) - self._kept)]:
            del self._there[name], self._users[name]
            shutil.rmtree(self._root / name, ignore_errors=True)


@dataclass(frozen=True)
class AdapterSource:
    """Where adapters come from, and what they have to fit."""

    store: str
    base_digest: str
    max_rank: int
    """`generator.vllm.max_lora_rank`."""

    def fetch(self, adapter_id: str, to: Path) -> None:
        """Copies a published adapter into the folder `to`.

        Raises:
            NotFoundError: It is not published.
            ArtifactMismatch: It is for another base model or other prompts, a file is not the
                published one, or vLLM would not answer with it as PEFT does.
        """
        name, number = parse_adapter_id(adapter_id)
        source = f"adapter {adapter_id}"
        manifest = fetch(ArtifactRef(self.store, "adapter", name, number), to)
        check_adapter(manifest, self.base_digest, prompt_digest(), source)
        try:
            config = json.loads((to / ADAPTER_CONFIG).read_bytes())
            with safe_open(to / ADAPTER_WEIGHTS, framework="numpy") as weights:
                names = set(weights.keys())
        except (OSError, ValueError, SafetensorError) as exc:
            raise ArtifactMismatch(f"{source}: {exc}") from exc
        check_for_vllm(config, names, self.max_rank, source)


def check_for_vllm(config: dict[str, Any], names: set[str], max_rank: int, source: str) -> None:
    """Whether vLLM answers with an adapter as PEFT does.

    Args:
        config: What is in `adapter_config.json`.
        names: Of its weights.
        max_rank: `generator.vllm.max_lora_rank`.
        source: Names it in errors.

    Raises:
        ArtifactMismatch: It does not; names the setting, or a weight that is missing or unexpected.
    """
    if config.get("r", 0) > max_rank:
        raise ArtifactMismatch(
            f"{source}: lora.r={config['r']} is above generator.vllm.max_lora_rank={max_rank}"
        )
    for setting in _OTHERS:
        if config.get(setting):
            raise ArtifactMismatch(
                f"{source}: vLLM does not do {setting}; engine=transformers does"
            )
    with_a, with_b = (
        {name.removesuffix(end) for name in names if name.endswith(end)}
        for end in (_LORA_A, _LORA_B)
    )
    others = {name for name in names if not name.endswith((_LORA_A, _LORA_B))}
    targets = config.get("target_modules")
    lacking = {
        target
        for target in (targets if isinstance(targets, list) else [])
        if not any(f".{name}".endswith(f".{target}") for name in with_a)
    }
    for what, wrong in (
        ("half there", with_a ^ with_b),
        ("unexpected", others),
        ("missing", lacking),
    ):
        if wrong:
            raise ArtifactMismatch(f"{source}: weights are {what}, such as {min(wrong)}")
