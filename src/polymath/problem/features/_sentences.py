"""Texts that are written: losses and scores token by token, and scores of whole texts.

Axes: B or N examples, T tokens of the answer, V ids of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..subwords import PADDING
from .base import Metric

if TYPE_CHECKING:
    import torch

METRICS = (Metric(name="log_loss", greater_is_better=False), Metric(name="token_accuracy"))
CHUNK_VALUES = 50_000_000
"""Logits whose probabilities are computed at a time: 200 MB."""
WITHOUT_BLANKS = r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]"
"""Letters of scripts that write words without blanks (or, in Korean, long ones): scored letter by letter."""
MOST_BLANKS = 0.15
"""Blanks per letter above which even such a text was cut into words by whoever made it."""


def every_token(prediction: torch.Tensor, length: int) -> torch.Tensor:
    """Logits [B, T, V]; logits [B, V] are those of every token."""
    return prediction[:, None].expand(-1, length, -1) if prediction.ndim == 2 else prediction


def losses(prediction: torch.Tensor, target_BT: torch.Tensor, *, smoothing: float) -> torch.Tensor:
    """Cross-entropy of each example [B], so that the mean over examples is the mean over tokens."""
    import torch.nn.functional as F

    logits_BTV = every_token(prediction, target_BT.shape[1])
    truth_BT = target_BT[:, : logits_BTV.shape[1]].long()  # columns of padding alone are left out by the decoder
    found = F.cross_entropy(
        logits_BTV.flatten(0, 1),
        truth_BT.flatten(),
        ignore_index=PADDING,
        label_smoothing=smoothing,
        reduction="none",
    )
    tokens = (truth_BT != PADDING).sum().clamp(min=1)
    return found.view(truth_BT.shape).sum(1) * (len(truth_BT) / tokens)


def kept(prediction: torch.Tensor, target_BT: torch.Tensor) -> torch.Tensor:
    """For each token of the truth [B, T, 2]: the logarithm of its probability, and whether it was the likeliest."""
    import torch

    truth_BT = target_BT.long()
    if prediction.ndim == 2:  # the same for every token: probabilities are computed once
        chosen = prediction.log_softmax(1).gather(1, truth_BT)
        best = prediction.argmax(1, keepdim=True) == truth_BT
        return torch.stack([chosen, best], 2) * (truth_BT != PADDING)[..., None]
    logits_BTV = prediction
    result = torch.zeros(*truth_BT.shape, 2, device=logits_BTV.device)
    length, step = logits_BTV.shape[1], max(1, CHUNK_VALUES // math.prod(logits_BTV.shape[1:]))
    for start in range(0, len(logits_BTV), step):
        logits, truth = logits_BTV[start : start + step].float(), truth_BT[start : start + step, :length]
        chosen = logits.gather(2, truth[..., None])[..., 0]
        result[start : start + step, :length, 0] = chosen - logits.logsumexp(2)
        result[start : start + step, :length, 1] = (chosen >= logits.amax(2)).float()
    return result * (truth_BT != PADDING)[..., None]


def scores(kept_NT2: np.ndarray, target_NT: np.ndarray) -> dict[str, float]:
    """Mean over the tokens of all examples of what `kept` gave."""
    present = target_NT != PADDING
    if not present.any():
        return {metric.name: math.nan for metric in METRICS}
    log_probability, hit = kept_NT2[present].astype(np.float64).mean(0)
    return {"log_loss": -float(log_probability), "token_accuracy": float(hit)}


def frequencies(target_NT: np.ndarray, size: int) -> np.ndarray:
    """Logarithm of how often each id occurs [V], a little for those that do not."""
    ids = np.asarray(target_NT)[np.asarray(target_NT) != PADDING]
    counts = np.bincount(ids.astype(np.int64), minlength=size) + 0.01
    return np.asarray(np.log(counts / counts.sum()), dtype=np.float32)


def text_scores(said: Sequence[str], truth: Sequence[str]) -> dict[str, float]:
    """BLEU (Papineni et al. 2002) and chrF (Popović 2015) by sacrebleu (Post 2018, arXiv:1804.08771), 0 to 100.

    Empty where sacrebleu (extra `text`) is not installed.
    """
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError:
        return {}
    if not truth:
        return {}
    bleu = BLEU(tokenize=tokenizer(truth)).corpus_score(list(said), [list(truth)])
    return {"bleu": float(bleu.score), "chrf": float(CHRF().corpus_score(list(said), [list(truth)]).score)}


def tokenizer(texts: Sequence[str]) -> str:
    """How sacrebleu cuts texts like these into words: `13a`, or `char` where they are written without blanks."""
    import re

    whole = "".join(texts[:1000])
    letters, blanks = len(re.findall(WITHOUT_BLANKS, whole)), whole.count(" ")
    return "char" if letters > 0.3 * len(whole) and blanks < MOST_BLANKS * len(whole) else "13a"
