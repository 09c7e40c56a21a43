"""Messages to token ids: the only place, so that training and inference see the same prompt."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rayraft.errors import InputError
from rayraft.prompts import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_ENCODING = threading.Lock()
"""A tokenizer of Transformers is told with each call whether special tokens in a text are plain
text, and keeps that in itself until it is told otherwise: threads that share one encode in turn."""


def render_prompt(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], is_encoder_decoder: bool
) -> list[int]:
    """The ids of a prompt, special tokens included once.

    A causal model's prompt ends where the assistant's turn begins.

    Raises:
        InputError: The tokenizer has no chat template, or cannot write a control token that stands
            in a message as plain text.
    """
    if not tokenizer.chat_template:
        raise InputError(f"tokenizer {tokenizer.name_or_path}: it has no chat template")
    chat: Any = [dict(message) for message in messages]
    with _ENCODING:
        return _prompt_ids(tokenizer, chat, not is_encoder_decoder)


def _prompt_ids(tokenizer: Any, chat: Any, generation: bool) -> list[int]:
    # Control tokens that stand in a document or a question are encoded as plain text: nobody's
    # document can end its turn and begin another one.
    try:
        ids: Any = tokenizer.apply_chat_template(
            chat,
            add_generation_prompt=generation,
            sanitize_control_tokens=True,
            return_dict=False,
        )
    except ValueError as exc:  # its vocabulary has no other way to write such a text
        raise InputError(f"prompt: {exc}") from exc
    # Most chat templates write the special tokens; where one does not, the tokenizer adds its own.
    if ids and {ids[0], ids[-1]} & set(tokenizer.all_special_ids):
        return list(ids)
    text: Any = tokenizer.apply_chat_template(
        chat, tokenize=False, add_generation_prompt=generation
    )
    return list(tokenizer(text, split_special_tokens=True)["input_ids"])


def render_completion(tokenizer: "PreTrainedTokenizerBase", completion: str) -> list[int]:
    """The ids of a target text, closed by the end token.

    Raises:
        InputError: The tokenizer has no end token.
    """
    end = end_token_id(tokenizer)
    with _ENCODING:
        encoded = tokenizer(completion, add_special_tokens=False, split_special_tokens=True)
    return [*encoded["input_ids"], end]


def render_places(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]
) -> tuple[str, list[int], list[tuple[int, int]]]:
    """A prompt's text, and of each of its tokens the id, and where in the text it begins and ends.

    The ids are those of `render_prompt` unless a control token stands in a message.
    """
    chat: Any = [dict(message) for message in messages]
    shown: Any = tokenizer.apply_chat_template(chat, tokenize=False)
    with _ENCODING:
        encoded = tokenizer(
            shown,
            add_special_tokens=False,
            split_special_tokens=False,
            return_offsets_mapping=True,
        )
    return shown, list(encoded["input_ids"]), list(encoded["offset_mapping"])


def end_token_id(tokenizer: "PreTrainedTokenizerBase") -> int:
    """The token that ends a completion: eos, or BERT's `[SEP]`.

    Raises:
        InputError: The tokenizer has neither.
    """
    for token in (tokenizer.eos_token_id, tokenizer.sep_token_id):
        if token is not None:
            return int(token)
    raise InputError(f"tokenizer {tokenizer.name_or_path}: it has no end token")


def encode_pairs(
    tokenizer: Any, question: str, passages: Sequence[str], max_tokens: int
) -> list[list[int]]:
    """A cross-encoder's token ids of the question with each passage, whose end is cut off.

    Of a question that is longer than its passage, the end is cut off, too.
    """
    ids: list[list[int]] = tokenizer(
        [question] * len(passages),
        list(passages),
        truncation="longest_first",
        max_length=max_tokens,
    )["input_ids"]
    return ids
