"""The answer's text while it is being written: what may be shown already, and in which spelling.

Knows the RAFT output form of `rayraft.prompts`; knows nothing of models or transport.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache

from rayraft.prompts import ABSTAIN, ANSWER, parse_answer

_TOKEN = re.compile(r"\w+|[^\w\s]")
_PHRASE = ABSTAIN.rstrip(".").lower()


def restore_spelling(text: str, sources: Sequence[str]) -> str:
    """`text` as the first of `sources` that holds it spells it, ignoring case, accents and spaces.

    Only text without a capital letter is touched: a cased model has chosen its spelling.
    """
    pattern = _pattern(text)
    if pattern is None:
        return text
    for source in sources:
        folded, origin = _fold(source)
        match = pattern.search(folded)
        if match:
            return source[origin[match.start()] : origin[match.end() - 1] + 1]
    return text


def _pattern(text: str) -> re.Pattern[str] | None:
    if any(letter.isupper() for letter in text):
        return None
    folded, _ = _fold(text)
    tokens = _TOKEN.findall(folded)
    if not tokens:
        return None
    before = r"(?<!\w)" if tokens[0][0].isalnum() else ""
    after = r"(?!\w)" if tokens[-1][-1].isalnum() else ""
    return re.compile(before + r"\s*".join(re.escape(token) for token in tokens) + after)


@lru_cache(maxsize=256)
def _fold(text: str) -> tuple[str, tuple[int, ...]]:
    """Lower case without accents, and for each of its characters the index in `text`."""
    letters: list[str] = []
    origin: list[int] = []
    for index, letter in enumerate(text):
        for part in unicodedata.normalize("NFD", letter.lower()):
            if not unicodedata.combining(part):
                letters.append(part)
                origin.append(index)
    return "".join(letters), tuple(origin)


class AnswerStream:
    """Takes a model's output piece by piece and gives out the answer's text only.

    What was given out, joined, equals the final answer's text (`restore_spelling` of the parsed
    output), with two exceptions that cannot be known in time: a model that writes `##Answer:`
    twice, or one that abstains after having written something else.
    """

    def __init__(
        self, sources: Sequence[str], may_show: Callable[[str], bool] | None = None
    ) -> None:
        """Begins.

        Args:
            sources: Texts that have the spelling.
            may_show: Whether an answer may be given out before its end, by the output so far, whose
                reasoning is complete by then; None: always.
        """
        self._sources = sources
        self._may_show = may_show
        self._sent = ""
        self.raw = ""

    def feed(self, piece: str) -> str:
        """The part of the answer that `piece` makes certain; often empty."""
        self.raw += piece
        _, marker, text = self.raw.partition(ANSWER)
        if not marker or ANSWER in text:
            return ""
        text = text.lstrip().lstrip("*").lstrip()
        certain = _without_tail(text)
        if not certain or self._may_change(certain):
            return ""
        if not self._sent and self._may_show is not None and not self._may_show(self.raw):
            return ""
        return self._send(certain)

    def finish(self, text: str) -> str:
        """What is left to give out of the final answer `text`."""
        return self._send(text)

    def _may_change(self, text: str) -> bool:
        """True while `text` may become the fixed phrase or take a passage's spelling."""
        if self._sent:
            return False
        if ABSTAIN.lower().startswith(text.lower()) or _PHRASE in text.lower():
            return True
        if any(letter.isupper() for letter in text):
            return False
        # The last word may be unfinished: "par" can still become "paris".
        pattern = _prefix_pattern(text)
        return any(pattern.search(_fold(source)[0]) for source in self._sources)

    def _send(self, text: str) -> str:
        if not text.startswith(self._sent):
            return ""
        delta = text[len(self._sent) :]
        self._sent = text
        return delta


def _prefix_pattern(text: str) -> re.Pattern[str]:
    tokens = _TOKEN.findall(_fold(text)[0])
    return re.compile(r"\s*".join(re.escape(token) for token in tokens))


def _without_tail(text: str) -> str:
    """`text` without an end that parsing may strip, or that may begin another marker."""
    for length in range(min(len(ANSWER) - 1, len(text)), 0, -1):
        if ANSWER.startswith(text[-length:]):
            text = text[:-length]
            break
    return text.rstrip().rstrip("*").rstrip()


def final_text(raw: str, sources: Sequence[str]) -> str:
    """The answer's text of a whole output, in the sources' spelling."""
    parsed = parse_answer(raw)
    return parsed.text if parsed.abstained else restore_spelling(parsed.text, sources)
