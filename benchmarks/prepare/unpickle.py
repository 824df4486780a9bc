"""Converts pickled data frames to CSV in a process of its own, because reading a pickle may execute code.

Called as `python -I unpickle.py IN.pkl.compress OUT.csv [IN OUT ...]`; knows nothing of the rest of the benchmarks.
"""

from __future__ import annotations

import sys

import pandas


def main() -> None:
    for source, target in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        pandas.read_pickle(source, compression="xz").to_csv(target, index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
