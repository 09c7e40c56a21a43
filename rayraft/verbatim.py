"""Whether a text stands in another one, and where; case, accents and white space may differ.

Small models are uncased and see no accents, so what they quote has neither.
"""

import re
import unicodedata
from functools import lru_cache

_TOKEN = re.compile(r"\w+|[^\w\s]")


@lru_cache(maxsize=256)
def fold(text: str) -> tuple[str, tuple[int, ...]]:
    """Lower case without accents, and for each of its characters the index in `text`."""
    letters: list[str] = []
    origin: list[int] = []
    for index, letter in enumerate(text):
        for part in unicodedata.normalize("NFD", letter.lower()):
            if not unicodedata.combining(part):
                letters.append(part)
                origin.append(index)
    return "".join(letters), tuple(origin)


def pattern_of(text: str, whole_words: bool = False) -> re.Pattern[str] | None:
    """Finds `text` in folded texts; None if nothing but white space is in it."""
    tokens = _TOKEN.findall(fold(text)[0])
    if not tokens:
        return None
    before = r"(?<!\w)" if whole_words and tokens[0][0].isalnum() else ""
    after = r"(?!\w)" if whole_words and tokens[-1][-1].isalnum() else ""
    return re.compile(before + r"\s*".join(map(re.escape, tokens)) + after)


def find(pattern: re.Pattern[str], source: str) -> tuple[int, int] | None:
    """Where the pattern first stands in `source`: a half-open range of its characters."""
    folded, origin = fold(source)
    match = pattern.search(folded)
    return (origin[match.start()], origin[match.end() - 1] + 1) if match else None
