"""Texts: words to documents, as ids of subwords learned from the training texts."""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from ..form import Form, tokens
from ..subwords import Subwords, learn
from .base import BadValue, Encoded, Feature
from .common import flat, is_text, plain_values, shown, spread

MOST_BYTES = 1_000_000
"""Read of one file: many times what the longest sequence of ids can hold."""


class Text(Feature):
    """Free text. Input: ids [N, T], uint16 or uint32, 0 = padding; a missing or empty text is all padding."""

    type: Literal["text"] = "text"
    from_file: bool = False
    """Values are paths of text files (UTF-8, or UTF-16 with its mark)."""
    lower: bool = True
    """Capitals are small letters: fewer, better known words."""
    vocabulary: int = Field(default=8_000, ge=300, le=1_000_000)
    """Most subwords to learn."""
    most_tokens: int = Field(default=1_024, ge=1, le=65_536)
    """Longest sequence of ids; what is beyond is cut off."""
    length: int | None = Field(default=None, ge=1)
    """T: 99 of 100 training texts are no longer."""
    subwords: Subwords | None = None

    most_measured: ClassVar[int] = 20_000

    @property
    def is_measured(self) -> bool:
        return self.subwords is not None and self.length is not None

    def measure(self, values: pa.ChunkedArray, *, as_output: bool = False) -> Text:
        found, _ = self._texts(spread(values, self.most_measured))
        texts = [text for text in found if text]
        subwords = self.subwords or learn(texts, vocabulary=self.vocabulary, lower=self.lower)
        some = texts[:: 1 + len(texts) // 5_000]  # the length of 99 in 100 is known well enough from so many
        lengths = [len(subwords.encode(text, most=self.most_tokens)) for text in some]
        length = int(np.quantile(lengths, 0.99, method="inverted_cdf")) if lengths else 1
        return self.replace(subwords=subwords, length=min(max(1, length), self.most_tokens))

    @property
    def form(self) -> Form:
        subwords, length = self._measured
        return tokens(length, vocabulary=subwords.size)

    def encode(self, values: pa.ChunkedArray) -> Encoded:
        subwords, length = self._measured
        texts, bad = self._texts(values)
        return Encoded(subwords.encode_all(texts, most=length), tuple(bad))

    def _texts(self, values: pa.ChunkedArray) -> tuple[Sequence[str | None], list[BadValue]]:
        """Values as strings, None = missing; files are read."""
        array = flat(values)
        if pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
            found: list[str | None] = [None if one is None else _decoded(one) for one in array.to_pylist()]
        elif is_text(array.type):
            found = array.to_pylist()
        else:
            found = [None if one is None else str(one) for one in plain_values(array)]
        if not self.from_file:
            return found, []
        bad: list[BadValue] = []
        for row, path in enumerate(found):
            if path is not None:
                try:
                    found[row] = _read(path)
                except (OSError, ValueError) as error:
                    reason = getattr(error, "strerror", None) or str(error)
                    bad.append(BadValue(row, shown(path), f"cannot be read: {reason}"))
                    found[row] = None
        return found, bad

    @property
    def _measured(self) -> tuple[Subwords, int]:
        assert self.subwords is not None and self.length is not None, f"feature {self.name!r} is not measured"
        return self.subwords, self.length

    def random_values(self, rows: int, generator: np.random.Generator) -> pa.ChunkedArray:
        words = np.array(["the", "old", "tree", "stands", "By", "a", "river,", "naïve", "and", "grows."])
        texts = [" ".join(generator.choice(words, generator.integers(1, 12))) for _ in range(rows)]
        return pa.chunked_array([pa.array(texts, pa.string(), mask=generator.random(rows) < 0.1)])


def _read(path: str) -> str:
    """The beginning of a text file. Raises OSError, or ValueError for what holds no text."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("it is no file")  # a pipe would wait forever
    with open(path, "rb") as file:
        return _decoded(file.read(MOST_BYTES))


def _decoded(content: bytes) -> str:
    """Text of bytes: UTF-16 if marked so, else UTF-8; what is neither is read as Latin-1, as old files mean it."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if len(content) == MOST_BYTES and error.start >= MOST_BYTES - 3:  # a letter cut in half
            return content[: error.start].decode("utf-8-sig")
        return content.decode("latin-1")
