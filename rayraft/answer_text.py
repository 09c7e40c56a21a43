"""The answer's text while it is being written: what may be shown already, and in which spelling.

Knows the RAFT output form of `rayraft.prompts`; knows nothing of models or transport.
"""

from collections.abc import Callable, Sequence

from rayraft.prompts import ABSTAIN, ANSWER, parse_answer
from rayraft.verbatim import find, pattern_of

_PHRASE = ABSTAIN.rstrip(".").lower()


def restore_spelling(text: str, sources: Sequence[str]) -> str:
    """`text` as the first of `sources` that holds it spells it, ignoring case, accents and spaces.

    Only text without a capital letter is touched: a cased model has chosen its spelling.
    """
    pattern = pattern_of(text, whole_words=True)
    if pattern is None or any(letter.isupper() for letter in text):
        return text
    for source in sources:
        found = find(pattern, source)
        if found:
            return source[found[0] : found[1]]
    return text


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
        pattern = pattern_of(text)
        return pattern is None or any(find(pattern, source) for source in self._sources)

    def _send(self, text: str) -> str:
        if not text.startswith(self._sent):
            return ""
        delta = text[len(self._sent) :]
        self._sent = text
        return delta


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
