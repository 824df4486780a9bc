"""The jobs of `cell_search.py`, for worker processes: one contender with one seed on a text, or on stays."""

from __future__ import annotations

import functools
import math
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy

import common

sys.path.insert(0, str(common.ROOT / "src"))

import torch
from torch import Tensor, nn

from polymath.inventing.corpus import Corpus, characters, words
from polymath.inventing.language import Models, Trial, attempt
from polymath.model.cells import Cell, parse_cell
from polymath.model.cells.module import CellModule
from polymath.spec import canonical, loads

SHARED = common.ROOT.parent / "shared" / "data"
NATIVE = "lstm of torch"
RATES = (3e-3, 6e-3, 1.2e-2, 2.4e-2)
Record = dict[str, Any]


# Texts ------------------------------------------------------------------------------------------------------------
class Native(Models):
    """A language model around torch's own LSTM kernel, of one copy, with the weights of ours."""

    def recur(self, x_STBD: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        w, H = self.weights, self.width
        rows = torch.tensor([self.plan.slots.index(name) for name in ("a_i", "a_f", "a_g", "a_o")])

        def turned(matrix: Tensor) -> Tensor:
            return matrix[0].T.view(4, H, -1)[rows].reshape(4 * H, -1)

        bias = w["bias"][0].view(4, H)[rows].flatten()
        flat = [turned(w["map_x"]), turned(w["map_h"]), bias, torch.zeros_like(bias)]
        hidden, _, memory = torch.lstm(x_STBD[0], state, flat, True, 1, 0.0, True, False, False)
        return hidden[None], memory


@dataclass(frozen=True)
class Text:
    """A corpus and how long it is trained on."""

    corpus: Corpus
    trial: Trial


@functools.cache
def text_of(part: str, *, quick: bool) -> Text | None:
    """A text that no search has seen; None where the shared data are not there."""
    import pandas

    steps = 100 if quick else 2500
    if part == "texts":
        folder = SHARED / "dialogue"
        if not folder.exists():
            return None
        read = {
            name: pandas.read_csv(folder / f"{name}.tsv.gz", sep="\t", quoting=3, keep_default_na=False).message
            for name in ("train", "test")
        }
        train = "\n".join(read["train"][:40_000])
        corpus = characters("dialogue", train[:-100_000], train[-100_000:], "\n".join(read["test"][:2000]))
        return Text(corpus, Trial(parameters=60_000, steps=steps, length=64, batch=16, rates=RATES))
    folder = SHARED / "multi30k"
    if not folder.exists():
        return None
    lines = {
        name: "\n".join(pandas.read_csv(folder / f"{name}.tsv.gz", sep="\t", quoting=3, keep_default_na=False).en)
        for name in ("train", "valid", "test2016")
    }
    corpus = words("captions", lines["train"], lines["valid"], lines["test2016"], most=2000)
    return Text(corpus, Trial(parameters=250_000, steps=steps // 2, length=40, batch=16, rates=RATES))


def answered(text: str) -> str:
    """A worker's job, JSON to JSON: one contender with one seed on a text, or on the stays."""
    torch.set_num_threads(1)
    request = loads(text)
    cell = parse_cell(request["cell"])
    if request["part"] == "icu":
        return canonical(_stays_job(cell, request))
    source = text_of(request["part"], quick=request["quick"])
    assert source is not None
    tried = attempt(
        cell,
        source.trial.replace(rates=tuple(request["rates"]), seeds=(request["seed"],)),
        source.corpus,
        parts=("held", "judged"),
        seconds=request.get("seconds") or math.inf,
        kind=Native if request["contender"] == NATIVE else None,
    )
    return canonical(
        {
            "rates": request["rates"],
            "held": [_number(one) for one in tried.bits[:, 0]],
            "judged": [_number(one) for one in tried.judged[:, 0]],
            "seconds": tried.seconds,
            "steps": tried.steps,
            "width": tried.width,
            "parameters": tried.parameters,
        }
    )


def _number(value: float) -> float:
    """A finite number; what diverged is as bad as can be."""
    return float(value) if math.isfinite(value) else 99.0


# Stays in intensive care --------------------------------------------------------------------------------------------
HOURS, EPOCHS, BATCH, SIZE = 48, 12, 64, 30_000


@dataclass(frozen=True)
class Stays:
    """Hourly means of every code, standardised, and whether there are any: [stay, hour, 2 x code]; who died."""

    x: Tensor
    died: Tensor


@functools.cache
def stays(name: str) -> Stays:
    """Set a or b; means and deviations are those of a."""
    import pandas

    events = pandas.read_parquet(SHARED / "icu" / f"events_{name}.parquet")
    outcomes = pandas.read_csv(SHARED / "icu" / f"outcomes_{name}.csv")
    known = pandas.read_parquet(SHARED / "icu" / "events_a.parquet").groupby("code").numeric_value
    middle, low, high = known.median(), known.quantile(0.05), known.quantile(0.95)
    codes = {code: place for place, code in enumerate(sorted(middle.index))}
    spread = (high - low).where(high > low, 1.0) / 3.3
    events = events[events.code.isin(codes)]
    value = ((events.numeric_value - events.code.map(middle)) / events.code.map(spread)).clip(-5, 5).to_numpy()
    row = events.subject_id.map({one: place for place, one in enumerate(outcomes.subject_id)}).to_numpy()
    hour = events.time_hours.clip(0, HOURS - 0.01).astype(int).to_numpy()
    place = numpy.ravel_multi_index((row, hour, events.code.map(codes).to_numpy()), (len(outcomes), HOURS, len(codes)))
    size = len(outcomes) * HOURS * len(codes)
    count, total = numpy.bincount(place, minlength=size), numpy.bincount(place, weights=value, minlength=size)
    mean = (total / numpy.maximum(count, 1)).reshape(len(outcomes), HOURS, len(codes))
    seen = (count > 0).reshape(mean.shape)
    x = torch.from_numpy(numpy.concatenate([mean, seen], -1).astype(numpy.float32))
    return Stays(x, torch.from_numpy(outcomes.in_hospital_death.to_numpy(dtype=numpy.float32)))


class Net(nn.Module):
    """A cell over the hours; its last and its mean state say who dies."""

    def __init__(self, cell: Cell, given: int) -> None:
        super().__init__()
        width = 4
        while cell.num_parameters(width + 1, given) + 2 * width <= SIZE:
            width += 1
        self.cell, self.answer = CellModule(cell, given, width), nn.Linear(2 * width, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.cell(x)[0]
        answer: Tensor = self.answer(torch.cat([hidden[:, -1], hidden.mean(1)], -1))
        return answer[:, 0]


def _stays_job(cell: Cell, request: Record) -> Record:
    """Trains on 80 % of set a by each learning rate; the epoch that is best on the rest answers for set b."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    train, test = stays("a"), stays("b")
    order = torch.randperm(len(train.died), generator=torch.Generator().manual_seed(request["seed"]))
    held, learned = order[: len(order) // 5], order[len(order) // 5 :]
    found = []
    for rate in request["rates"]:
        torch.manual_seed(request["seed"])
        net = Net(cell, train.x.shape[-1])
        rule = torch.optim.Adam(net.parameters(), lr=rate)
        best: tuple[float, Tensor] = (-1.0, torch.zeros(0))
        begin = time.process_time()
        for _ in range(2 if request["quick"] else EPOCHS):
            for batch in learned[torch.randperm(len(learned))].split(BATCH):
                loss = nn.functional.binary_cross_entropy_with_logits(net(train.x[batch]), train.died[batch])
                rule.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                rule.step()
            with torch.no_grad():
                area = roc_auc_score(train.died[held], torch.nan_to_num(net(train.x[held])))
                if area > best[0]:
                    best = (area, torch.nan_to_num(net(test.x)))
        found.append((best[0], best[1], time.process_time() - begin))
    place = max(range(len(found)), key=lambda i: found[i][0])
    area, answers, seconds = found[place]
    return {
        "held": area,
        "rate": request["rates"][place],
        "judged": float(roc_auc_score(test.died, answers)),
        "precision": float(average_precision_score(test.died, answers)),
        "seconds": seconds,
        "parameters": sum(one.numel() for one in Net(cell, train.x.shape[-1]).parameters()),
    }
