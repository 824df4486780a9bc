"""Converts one pickled data frame to CSV in a process of its own, because reading a pickle may execute code.

Called as `python -I unpickle.py IN.pkl.compress OUT.csv`; knows nothing of the rest of the benchmarks.
"""

from __future__ import annotations

import sys

import pandas


def main() -> None:
    source, target = sys.argv[1:3]
    pandas.read_pickle(source, compression="xz").to_csv(target, index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
