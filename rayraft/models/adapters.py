"""Adapters in a loaded model: strict loading, choosing one, one for each row, switching all off.

PEFT only warns about adapter weights that are missing and says nothing of the base model they were
trained on; a wrong adapter then answers like the base. Here it is refused.
"""

import threading
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.lora import Linear, LoraLayer
from transformers import PreTrainedModel

from rayraft.errors import ArtifactMismatch, NotFoundError
from rayraft.models.adapter_files import read_adapter

BASE = "__base__"
"""PEFT's name of the base model in a mixed batch."""

MIXED = object()
"""Of threads whose adapters are told apart by thread."""

_UNKNOWN: Final = object()
"""In place of an adapter's name, when layers were added or removed since one was chosen."""


class Adapters:
    """The adapters of one model. Not safe for threads, `used_here` apart: its user holds a lock."""

    def __init__(self, model: PreTrainedModel, base_digest: str, prompt_digest: str) -> None:
        self._model = model
        self._digests = (base_digest, prompt_digest)
        self._peft: PeftModel | None = None
        self._active: str | object | None = _UNKNOWN
        self._rows: list[str] | None = None
        self._here = threading.local()
        self._changing = threading.Lock()
        self._routed: WeakSet[Any] = WeakSet()
        self._sharing: frozenset[str] = frozenset()

    @property
    def names(self) -> list[str]:
        """The adapters that can be chosen."""
        return [] if self._peft is None else sorted(self._peft.peft_config)

    def shares(self, name: str | None) -> bool:
        """Whether it may share forward passes with others; False for one that is not loaded.

        May be asked by any thread.
        """
        return name is None or name in self._sharing

    def load(self, name: str, folder: Path) -> None:
        """Loads a fetched adapter; one of the same name is replaced.

        Raises:
            ArtifactMismatch: It is for another base model or other prompts, a file is not the
                published one, or its weights do not fit the model one to one.
        """
        config, tensors = read_adapter(folder, *self._digests)
        if name in self.names:
            self.unload(name)
        self._active = _UNKNOWN
        if self._peft is None:
            self._peft = PeftModel(
                self._model, config, adapter_name=name, autocast_adapter_dtype=False
            )
        else:
            self._peft.add_adapter(name, config, autocast_adapter_dtype=False)
        try:
            put_weights(self._peft, name, tensors, f"adapter {folder}")
        except ArtifactMismatch:
            self.unload(name)
            raise
        self._peft.eval()
        if _may_share(config):
            self._sharing |= {name}
        self._route_layers()

    def unload(self, name: str) -> None:
        """Forgets an adapter.

        Raises:
            NotFoundError: No such adapter is loaded.
        """
        if self._peft is None or name not in self.names:
            raise NotFoundError(self._unknown(name))
        self._active = _UNKNOWN
        self._sharing -= {name}
        if len(self.names) > 1:
            self._peft.set_adapter(next(n for n in self.names if n != name), inference_mode=True)
            self._peft.delete_adapter(name)
        else:
            self._peft.unload()
            self._peft = None

    def use(self, name: str | None) -> None:
        """From now on the model answers with this adapter, or as the base model for None.

        Raises:
            NotFoundError: No such adapter is loaded.
        """
        self._rows = None
        self._check_loaded(name)
        if self._peft is None or name == self._active:
            return
        layers: Any = self._peft.base_model
        if name is None:
            layers.disable_adapter_layers()
        else:
            layers.enable_adapter_layers()
            self._peft.set_adapter(name, inference_mode=True)
        self._active = name

    def use_rows(self, names: Sequence[str | None]) -> None:
        """From now on row i of every batch is answered with adapter `names[i]`.

        Args:
            names: One a row. If they differ, all of them must be ones that `shares` is true of, and
                every layer's input must have the rows as its first dimension.

        Raises:
            NotFoundError: One of them is not loaded.
        """
        some = next((name for name in names if name is not None), None)
        if some is None or len(set(names)) == 1:
            self.use(names[0])
            return
        for name in set(names):
            self._check_loaded(name)
        # PEFT takes what a row does not name, such as whole layers of an adapter, from the active.
        if self._active not in self._sharing:
            self.use(some)
        self._rows = [BASE if name is None else name for name in names]

    def kind(self, name: str | None) -> Hashable:
        """What threads must have in common to use the model at the same time by `used_here`."""
        return MIXED if self._sharing and self.shares(name) else name

    @contextmanager
    def used_here(self, name: str | None) -> Iterator[None]:
        """This thread's passes through the model are answered with this adapter; None: the base.

        Raises:
            NotFoundError: No such adapter is loaded.
        """
        with self._changing:
            mixed = self.kind(name) is MIXED
            if not mixed:
                self.use(name)
            elif self._active not in self._sharing:
                self.use(next(iter(self._sharing)))
            self._rows = None
        self._here.name = (name or BASE) if mixed else None
        try:
            yield
        finally:
            self._here.name = None

    def _route_layers(self) -> None:
        """PEFT's own way to mixed batches puts hooks on the layers for one call of `generate`.

        Calls that take turns would run through each other's; these hooks stay and look what is due.
        """
        assert self._peft is not None
        for layer in self._peft.modules():
            if isinstance(layer, LoraLayer) and layer not in self._routed:
                layer.register_forward_pre_hook(self._route, with_kwargs=True)
                layer.register_forward_hook(self._unroute)
                self._routed.add(layer)

    def _route(self, layer: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if (own := getattr(self._here, "name", None)) is not None:
            # One row, whatever its first dimension is.
            name = BASE if _is_plain(layer, own) else own
            return (args[0][None], *args[1:]), {**kwargs, "adapter_names": [name]}
        return None if self._rows is None else (args, {**kwargs, "adapter_names": self._rows})

    def _unroute(self, layer: Any, args: Any, output: Any) -> Any:
        # PEFT picks a row out and puts it back for an adapter, which takes longer than the adapter.
        if (own := getattr(self._here, "name", None)) is None:
            return None
        row = output[0]
        if _is_plain(layer, own):
            down, up = layer.lora_A[own], layer.lora_B[own]
            row = row.add_(up(down(args[0][0].to(down.weight.dtype))), alpha=layer.scaling[own])
        return row

    def _check_loaded(self, name: str | None) -> None:
        if name is not None and name not in self.names:
            raise NotFoundError(self._unknown(name))

    def _unknown(self, name: str) -> str:
        return f"adapter {name!r}: not loaded; loaded are {', '.join(self.names) or 'none'}"


def _is_plain(layer: LoraLayer, name: str) -> bool:
    """Whether this adapter only adds its two matrices' product to what the layer gives."""
    return isinstance(layer, Linear) and name in layer.lora_A and name not in layer.lora_variant


def _may_share(config: Any) -> bool:
    """Whether PEFT (0.21) can answer rows of this adapter beside rows of others.

    Not with DoRA, which it refuses; nor where an adapter has whole layers or tokens of its own:
    those go by the active adapter, not by the row.
    """
    own = ("use_dora", "modules_to_save", "trainable_token_indices", "layer_replication")
    other = ("target_parameters", "alora_invocation_tokens", "arrow_config")
    return not any(getattr(config, setting, None) for setting in (*own, *other))


def put_weights(peft: PeftModel, name: str, tensors: dict[str, torch.Tensor], source: str) -> None:
    """Gives one of a model's adapters these weights.

    Raises:
        ArtifactMismatch: A weight is missing, unexpected or of another shape.
    """
    own = get_peft_model_state_dict(peft, adapter_name=name)
    differences = {
        "missing": sorted(set(own) - set(tensors)),
        "unexpected": sorted(set(tensors) - set(own)),
        "of another shape": sorted(
            key for key in set(own) & set(tensors) if own[key].shape != tensors[key].shape
        ),
    }
    for what, keys in differences.items():
        if keys:
            raise ArtifactMismatch(f"{source}: {len(keys)} weights are {what}, such as {keys[0]}")
    set_peft_model_state_dict(peft, tensors, adapter_name=name)
