"""Claim: maps of pixels are learned from a folder, without a word of code, beyond the cheap rule and nnU-Net's recipe.

    python benchmarks/pixels.py                             every set at its full budget
    python benchmarks/pixels.py --only camvid --budget 20m  one set
    python benchmarks/pixels.py --quick                     a few pictures, seconds: does it run?

Every part (cheap rule, Polymath, nnU-Net's recipe) is kept when it ends, so that an interrupted run goes on when it is
begun again, and parts that failed are tried again; `--again` runs anew. The page shows the run of the largest budget.

Every set is a folder that `polymath learn` takes as it is; the test part is looked at once, by `polymath evaluate`. The
cheap baseline of each set is fitted on the same training pictures and scored by the same pixels: a forest on the
surroundings of each pixel (CamVid, EM), on colours alone (seas), a rule on gradients (text), a linear map of the 13 depths
(stain). For CamVid and EM nnU-Net's recipe (`benchmarks/experts/unet.py`) gets the same seconds and cores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

import common
import data
import reporting
from prepare import pixels

NAME = "pixels"
VOID = 255


@dataclass(frozen=True)
class Set:
    """A set, its budget in seconds, what is asked of it, and its cheap baseline."""

    name: str
    budget: float
    metric: str
    must: float
    aim: float | None
    baseline: str
    above: float = 0.0
    """Points (hundredths) by which it must be above the baseline."""
    recipe: bool = False
    """nnU-Net's recipe runs beside it."""
    void: tuple[int, ...] = ()
    target: str = ""
    """Column to predict, where the folder does not say it."""


SETS = {
    one.name: one
    for one in (
        Set("camvid", 3600, "mean_iou", 0.45, 0.50, "forest", recipe=True, void=(11,)),
        Set("em", 1200, "f1", 0.93, 0.95, "forest", recipe=True),
        Set("text", 1200, "f1", 0.85, 0.92, "gradients"),
        Set("stain", 900, "pearson", 0.7, 0.8, "linear", target="dapi"),
        Set("seas", 900, "mean_iou", 0.0, None, "colours", above=5.0),
    )
}
QUICK = {"em": (12, 2), "seas": (24, 4)}
"""Sets of a quick run, with their training and test pictures."""
QUICK_BUDGET = 30.0


# Ours --------------------------------------------------------------------------------------------------------------
def ours(folder: Path, one: Set, budget: float, *, seed: int) -> dict[str, Any]:
    """Learns from the folder and evaluates on its test part, by the command line."""
    command = common.polymath_command()
    with tempfile.TemporaryDirectory() as place:
        store = ["--store", f"{place}/store"]
        words = [*command, "learn", str(folder), "--name", one.name, "--budget", f"{budget:g}s", "--seed", str(seed)]
        words += ["--target", one.target, "--metric", one.metric] if one.target else []
        learned = _json([*words, *store, "--json"])
        tested = folder.with_name("stain_test.csv") if one.name == "stain" else folder / "test"
        scores = _json([*command, "evaluate", one.name, str(tested), *store, "--json"])["scores"]
    return {"scores": scores, "seconds": learned["seconds"], "learned": learned}


def _json(words: list[str]) -> dict[str, Any]:
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=common.environment())
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} failed with {done.returncode}:\n{done.stderr[-800:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


# Baselines ---------------------------------------------------------------------------------------------------------
def pairs(folder: Path, part: str, *, most: int | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pictures [H, W, C] and labels [H, W] of one part."""
    files = sorted((folder / part / "images").glob("*.png"))
    files = files[:: max(1, len(files) // most)] if most else files
    found = []
    for file in files:
        picture = np.asarray(Image.open(file), dtype=np.float32)
        label = np.asarray(Image.open(folder / part / "labels" / file.name))
        found.append((picture if picture.ndim == 3 else picture[..., None], label))
    return found


def surroundings(picture: np.ndarray) -> np.ndarray:
    """Colours, their Gaussian means at four scales, gradients and Laplacians at these, and the place, [H, W, F]."""
    found = [picture]
    for scale in (1, 2, 4, 8):
        smooth = ndimage.gaussian_filter(picture, (scale, scale, 0))
        grey = smooth.mean(2)
        down, right = np.gradient(grey)
        more = [smooth, np.hypot(down, right)[..., None], ndimage.laplace(grey)[..., None]]
        more.append(ndimage.generic_gradient_magnitude(grey, ndimage.sobel)[..., None])
        found += more
    height, width = picture.shape[:2]
    rows, columns = np.mgrid[0:height, 0:width]
    found.append(np.stack([rows / height, columns / width], -1))
    return np.concatenate(found, 2).astype(np.float32)


def forest(
    folder: Path, one: Set, *, seed: int, seen: Callable[[np.ndarray], np.ndarray] = surroundings
) -> dict[str, float]:
    """A random forest on what a pixel looks like."""
    from sklearn.ensemble import RandomForestClassifier

    random = np.random.default_rng(seed)
    xs, ys = [], []
    for picture, label in pairs(folder, "train", most=200):
        known = np.argwhere(~np.isin(label, (*one.void,)))
        chosen = known[random.integers(0, len(known), 1000)]
        xs.append(seen(picture)[chosen[:, 0], chosen[:, 1]])
        ys.append(label[chosen[:, 0], chosen[:, 1]])
    model = RandomForestClassifier(
        100, min_samples_leaf=5, max_samples=0.3, class_weight="balanced_subsample", n_jobs=-1, random_state=seed
    )
    model.fit(np.concatenate(xs), np.concatenate(ys))
    values = model.classes_
    counts = np.zeros((len(values), len(values)), dtype=np.int64)
    for picture, label in pairs(folder, "test"):
        columns = seen(picture)
        said = model.predict(columns.reshape(-1, columns.shape[-1])).reshape(label.shape)
        counts += confusion(said, label, values)
    return scores_of(counts)


def colours(folder: Path, one: Set, *, seed: int) -> dict[str, float]:
    """A random forest on the colour of a pixel alone."""
    return forest(folder, one, seed=seed, seen=lambda picture: picture)


def gradients(folder: Path, one: Set, *, seed: int) -> dict[str, float]:
    """Words have many strong edges close together: a threshold on blurred gradients, both chosen on training pictures."""
    train, test = pairs(folder, "train", most=150), pairs(folder, "test")

    def heat(picture: np.ndarray, blur: float) -> np.ndarray:
        edges = np.max([ndimage.generic_gradient_magnitude(c, ndimage.sobel) for c in np.moveaxis(picture, 2, 0)], 0)
        return ndimage.gaussian_filter(edges, blur)

    best, chosen = -1.0, (2.0, 0.0)
    for blur in (1.0, 2.0, 3.0, 4.0, 6.0):
        maps = [heat(picture, blur) for picture, _ in train]
        truth = np.concatenate([label.ravel() for _, label in train])
        flat = np.concatenate([one.ravel() for one in maps])
        for threshold in np.quantile(flat, (0.6, 0.7, 0.8, 0.85, 0.9, 0.95)):
            score = scores_of(confusion((flat > threshold).astype(int), truth, np.array([0, 1])))["f1"]
            if score > best:
                best, chosen = score, (blur, float(threshold))
    counts = sum(
        confusion((heat(picture, chosen[0]) > chosen[1]).astype(int), label, np.array([0, 1]))
        for picture, label in test
    )
    return scores_of(np.asarray(counts))


def linear(folder: Path, one: Set, *, seed: int) -> dict[str, float]:
    """The nuclear stain of a pixel as a linear map of its 13 depths."""
    import pandas

    table = pandas.read_csv(folder / "metadata.csv")

    def columns(part: str) -> tuple[np.ndarray, np.ndarray]:
        rows = table[table["split"] == part]
        read = [
            [np.asarray(Image.open(folder / file), dtype=np.float64) for file in row]
            for row in rows.iloc[:, :14].to_numpy()
        ]
        x = np.concatenate([np.stack(row[:13], -1).reshape(-1, 13) for row in read])
        return np.column_stack([x, np.ones(len(x))]), np.concatenate([row[13].ravel() for row in read])

    weights, *_ = np.linalg.lstsq(*columns("train"), rcond=None)
    x, y = columns("test")
    return {"pearson": float(np.corrcoef(x @ weights, y)[0, 1])}


def recipe(folder: Path, one: Set, budget: float, *, seed: int) -> dict[str, Any]:
    """nnU-Net's recipe, given the same seconds and cores: scores, steps, whether there was time for mirrored answers."""
    script = str(common.HERE / "experts" / "unet.py")
    words = [sys.executable, script, str(folder), "--seconds", f"{budget:g}", "--threads", str(common.cores())]
    void = [str(value) for value in one.void]
    return _json([*words, "--seed", str(seed), *(["--void", *void] if void else [])])


BASELINES: dict[str, Callable[..., dict[str, float]]] = {
    "forest": forest,
    "colours": colours,
    "gradients": gradients,
    "linear": linear,
}


def confusion(said: np.ndarray, true: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Pixels by true class and by the class that was said; what is no class is left out."""
    known = np.isin(true, values)
    codes, answers = (np.searchsorted(values, one[known]) for one in (true, said))
    return np.bincount(codes * len(values) + answers, minlength=len(values) ** 2).reshape(len(values), len(values))


def scores_of(counts: np.ndarray) -> dict[str, float]:
    """mIoU over classes that are there or were said; F1 of the second of two classes."""
    right, both = counts.diagonal(), counts.sum(0) + counts.sum(1)
    each = right[both > 0] / (both - right)[both > 0]
    return {"mean_iou": float(each.mean()), "f1": float(2 * right[1] / max(both[1], 1))}


# The run -----------------------------------------------------------------------------------------------------------
def run(one: Set, folder: Path, budget: float, *, seed: int, about: str, file: Path, again: bool) -> None:
    """All parts about one set, each kept when it ends; those kept before are not run again."""
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        one.baseline: lambda: {"scores": BASELINES[one.baseline](folder, one, seed=seed)},
        "polymath": lambda: ours(folder, one, budget, seed=seed),
    }
    if one.recipe:
        parts["recipe"] = lambda: recipe(folder, one, budget, seed=seed)
    done = {part: record["scores"] for part, record in newest(common.kept(file), one, budget, seed=seed).items()}
    for part, work in parts.items():
        key = {"set": one.name, "part": part, "seed": seed, "budget": budget}
        if part not in done or again:
            begin = time.monotonic()
            try:
                found = work()
            except RuntimeError as error:  # it is not kept: the same command tries again
                print(f"{one.name}: {part} FAILED: {error}", file=sys.stderr, flush=True)
                continue
            record = {**key, "about": about, "seconds": round(time.monotonic() - begin, 1), **found}
            common.keep(file, {**record, "when": common.now(), "commit": common.commit()})
            done[part] = found["scores"]
        print(f"{one.name}: {part} {one.metric} {done[part][one.metric]:.4f}", flush=True)


def newest(records: list[dict[str, Any]], one: Set, budget: float, *, seed: int) -> dict[str, dict[str, Any]]:
    """Part -> its newest record at this budget and seed. The cheap rule has no budget: any of its records serves."""
    return {
        record["part"]: record
        for record in records
        if (record["set"], record["seed"]) == (one.name, seed)
        and (record["budget"] == budget or record["part"] == one.baseline)
    }


def row(one: Set, parts: dict[str, dict[str, Any]]) -> list[str]:
    """One line of the table: asked beside got."""
    mine, expert = parts["polymath"], parts.get("recipe")
    got, cheap = mine["scores"][one.metric], parts[one.baseline]["scores"][one.metric]
    good = got >= one.must and got > cheap + one.above / 100
    good = good and (expert is None or got > expert["scores"][one.metric])
    told, verdict = ("", reporting.verdict(good)) if not one.recipe else ("not run", "open")
    if expert is not None:
        passes = "mirrored" if expert["mirrored"] else "not mirrored, for want of time"
        verdict = reporting.verdict(good)
        told = f"{expert['scores'][one.metric]:.4f} ({expert['steps']} steps, {passes}, {expert['seconds']:.0f} s)"
    return [
        one.name,
        f"{mine['budget']:.0f} s",
        one.metric,
        f">= {one.must:g}" if one.must else f"baseline + {one.above:g} points",
        f"{got:.4f}",
        f"{cheap:.4f} ({one.baseline})",
        told,
        f"{mine['seconds']:.0f} s",
        verdict,
    ]


def report(records: list[dict[str, Any]], *, seed: int, quick: bool) -> Path:
    """The page, from the newest run of each set: that of the largest budget where there are several."""
    shown = []
    for one in SETS.values():
        mine = [r for r in records if (r["set"], r["part"], r["seed"]) == (one.name, "polymath", seed)]
        if mine:
            shown.append((one, newest(records, one, max(record["budget"] for record in mine), seed=seed)))
    shown = [(one, parts) for one, parts in shown if one.baseline in parts]
    header = ("set", "budget", "score", "must", "Polymath", "cheap baseline", "nnU-Net's recipe", "took", "verdict")
    body = ["## Asked and got", "", *reporting.table(header, [row(*one) for one in shown])]
    for one, parts in shown:
        mine = parts["polymath"]
        each = {name[4:]: value for name, value in mine["scores"].items() if name.startswith("iou ")}
        if each:
            worst = min(each, key=lambda name: each[name])
            body += [f"**{one.name}**: {mine['about']} IoU of each class (worst: {worst}):", ""]
            body += reporting.table(list(each), [[f"{value:.3f}" for value in each.values()]])
        else:
            body += [f"**{one.name}**: {mine['about']}", ""]
    commits = sorted({parts["polymath"]["commit"] for _, parts in shown})
    return reporting.page(
        NAME,
        body,
        title="A value for every pixel",
        about=__doc__.splitlines()[0] if __doc__ else "",
        told=[
            "Budgets are wall clock on all cores; one seed; test parts are looked at once, at the end.",
            f"Learned at {', '.join(commits)}.",
        ],
        quick=quick,
    )


def seconds(text: str) -> float:
    """'20m', '90s', '1h' or a number of seconds."""
    unit = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1:], 0.0)
    return float(text[:-1]) * unit if unit else float(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few pictures, 30 s each: does it run?")
    parser.add_argument("--only", nargs="+", choices=list(SETS), help="only these sets")
    parser.add_argument("--budget", type=seconds, help="of each set, e.g. 20m (default: its own)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="run these sets anew, kept results or not")
    parser.add_argument("--report", action="store_true", help="run nothing, write the report from the kept results")
    parser.add_argument("--cache", type=Path, default=data.DEFAULT_CACHE)
    given = parser.parse_args()
    file = common.HERE / "results" / f"{NAME}{'-quick' if given.quick else ''}.jsonl"
    for name in () if given.report else given.only or (QUICK if given.quick else SETS):
        one = SETS[name]
        folder, about = pixels.prepare(name, cache=given.cache.expanduser())
        budget = given.budget or (QUICK_BUDGET if given.quick else one.budget)
        if given.quick:
            train, test = QUICK.get(name, (24, 6))
            folder = pixels.some(folder, folder.with_name(f"{name}-quick"), train=train, test=test)
        run(one, folder, budget, seed=given.seed, about=about, file=file, again=given.again)
    print(report(common.kept(file), seed=given.seed, quick=given.quick))


if __name__ == "__main__":
    main()
