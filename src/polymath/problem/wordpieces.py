"""Word pieces: texts cut as published encoders of the BERT kind expect them, by the vocabulary that they come with.

The cutting is BERT's own (Devlin et al. 2018, arXiv 1810.04805; Wu et al. 2016, arXiv 1609.08144): control characters
go, accents too where capitals do, every sign stands alone, and a word is cut into the longest known pieces from its
left. The ids are ours: see `Pieces`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cached_property
from typing import Literal

from .subwords import BLANK, FIRST, MOST_REMEMBERED, UNKNOWN, Pieces

MORE = "##"
"""In a published vocabulary, what stands before a piece that goes on with a word."""
LONGEST_WORD = 100
"""Characters; a longer word is unknown."""
CHARACTERS = 40
"""Of a text that are looked at for each piece that is kept: most pieces are shorter than ten."""
SIGNS = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
"""That stand alone though Unicode calls some of them symbols."""
IDEOGRAPHS = (
    *((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0xF900, 0xFAFF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F)),
    *((0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0x2F800, 0x2FA1F)),
)
"""Each of which is a word."""


class WordPieces(Pieces):
    """The pieces of a published vocabulary in its order, from its third line on: see `published`."""

    kind: Literal["wordpieces"] = "wordpieces"

    def encode(self, text: str, *, most: int) -> list[int]:
        remembered, result = self._words, list[int]()
        if len(remembered) > MOST_REMEMBERED:
            remembered.clear()
        for word in words(text[: most * CHARACTERS], lower=self.lower):
            ids = remembered.get(word)
            if ids is None:
                ids = remembered[word] = self._cut(word, begins=True)
            result.extend(ids)
            if len(result) >= most:
                del result[most:]
                break
        return result

    def cut(self, piece: str) -> tuple[int, ...]:
        found = list[int]()
        for place, word in enumerate(words(piece.replace(BLANK, " "), lower=self.lower)):
            goes_on = place == 0 and not piece.startswith(BLANK) and word[0].isalnum()
            found.extend(self._cut(word, begins=not goes_on))
        return tuple(found)

    @cached_property
    def _words(self) -> dict[str, tuple[int, ...]]:
        return {}

    @cached_property
    def _begin(self) -> dict[str, int]:
        return {one[1:]: place for place, one in enumerate(self.pieces, FIRST) if one[0] == BLANK and len(one) > 1}

    @cached_property
    def _go_on(self) -> dict[str, int]:
        return {one: place for place, one in enumerate(self.pieces, FIRST) if one[0] != BLANK or len(one) == 1}

    @cached_property
    def _longest(self) -> int:
        return max((len(one) for one in self.pieces), default=1)

    def _cut(self, word: str, *, begins: bool) -> tuple[int, ...]:
        """The longest known piece from the left, again and again; a word with a gap is one unknown."""
        if len(word) > LONGEST_WORD:
            return (UNKNOWN,)
        ids, start, known = list[int](), 0, self._begin if begins else self._go_on
        while start < len(word):
            for stop in range(min(len(word), start + self._longest), start, -1):
                if (found := known.get(word[start:stop])) is not None:
                    ids.append(found)
                    start, known = stop, self._go_on
                    break
            else:
                return (UNKNOWN,)
        return tuple(ids)


def published(lines: Sequence[str], *, lower: bool) -> WordPieces:
    """The vocabulary of a published `vocab.txt`: line i is id i of its encoder.

    Id 0 must be padding, and id 1 unused, because here it is the unknown. Raises ValueError for any other.
    """
    if len(lines) < FIRST + 1 or lines[0] != "[PAD]" or not lines[1].startswith("[unused"):
        raise ValueError(f"a vocabulary of word pieces begins with [PAD] and [unused0], this one with {lines[:2]}")
    if not all(lines):
        raise ValueError(f"line {list(lines).index('') + 1} of the vocabulary is empty")
    # A piece of nothing but the sign for going on is a word of its own.
    pieces = (one[2:] if one.startswith(MORE) and len(one) > len(MORE) else BLANK + one for one in lines[FIRST:])
    return WordPieces(lower=lower, pieces=tuple(pieces))


def words(text: str, *, lower: bool) -> list[str]:
    """The words of a text as BERT sees them; a sign is a word."""
    if lower:
        text = unicodedata.normalize("NFD", text)
    text = text.translate(_WITHOUT_ACCENTS if lower else _WITH_ACCENTS)
    return (text.lower() if lower else text).split()


class _Spaced(dict[int, str]):
    """Code of a character -> what stands for it: nothing, a blank, itself, or itself between blanks."""

    def __init__(self, *, accents: bool) -> None:
        super().__init__()
        self.accents = accents

    def __missing__(self, code: int) -> str:
        character = chr(code)
        kind = unicodedata.category(character)
        if character in "\t\n\r" or kind.startswith("Z"):
            found = " "
        elif kind in ("Cc", "Cf", "Co") or code == 0xFFFD or (kind == "Mn" and not self.accents):
            found = ""
        elif character in SIGNS or kind.startswith("P") or any(low <= code <= high for low, high in IDEOGRAPHS):
            found = f" {character} "
        else:
            found = character
        self[code] = found
        return found


_WITH_ACCENTS, _WITHOUT_ACCENTS = _Spaced(accents=True), _Spaced(accents=False)
