"""Where few rows judge: experiments that they do not tell apart, weighed by the losses of their answers.

`targets`: for each output what all judged rows hold, in the form of its feature.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ..problem.features import Feature
from ..problem.probability import log_sum_exp
from .combine import Member

FEW_JUDGED = 6
"""Rows per class below which they cannot tell one combination from another."""
ALIKE, MOST = 2.0, 5
"""Standard errors by which an experiment may be worse than the best to be as good, and how many such are averaged."""
SHARPNESS, LEAST_SHARE = 16.0, 0.05
"""A weight falls by e for each 1/16 nat that answers are worse; below a twentieth it is none. Three themes of icons
with 2, 5 and 10 of each: 0.564 on average, 0.549 with a quarter of it, 0.524 with equal weights, 0.539 the best
alone."""


def few(rows: int, outputs: Sequence[Feature]) -> bool:
    """Whether so many rows are few for the classes of these outputs."""
    widths = [feature.head_width for feature in _single(outputs)]
    return bool(widths) and rows < FEW_JUDGED * max(widths)


def alike(members: Sequence[Member], outputs: Sequence[Feature], targets: Mapping[str, np.ndarray]) -> list[Member]:
    """Those that are not worse than the best by more than chance, by how many classes of a row they get wrong."""
    wrong = [_wrong(member, outputs, targets) for member in members]
    least = min(wrong, key=lambda one: float(one.mean()))
    more = [one - least for one in wrong]
    return [
        member
        for member, one in zip(members, more, strict=True)
        if one.mean() <= ALIKE * one.std() / math.sqrt(len(one))
    ]


def weighed(
    members: Sequence[Member], outputs: Sequence[Feature], targets: Mapping[str, np.ndarray], *, most: int = MOST
) -> dict[int, float]:
    """Weights by member number that sum to one, of at most so many members.

    As in pseudo-BMA (Yao et al. 2018, arXiv:1704.02030, section 3.3), but for a set number of rows.
    """
    losses = np.array([_loss(member, outputs, targets) for member in members])
    shares = np.exp(-SHARPNESS * (losses - losses.min()))
    shares /= shares.sum()
    kept = [place for place in np.argsort(-shares, kind="stable")[:most] if shares[place] >= LEAST_SHARE]
    whole = shares[kept].sum()
    return {members[place].number: float(shares[place] / whole) for place in sorted(kept)}


def _single(outputs: Sequence[Feature]) -> list[Feature]:
    """Outputs that are one class of a row."""
    return [feature for feature in outputs if feature.averaged == "categories" and feature.answer.kind == "vector"]


def _wrong(member: Member, outputs: Sequence[Feature], targets: Mapping[str, np.ndarray]) -> np.ndarray:
    """Classes that a member gets wrong of every row [N]."""
    found = np.zeros(len(next(iter(member.predictions.values()))))
    for feature in _single(outputs):
        codes = _codes(feature, targets)
        found += (member.predictions[feature.name].argmax(1) != codes) & (codes >= 0)
    return found


def _loss(member: Member, outputs: Sequence[Feature], targets: Mapping[str, np.ndarray]) -> float:
    """Nats per row, over the outputs."""
    found = 0.0
    for feature in _single(outputs):
        codes = _codes(feature, targets)
        answers = member.predictions[feature.name].astype(np.float64)[codes >= 0]
        sure = answers[np.arange(len(answers)), codes[codes >= 0]]
        found += float((log_sum_exp(answers) - sure).mean()) if len(answers) else 0.0
    return found


def _codes(feature: Feature, targets: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.asarray(feature.single(targets[feature.name])).reshape(-1)
