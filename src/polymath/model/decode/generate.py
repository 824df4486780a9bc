"""From encoded inputs to answers in words: encode, search, tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from ...problem.features.reply import Reply
from ...problem.features.text import Text
from ...problem.form import Tokens
from ...problem.subwords import PADDING, UNKNOWN
from ...spec import Json
from ..layers._answers import Decoder
from ..replies import answer_replies
from .beam import Found, beam_search
from .integers import in_integers
from .packed import packed
from .settings import Decoding
from .stepwise import one_pass, stepwise

if TYPE_CHECKING:
    from ...problem import Feature, Problem
    from ..build import PathModule

HYPOTHESES = 320
"""Computed at a time: enough to use a core well, few enough that short answers do not wait for long ones."""
LONGER = 10
"""Tokens that an answer may have beyond the longest that was learned from."""
BARRED = [PADDING, UNKNOWN]


def generate(
    module: PathModule,
    problem: Problem,
    feature: Feature,
    inputs: Mapping[str, np.ndarray],
    how: Mapping[str, Any],
    *,
    device: str = "cpu",
    decoding: Decoding | None = None,
) -> list[dict[str, Json]]:
    """What is said about every row: {value, score, and with `n_best` above 1 `alternatives`}; replies: see `replies`.

    `score`: equation 14, near the mean logarithm of the tokens' probabilities. `how`: the output's calibration,
    which may hold settings of `Decoding`; `decoding` overrules it.
    """
    if isinstance(feature, Reply):
        return answer_replies(module, feature, inputs, how, device=device)
    assert isinstance(feature, Text), f"{type(feature).__name__} is not written token by token"
    settings = decoding or Decoding.model_validate(dict(how.get("decoding", {})))
    ids_NKT, scores_NK = written(module, feature, inputs, settings, device=device)
    answers: list[dict[str, Json]] = []
    for ids_KT, scores_K in zip(ids_NKT.tolist(), scores_NK.tolist(), strict=True):
        told: list[dict[str, Json]] = [
            {"value": feature.text(ids), "score": round(score, 4)}
            for ids, score in zip(ids_KT, scores_K, strict=True)
            if score > -np.inf
        ][: settings.n_best]
        answer: dict[str, Json] = told[0] if told else {"value": "", "score": None}
        answers.append(answer | ({"alternatives": cast(Json, told[1:])} if settings.n_best > 1 else {}))
    return answers


def written(
    module: PathModule,
    feature: Text,
    inputs: Mapping[str, np.ndarray],
    decoding: Decoding,
    *,
    device: str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """Ids [N, n_best, T] and scores [N, n_best] of the best answers to every row of encoded inputs."""
    count = len(next(iter(inputs.values())))
    most = decoding.most or feature.answer.size[0] + LONGER
    kept = decoding.n_best
    ids, scores = np.zeros((count, kept, most), np.int64), np.full((count, kept), -np.inf, np.float32)
    order = by_length(module, inputs)
    for decoder in [one for one in module.modules() if isinstance(one, Decoder)]:
        decoder.ready()
    size = max(1, HYPOTHESES // (1 if decoding.temperature else decoding.beam))
    if device == "cpu":
        module = in_integers(module) if decoding.integers else packed(module)
    with torch.inference_mode():
        for start in range(0, count, size):
            rows = order[start : start + size]
            decoder, read = memory(module, feature.name, {p: a[rows] for p, a in inputs.items()}, device=device)
            for n, found in enumerate(_answers(decoder, read, decoding, most=most)):
                told = slice(n, None) if not decoding.temperature else slice(n, n + 1)
                best = found.ids_BKT[:, : kept if told.stop is None else 1].cpu().numpy()
                ids[rows, told] = best
                scores[rows, told] = found.scores_BK[:, : best.shape[1]].cpu().numpy()
    ranked = np.argsort(-scores, axis=1, kind="stable")  # what was drawn comes in any order
    return np.take_along_axis(ids, ranked[..., None], 1), np.take_along_axis(scores, ranked, 1)


def _answers(decoder: Decoder, read: Tokens, decoding: Decoding, *, most: int) -> Iterator[Found]:
    """The best answers at once, or one that was drawn after the other."""
    if decoding.temperature:
        for n in range(decoding.n_best):
            again = decoding.replace(seed=decoding.seed + n)
            yield one_pass(decoder, read, again, most=most, barred=BARRED)
    elif decoding.beam == 1:
        yield one_pass(decoder, read, decoding, most=most, barred=BARRED)
    else:
        yield beam_search(decoder, read, decoding, most=most, barred=BARRED)


def stream(
    module: PathModule,
    feature: Text,
    inputs: Mapping[str, np.ndarray],
    decoding: Decoding | None = None,
    *,
    device: str = "cpu",
) -> Iterator[str]:
    """The answer to one row as far as it is written, after each token (greedy, or drawn with a temperature)."""
    decoding = decoding or Decoding(beam=1)
    most = decoding.most or feature.answer.size[0] + LONGER
    with torch.inference_mode():
        decoder, read = memory(module, feature.name, {p: a[:1] for p, a in inputs.items()}, device=device)
    said: list[int] = []
    steps = stepwise(decoder, read, decoding, most=most, barred=BARRED)
    while True:
        with torch.inference_mode():  # not around the yield: the caller's own code runs between two tokens
            step = next(steps, None)
        if step is None or int(step[1][0]) == decoder.end:
            return
        said.append(int(step[1][0]))
        yield feature.text(said)


def memory(
    module: PathModule, output: str, inputs: Mapping[str, np.ndarray], *, device: str = "cpu"
) -> tuple[Decoder, Tokens]:
    """The decoder of an output, and what it reads about these rows."""
    batch = {
        port: torch.from_numpy(np.ascontiguousarray(_signed(array))).to(device)
        for port, array in inputs.items()
        if port in module.ports
    }
    decoder, values = module.memory(output, batch)
    read, *others = [value for value in values if isinstance(value, Tokens)]
    assert isinstance(decoder, Decoder), f"output {output!r} has no decoder"
    return decoder.about(*others), read


def by_length(module: PathModule, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Rows in the order of how much there is to read, so that rows computed together end together."""
    count = len(next(iter(inputs.values())))
    length = np.zeros(count, dtype=np.int64)
    for port, array in inputs.items():
        if port in module.ports and module.ports[port].vocabulary:
            length += (np.asarray(array) != PADDING).sum(1)
    return np.argsort(-length, kind="stable")


def _signed(array: np.ndarray) -> np.ndarray:
    return array.astype(np.int32) if array.dtype in (np.uint16, np.uint32) else array
