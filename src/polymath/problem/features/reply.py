"""Replies: what is said to a message, learned from pairs, answered from a set of responses.

A path learns to bring a message and its reply together, so any two can be compared; the set of responses, the frequent
replies of the training rows, is what it may say.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from ...spec import BadInput, Json
from ..form import Form, tokens
from ..probability import log_sum_exp
from ..subwords import Pieces, Subwords, learn, normalise
from ..wordpieces import WordPieces
from .base import BadValue, Encoded, Feature, Metric
from .common import flat, is_text, plain_values, shown, spread
from .text import Text

if TYPE_CHECKING:
    import torch

ENOUGH = 100
"""Responses that were said twice or more: with so many of them, those said once are left out."""
MOST_CHARACTERS = 1_000
"""Of a reply: a longer one is no answer from a set."""
GROUP = 100
"""Replies that `recall_1_of_100` compares: the true one and 99 of other rows."""
SUGGESTED, LOOKED_AT = 3, 64
"""Replies that are suggested, and how many of the best are looked at to find that many of different kinds."""
END = re.compile(r"[\s.!?…]+$")


class Reply(Feature):
    """The reply to a message. Target: ids [N, T], 0 = padding; a row without a reply is all padding.

    Raw prediction [B, 2 width]: the vector of the message beside the vector of its reply; the dot product of a message
    and any reply says how well they fit. A stored path also holds the vectors of the set of responses, by which
    `decode` answers: it takes logits [N, R], one for each response.
    """

    type: Literal["reply"] = "reply"
    width: int = Field(default=128, ge=1, le=4096)
    """Of the vectors that are compared."""
    most_responses: int = Field(default=20_000, ge=2, le=1_000_000)
    vocabulary: int = Field(default=8_000, ge=300, le=1_000_000)
    """Most subwords to learn."""
    most_tokens: int = Field(default=64, ge=1, le=1_024)
    """Of a reply; what is beyond is not read."""
    length: int | None = Field(default=None, ge=1)
    """T: 99 of 100 replies are no longer."""
    subwords: Subwords | WordPieces | None = None
    responses: tuple[str, ...] = ()
    """The set, most frequent first."""
    shares: tuple[float, ...] = ()
    """How often each was said, as a share of all replies."""

    can_be_input: ClassVar[bool] = False
    can_be_output: ClassVar[bool] = True
    generated: ClassVar[bool] = True

    @property
    def is_measured(self) -> bool:
        return self.subwords is not None and self.length is not None

    def beside(self, inputs: Sequence[Feature]) -> Feature:
        """Cut as the first text is, so that a word means the same in messages and replies."""
        cut = _cut(inputs)
        return self if cut is None or self.subwords is not None else self.replace(subwords=cut)

    def aligned(self, raw: Feature, inputs: Sequence[Feature]) -> Feature:
        """Texts are cut alike too: a word of an earlier turn means what it means in the message."""
        cut = _cut(inputs)
        if cut is None or not isinstance(raw, Text) or not raw.lower or raw.subwords is not None:
            return raw
        return raw.replace(subwords=cut)

    def measure(self, values: pa.ChunkedArray, *, as_output: bool = False) -> Reply:
        texts = [text for text in self._texts(values)[0] if text]
        counts = Counter(kind(text) for text in texts)
        if len(counts) < 2:
            what = f"only the reply {shown(texts[0])}" if texts else "no reply"
            raise BadInput(f"{what} appears in the rows to learn from", column=self.name, remedy="Two are needed.")
        spelt: dict[str, Counter[str]] = {}
        for text in texts:
            spelt.setdefault(kind(text), Counter())[text] += 1
        order = sorted(counts, key=lambda one: (-counts[one], one))
        again = [one for one in order if counts[one] > 1]
        chosen = (again if len(again) >= ENOUGH else order)[: self.most_responses]
        responses = tuple(min(spelt[one], key=lambda text: (-spelt[one][text], text)) for one in chosen)
        sample = spread(pa.chunked_array([pa.array(texts, pa.large_string())]), 20_000).to_pylist()
        subwords = self.subwords or learn(sample, vocabulary=self.vocabulary, lower=True)
        lengths = [len(subwords.encode(text, most=self.most_tokens)) for text in sample[:: 1 + len(sample) // 5_000]]
        length = int(np.quantile(lengths, 0.99, method="inverted_cdf"))
        return self.replace(
            subwords=subwords,
            length=max(1, length),
            responses=responses,
            shares=tuple(round(counts[one] / len(texts), 9) for one in chosen),
        )

    def _texts(self, values: pa.ChunkedArray) -> tuple[list[str | None], list[BadValue]]:
        """Replies without control characters and needless blanks; None where there is none that can be used."""
        array = flat(values)
        found = array.to_pylist() if is_text(array.type) else plain_values(array)
        result: list[str | None] = []
        bad: list[BadValue] = []
        for row, value in enumerate(found):
            text = None if value is None else normalise(str(value)[: MOST_CHARACTERS + 1], lower=False)
            if text and len(text) > MOST_CHARACTERS:
                reason = f"is a reply of more than {MOST_CHARACTERS:,} characters"
                bad.append(BadValue(row, shown(text[:40]), reason, missing=True))
                text = None
            result.append(text or None)
        return result, bad

    # As output ---------------------------------------------------------------------------------------------------
    @property
    def head_width(self) -> int:
        return 2 * self.width

    @property
    def shown(self) -> Form:
        subwords, length = self._measured
        return tokens(length, vocabulary=subwords.size)

    def encode_target(self, values: pa.ChunkedArray) -> Encoded:
        subwords, length = self._measured
        texts, bad = self._texts(values)
        return Encoded(subwords.encode_all(texts, most=length), tuple(bad))

    def known(self, target: np.ndarray) -> np.ndarray:
        return np.asarray(target[:, 0] > 0)

    def loss(self, prediction: torch.Tensor, target: torch.Tensor, *, smoothing: float = 0.0) -> torch.Tensor:
        """Softmax over the replies of the batch, for each message, and over its messages, for each reply: their mean.

        The other replies of the batch are the wrong ones (Henderson et al. 2017, arXiv:1705.00652, equation 2), both
        ways as Radford et al. (2021, arXiv:2103.00020). A reply that another row has too is not held against it.
        """
        import torch

        target = target.long()
        message_BD, reply_BD = prediction.float().chunk(2, dim=1)
        logits_BB = message_BD @ reply_BD.T
        known_B, key_B = target[:, 0] > 0, _keys(target)
        other_BB = ~torch.eye(len(target), dtype=torch.bool, device=target.device)
        hidden_BB = (other_BB & (key_B[:, None] == key_B)) | ~known_B | ~known_B[:, None]
        both = [_contrast(one, hidden_BB, smoothing) for one in (logits_BB, logits_BB.T)]
        return torch.where(known_B, (both[0] + both[1]) / 2, 0.0)

    def constant(self, target: np.ndarray) -> np.ndarray:
        return np.zeros(self.head_width, dtype=np.float32)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return Metric(name="recall_1_of_100"), Metric(name="mrr")

    def scores(self, prediction: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """How high the true reply stands among itself and 99 of other rows, drawn once; equal replies count as one."""
        known = self.known(target)
        prediction, target = prediction[known], target[known]
        if len(target) < 2:
            return {"recall_1_of_100": float("nan"), "mrr": float("nan")}
        _, kinds = np.unique(target, axis=0, return_inverse=True)
        order = np.random.default_rng(0).permutation(len(target))
        size = min(GROUP, len(target))
        first, reciprocal = [], []
        for start in range(0, len(order) - size + 1, size):
            rows = order[start : start + size]
            message, reply = np.split(prediction[rows].astype(np.float32), 2, axis=1)
            logits = message @ reply.T
            rivals = kinds[rows][:, None] != kinds[rows]
            truth = np.diagonal(logits)[:, None]
            close = np.abs(logits - truth) <= 1e-6 * np.abs(truth)
            better, ties = ((logits > truth) & ~close & rivals).sum(1), (close & rivals).sum(1)
            first.append((better == 0) / (1 + ties))
            reciprocal.append(1 / (1 + better + ties / 2))
        return {"recall_1_of_100": float(np.mean(first)), "mrr": float(np.mean(reciprocal))}

    def said_scores(self, answers: Sequence[Mapping[str, Any]], values: pa.ChunkedArray) -> dict[str, float]:
        """`suggested`: share of rows whose own reply is among those suggested, of all rows that have a reply."""
        texts, _ = self._texts(values)
        found = [
            any(kind(str(one["reply"])) == kind(text) for one in answer.get("replies", ()))
            for answer, text in zip(answers, texts, strict=True)
            if text
        ]
        return {"suggested": float(np.mean(found))} if found else {}

    def combine(self, predictions: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
        """Mean of the vectors. They mean the same only in one path: replies are answered by the best path alone."""
        return np.asarray(np.average(np.stack(predictions), axis=0, weights=weights), dtype=np.float32)

    def places(self, target: np.ndarray) -> np.ndarray:
        """Where in the set of responses each encoded reply stands, int64 [N]; -1 = it is not one of them."""
        found = self.encode_target(pa.chunked_array([pa.array(self.responses, pa.large_string())])).array
        known = {row.tobytes(): place for place, row in reversed(list(enumerate(found)))}
        return np.array([known.get(row.astype(found.dtype).tobytes(), -1) for row in np.asarray(target)], np.int64)

    def decode(self, prediction: np.ndarray, calibration: Mapping[str, Any]) -> list[dict[str, Json]]:
        """The best responses, of different kinds, from logits [N, R]; `calibration`: `clusters`, the kind of each.

        One of a cluster is enough, whatever stands next (Kannan et al. 2016, arXiv:1606.04870, section 5.1).
        """
        clusters = calibration.get("clusters") or range(prediction.shape[1])
        most = min(LOOKED_AT, prediction.shape[1])
        result: list[dict[str, Json]] = []
        for row in prediction:
            best = np.argpartition(-row, most - 1)[:most]
            best = best[np.lexsort((best, -row[best]))]
            _, kept = np.unique([clusters[i] for i in best], return_index=True)
            total = float(log_sum_exp(row.astype(np.float64)[None])[0])
            replies: list[Json] = [
                {"reply": self.responses[i], "probability": float(np.exp(float(row[i]) - total))}
                for i in best[np.sort(kept)][:SUGGESTED]
            ]
            result.append({"value": self.responses[best[0]], "replies": replies})
        return result

    @property
    def _measured(self) -> tuple[Pieces, int]:
        assert self.subwords is not None and self.length is not None, f"feature {self.name!r} is not measured"
        return self.subwords, self.length

    def random_values(self, rows: int, generator: np.random.Generator) -> pa.ChunkedArray:
        words = np.array(["yes", "no", "thank", "you", "see", "me", "later", "naïve", "and", "tomorrow."])
        texts = [" ".join(generator.choice(words, generator.integers(1, 8))) for _ in range(rows)]
        return pa.chunked_array([pa.array(texts, pa.string(), mask=generator.random(rows) < 0.1)])


def kind(text: str) -> str:
    """What makes two replies the same response: capitals and what stands at the end make no difference."""
    return END.sub("", normalise(text, lower=True)) or text


def _cut(inputs: Sequence[Feature]) -> Subwords | WordPieces | None:
    """How the first text is cut that is measured and in small letters."""
    return next((one.subwords for one in inputs if isinstance(one, Text) and one.lower), None)


def _keys(target: torch.Tensor) -> torch.Tensor:
    """A number for each row of ids [B, T], int64 [B]: equal rows have equal numbers."""
    import torch

    key_B = torch.zeros(len(target), dtype=torch.int64, device=target.device)
    for column in target.unbind(1):
        key_B = key_B * 6364136223846793005 + column + 1442695040888963407
    return key_B


def _contrast(logits_BB: torch.Tensor, hidden_BB: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Cross-entropy of the diagonal among what is not hidden, [B]; `smoothing`: share that all have in common."""
    log_BB = logits_BB.masked_fill(hidden_BB, -1e4).log_softmax(1)
    truth_B = -log_BB.diagonal()
    if not smoothing:
        return truth_B
    seen_BB = ~hidden_BB
    return (1 - smoothing) * truth_B - smoothing * (log_BB * seen_BB).sum(1) / seen_BB.sum(1).clamp_min(1)
