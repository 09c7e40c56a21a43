"""What an encoder read, for a batch whose rows have different adapters.

Reading is by adapter: there a batch of rows is a lot of tokens, and sharing saves nothing; `mini`
also packs its rows while it reads, so that PEFT could not tell whose token is whose. Writing is
token by token, and there all rows share.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def encode_apart(
    encoder: Any,
    inputs: Mapping[str, Tensor],
    adapters: Sequence[str | None],
    use: Callable[[str | None], None],
) -> Any:
    """The encoder's output for the whole batch, each row read with its adapter.

    Args:
        encoder: Of a sequence-to-sequence model of Transformers.
        inputs: `input_ids` and `attention_mask`, int64 [rows, longest], padded at the right.
        adapters: One a row.
        use: Makes an adapter answer from now on.
    """
    order: list[int] = []
    outputs = []
    for adapter in dict.fromkeys(adapters):
        rows = [row for row, its in enumerate(adapters) if its == adapter]
        mask = inputs["attention_mask"][rows]
        width = int(mask.sum(1).max())
        use(adapter)
        ids = inputs["input_ids"][rows, :width]
        outputs.append(encoder(input_ids=ids, attention_mask=mask[:, :width]))
        order += rows
    back = torch.tensor(order, device=inputs["input_ids"].device).argsort()
    names = [name for name, value in outputs[0].items() if isinstance(value, Tensor)]
    joined = {name: _stacked([output[name] for output in outputs])[back] for name in names}
    return type(outputs[0])(**joined)


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    """Tensors [rows, W, ...] below each other, with zeros (which are masked) up to the widest W."""
    width = max(part.shape[1] for part in parts)
    return torch.cat([F.pad(x, (*[0, 0] * (x.dim() - 2), 0, width - x.shape[1])) for x in parts])
