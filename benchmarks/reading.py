"""Claim: a CSV of 1,000,000 x 20 is read in 15 s and 60,000 picture files in 90 s (3 s the second time), in memory below twice the data.

python benchmarks/reading.py [--quick] [--repeats 3] [--only csv pictures]

Reading = everything before the first experiment: parse, infer, split, find near copies, encode, write the cache. The CSV
is made here (seed 0: numbers, whole numbers, categories, dates, gaps); the pictures are those of Fashion-MNIST.
"Memory" is the peak above that of an interpreter with polymath and torch imported; "the data" are the bytes of the
decoded arrays, or of the file where that is more. pandas (C engine) and a plain Pillow loop stand beside it.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy
import pandas

import data
import single

PARTS = ("csv", "pictures")
ROWS, QUICK_ROWS = 1_000_000, 50_000
PICTURES_MUST, AGAIN_MUST, CSV_MUST = 90.0, 3.0, 15.0

OURS = """
import json, resource, sys, time
from pathlib import Path
began = time.monotonic()
from polymath import learning
from polymath.learning import compose
from polymath.app.lean import arrow_gives_back, arrow_without_pandas
import torch
arrow_without_pandas()  # as the command does: pandas would count as memory of the reader
arrow_gives_back()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
loaded = time.monotonic()
wishes = learning.Wishes(name="reading", targets=(sys.argv[2],))
rows, dataset = compose.prepare(sys.argv[1], wishes, cache=Path(sys.argv[3]), listener=learning.Silent())
done = time.monotonic()
size = sum(array.nbytes for array in [*dataset.inputs.values(), *dataset.targets.values()])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"seconds": done - loaded, "import": loaded - began, "above": (peak - before) * 1024, "size": size, "rows": len(rows)}))
"""
PANDAS = """
import json, sys, time
import pandas
began = time.monotonic()
frame = pandas.read_csv(sys.argv[1])
print(json.dumps({"seconds": time.monotonic() - began, "rows": len(frame)}))
"""
PILLOW = """
import csv, json, sys, time
from pathlib import Path
import numpy
from PIL import Image
began = time.monotonic()
root = Path(sys.argv[1])
with (root / "metadata.csv").open() as stream:
    pictures = [numpy.asarray(Image.open(root / row["file_name"])) for row in csv.DictReader(stream)]
print(json.dumps({"seconds": time.monotonic() - began, "rows": len(numpy.stack(pictures))}))
"""


def write_csv(file: Path, *, rows: int) -> None:
    """20 columns: 8 numbers, 4 whole numbers, 5 categories, 1 date, 1 yes/no, 1 target; one cell in fifty is empty."""
    random = numpy.random.default_rng(0)
    columns: dict[str, numpy.ndarray] = {f"number{i}": random.normal(size=rows).round(5) for i in range(8)}
    columns |= {f"count{i}": random.poisson(3 + 10 * i, rows).astype(float) for i in range(4)}
    for levels in (3, 10, 30, 100, 300):
        columns[f"category{levels}"] = numpy.array([f"level {i}" for i in range(levels)], dtype=object)[
            random.integers(0, levels, rows)
        ]
    days = numpy.datetime64("2015-01-01") + random.integers(0, 3650, rows).astype("timedelta64[D]")
    columns["day"] = days.astype(str)
    columns["member"] = numpy.where(random.random(rows) < 0.3, "yes", "no")
    frame = pandas.DataFrame(columns)
    frame = frame.mask(random.random(frame.shape) < 0.02)
    frame["target"] = columns["number0"] + 0.3 * columns["count1"] + random.normal(size=rows)
    frame.to_csv(file, index=False, lineterminator="\n", float_format="%.6g")


def ask(script: str, *arguments: str, folder: Path) -> dict[str, float]:
    _, done = single.timed([sys.executable, "-c", script, *arguments], folder=folder, home=folder / "home")
    return dict(json.loads(done.stdout))


def measure(
    what: str,
    *,
    source: Path,
    target: str,
    must: float | None,
    again: float | None,
    folder: Path,
    chosen: single.Options,
) -> list[single.Measured]:
    """First and second reading of one source, and the memory of the first."""
    firsts, seconds, shares, size, rows = [], [], [], 0.0, 0.0
    weight = source.stat().st_size if source.is_file() else 0
    for turn in range(chosen.repeats):
        cache = folder / f"cache{turn}"
        first = ask(OURS, str(source), target, str(cache), folder=folder)
        second = ask(OURS, str(source), target, str(cache), folder=folder)
        shutil.rmtree(cache)
        firsts.append(first["seconds"])
        seconds.append(second["seconds"])
        size, rows = max(first["size"], weight), first["rows"]
        shares.append(first["above"] / size)
    note = f"{rows:,.0f} rows, {size / 2**20:.0f} MiB"
    return [
        single.Measured(f"{what}, first time", tuple(firsts), "s", must=must, note=note),
        single.Measured(f"{what}, second time", tuple(seconds), "s", must=again, note="from the cache"),
        single.Measured(f"{what}, memory / data", tuple(shares), "x", must=2.0, note="peak above the imports"),
    ]


def main() -> None:
    chosen = single.options("reading", about=__doc__, parts=PARTS)
    folder = chosen.cache / "runs" / "reading"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    found: list[single.Measured] = []
    if "csv" in chosen.only:
        rows = QUICK_ROWS if chosen.quick else ROWS
        file = chosen.cache / "sets" / f"reading-{rows}.csv"
        if not file.exists():
            unfinished = file.with_suffix(".new")
            write_csv(unfinished, rows=rows)
            unfinished.rename(file)
        found += measure("CSV", source=file, target="target", must=CSV_MUST, again=None, folder=folder, chosen=chosen)
        found.append(
            single.Measured(
                "CSV, pandas", (ask(PANDAS, str(file), folder=folder)["seconds"],), "s", note="parsing only"
            )
        )
    if "pictures" in chosen.only:
        cut = data.split("fashion", seed=0, cache=chosen.cache, train_rows=2_000 if chosen.quick else None)
        found += measure(
            "pictures",
            source=cut.train,
            target="label",
            must=PICTURES_MUST,
            again=AGAIN_MUST,
            folder=folder,
            chosen=chosen,
        )
        found.append(
            single.Measured(
                "pictures, Pillow", (ask(PILLOW, str(cut.train), folder=folder)["seconds"],), "s", note="decoding only"
            )
        )
    about = (__doc__ or "").split("\n\n")[2].replace("\n", " ")
    single.write("reading", title="Reading", about=about, found=found, chosen=chosen)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
