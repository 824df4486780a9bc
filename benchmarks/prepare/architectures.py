"""Tables of architectures whose training somebody else has paid for: NAS-Bench-201 and NAS-Bench-Graph.

Both packages hold pickles. Reading a pickle may execute code, so the reader here knows exactly the few classes that
these two need and refuses all others.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
import pickle
from pathlib import Path
from typing import Any

import numpy
import pandas

from . import packages

LINKS = ("0000", "0001", "0011", "0012", "0013", "0111", "0112", "0122", "0123")
"""Where each of four nodes gets its input: 0 is the raw input, 1 the first node, and so on."""
OPERATIONS = ("gat", "gcn", "gin", "cheb", "sage", "arma", "graph", "fc", "skip")
GRAPHS = ("cora", "citeseer", "pubmed", "cs", "physics", "photo", "computers", "arxiv", "proteins")
EDGES = tuple(f"edge{number}" for number in range(1, 7))
ARCHITECTURE = Path("nas_bench_graph") / "architecture.py"
NODES = tuple(f"op{number}" for number in range(1, 5))


class _Record:
    """An instance of a class of the package: only its attributes are kept."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module == "analognasbench.data" and name in ("Architecture", "DriftMeasurement"):
            return _Record
        if (module, name) == ("numpy.core.multiarray", "scalar"):
            return numpy._core.multiarray.scalar  # the module's name before numpy 2
        if (module, name) == ("numpy", "dtype"):
            return numpy.dtype
        raise pickle.UnpicklingError(f"the table names {module}.{name}, which is not one of its known classes")


def _read(file: Path) -> dict[Any, Any]:
    with file.open("rb") as stream:
        return dict(_Reader(stream).load())


def cells(*, folder: Path, cache: Path) -> dict[str, object]:
    """All 15,625 cells of NAS-Bench-201: six edges of five operations, accuracy on CIFAR-10 in percent."""
    source = packages.wheel("analog_nasbench", "0.1.3", cache=cache)
    found = _read(source.folder / "analognasbench" / "data.anb")
    assert list(found) == list(itertools.product(range(5), repeat=6)), "every cell once, in order"
    table = pandas.DataFrame(list(found), columns=list(EDGES), dtype="int8")
    table["accuracy"] = [float(cell.baseline_accuracy) for cell in found.values()]
    table.to_parquet(folder / "cells.parquet", index=False)
    return {"source": source.record(), "rows": len(table), "metric": "accuracy, one per cell"}


def graphs(*, folder: Path, cache: Path) -> dict[str, object]:
    """All 26,206 architectures of NAS-Bench-Graph: validation accuracy on nine datasets (proteins: 2,021 of them)."""
    source = packages.wheel("nas_bench_graph", "1.4.0", cache=cache)
    found = {name: _read(source.folder / "nas_bench_graph" / "light" / f"{name}.bench") for name in GRAPHS}
    keys = sorted(set().union(*found.values()))
    digits = [[int(digit) for digit in f"{key:05d}"] for key in keys]  # valid_hash() of the package, in base 10
    table = pandas.DataFrame([[LINKS[link], *(OPERATIONS[op] for op in ops)] for link, *ops in digits])
    table.columns = pandas.Index(["link", *NODES])
    for name in GRAPHS:
        table[name] = [float(found[name][key]["valid_perf"]) if key in found[name] else math.nan for key in keys]
    table.to_parquet(folder / "graphs.parquet", index=False)
    _same(source.folder, {key: row for row, key in enumerate(keys)}).to_parquet(folder / "same.parquet", index=False)
    return {"source": source.record(), "rows": len(table), "metric": "validation accuracy, mean of three trainings"}


def _same(package: Path, rows: dict[int, int]) -> pandas.DataFrame:
    """For each link and four operations the row of the table that holds the same graph, -1 where nothing was trained."""
    spec = importlib.util.spec_from_file_location("nas_bench_graph_architecture", package / ARCHITECTURE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = []
    for link in LINKS:
        for ops in itertools.product(OPERATIONS, repeat=4):
            graph = module.Arch([int(digit) for digit in link], list(ops))
            untrained = set(ops) == {"skip"}
            found.append([link, *ops, -1 if untrained else rows.get(graph.valid_hash(), -1)])
    return pandas.DataFrame(found, columns=["link", *NODES, "row"])
