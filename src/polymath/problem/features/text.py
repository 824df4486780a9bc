"""Texts: words to documents, as ids of subwords learned from the training texts. Read, or written as an answer."""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from ...spec import BadInput, Json
from ..form import Form, tokens
from ..subwords import PADDING, UNKNOWN, Pieces, Subwords, learn
from ..wordpieces import WordPieces
from . import _sentences
from .base import BadValue, Encoded, Feature, Metric
from .common import flat, is_text, plain_values, shown, spread

if TYPE_CHECKING:
    import torch

MOST_BYTES = 1_000_000
"""Read of one file: many times what the longest sequence of ids can hold."""
READ_WHOLE, WRITTEN_WHOLE = 0.99, 0.999
"""Share of the texts that are not cut off: what is cut in an answer teaches to stop too early."""


class Text(Feature):
    """Free text. Input: ids [N, T], uint16 or uint32, 0 = padding; a missing or empty text is all padding.

    Output: the same with one more id, `end`, behind the last token, in T + 1 places. A path gives the logits of every
    token [B, T + 1, V], and is shown the ids while it trains.
    """

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
    """T: 99 of 100 training texts are no longer; 999 of 1000 of those that are written."""
    subwords: Subwords | WordPieces | None = None

    most_measured: ClassVar[int] = 20_000
    can_be_output: ClassVar[bool] = True
    generated: ClassVar[bool] = True

    @property
    def is_measured(self) -> bool:
        return self.subwords is not None and self.length is not None

    def measure(self, values: pa.ChunkedArray, *, as_output: bool = False) -> Text:
        found, _ = self._texts(spread(values, self.most_measured))
        texts = [text for text in found if text]
        if as_output and not texts:
            raise BadInput("holds no text to learn from", column=self.name, remedy="Choose another target.")
        subwords = self.subwords or learn(texts, vocabulary=self.vocabulary, lower=self.lower)
        some = texts[:: 1 + len(texts) // 5_000]  # the length of 99 in 100 is known well enough from so many
        lengths = [len(subwords.encode(text, most=self.most_tokens)) for text in some]
        share = WRITTEN_WHOLE if as_output else READ_WHOLE
        length = int(np.quantile(lengths, share, method="inverted_cdf")) if lengths else 1
        return self.replace(subwords=subwords, length=min(max(1, length), self.most_tokens))

    @property
    def form(self) -> Form:
        subwords, length = self._measured
        return tokens(length, vocabulary=subwords.size)

    def encode(self, values: pa.ChunkedArray) -> Encoded:
        subwords, length = self._measured
        texts, bad = self._texts(values)
        return Encoded(subwords.encode_all(texts, most=length), tuple(bad))

    # As output ---------------------------------------------------------------------------------------------------
    @property
    def end(self) -> int:
        """Id that ends an answer."""
        return self._measured[0].size

    @property
    def head_width(self) -> int:
        return self.end + 1

    @property
    def answer(self) -> Form:
        return tokens(self._measured[1] + 1, width=self.head_width)

    @property
    def shown(self) -> Form:
        return tokens(self._measured[1] + 1, vocabulary=self.head_width)

    def encode_target(self, values: pa.ChunkedArray) -> Encoded:
        found = self.encode(values)
        ids = np.zeros((len(found.array), self.answer.size[0]), np.uint16 if self.end < 65_536 else np.uint32)
        ids[:, :-1] = found.array
        lengths = (found.array != PADDING).sum(1)
        ids[lengths > 0, lengths[lengths > 0]] = self.end
        return Encoded(ids, found.bad)

    def known(self, target: np.ndarray) -> np.ndarray:
        return np.asarray((target != PADDING).any(1))

    def loss(self, prediction: torch.Tensor, target: torch.Tensor, *, smoothing: float = 0.0) -> torch.Tensor:
        return _sentences.losses(prediction, target, smoothing=smoothing)

    def kept(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return _sentences.kept(prediction, target)

    def constant(self, target: np.ndarray) -> np.ndarray:
        return _sentences.frequencies(target, self.head_width)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return _sentences.METRICS

    def scores(self, prediction: np.ndarray, target: np.ndarray) -> dict[str, float]:
        return _sentences.scores(prediction, target)

    def combine(self, predictions: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
        """Mean of the probabilities of each token of the truth, as `kept` gives their logarithms."""
        share = np.asarray(weights, dtype=np.float64) / np.sum(weights)
        mean = sum(w * np.exp(p.astype(np.float64)) for w, p in zip(share, predictions, strict=True))
        return np.asarray(np.log(np.maximum(mean, 1e-30)), dtype=np.float32)

    def decode(self, prediction: np.ndarray, calibration: Mapping[str, Any]) -> list[dict[str, Json]]:
        """The likeliest token of each place [N, T, V], up to the end: what a path says that is shown the answer."""
        ids = np.asarray(prediction).argmax(-1)
        return [{"value": self.text(row.tolist())} for row in ids]

    def text(self, ids: Sequence[int]) -> str:
        """The text of an answer's ids, up to its end; what is no known piece is left out."""
        stop = list(ids).index(self.end) if self.end in ids else len(ids)
        return self._measured[0].decode([one for one in ids[:stop] if one not in (PADDING, UNKNOWN)])

    def said_scores(self, answers: Sequence[Mapping[str, Any]], values: pa.ChunkedArray) -> dict[str, float]:
        truth, _ = self._texts(values)
        pairs = [(str(one["value"]), text) for one, text in zip(answers, truth, strict=True) if text]
        return _sentences.text_scores([said for said, _ in pairs], [text for _, text in pairs])

    # -------------------------------------------------------------------------------------------------------------
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
    def _measured(self) -> tuple[Pieces, int]:
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
