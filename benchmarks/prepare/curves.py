"""Learning curves of LCDB (Mohr, Viering et al. 2022, 'LCDB 1.0'): 20 learners on 248 OpenML sets at growing training sizes.

The package holds one row for each of up to 125 repeats; kept are the means over repeats. Learners that were too slow or
do not take the data are missing from some sets and sizes, as in the source.
"""

from __future__ import annotations

from pathlib import Path

import pandas

from . import packages

LCDB = "0.1.0"
METRIC = "accuracy"


def lcdb(*, folder: Path, cache: Path) -> dict[str, object]:
    """Write `curves.parquet` (set, learner, size, repeats, train, valid, test accuracy, seconds) and `sets.parquet`.

    `sets.parquet` describes the sets that have a description in the package (rows, features, classes ...).
    """
    source = packages.sdist("lcdb", LCDB, cache=cache)
    inside = source.folder / "lcdb"
    rows = pandas.read_csv(inside / f"database-{METRIC}.csv")
    means = (
        rows.groupby(["openmlid", "learner", "size_train"], sort=True)
        .agg(
            repeats=("score_test", "size"),
            train=("score_train", "mean"),
            valid=("score_valid", "mean"),
            test=("score_test", "mean"),
            seconds=("traintime", "mean"),
        )
        .reset_index()
        .rename(columns={"openmlid": "set", "size_train": "size"})
    )
    means["learner"] = means["learner"].str.rsplit(".", n=1).str[-1]
    means.to_parquet(folder / "curves.parquet", index=False)
    sets = pandas.read_csv(inside / "datasets.csv").rename(columns={"openmlid": "set", "Name": "name"})
    sets = sets.loc[:, ["set", "name", "NumberOfInstances", "NumberOfFeatures", "NumberOfClasses"]]
    sets.columns = pandas.Index(["set", "name", "rows", "features", "classes"])
    sets.to_parquet(folder / "sets.parquet", index=False)
    return {
        "source": source.record(),
        "metric": METRIC,
        "rows": len(means),
        "sets": int(means["set"].nunique()),
        "learners": int(means["learner"].nunique()),
    }
