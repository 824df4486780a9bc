"""Claim: `polymath --help` in 0.3 s, a usable model of a 5,000-row table in 5 s, one row predicted from cold in 3 s.

python benchmarks/startup.py [--quick] [--repeats 5] [--only help model predict]

"Usable" is seen from outside: another process looks into the store, twice a second, until the task can be predicted; the
command is then left to end by its own budget. The table is the first 5,000 rows of `flights` (categories and gaps).
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import common
import data
import single

PARTS = ("help", "model", "predict")
BUDGET = "30s"


def table(folder: Path, *, cache: Path) -> tuple[Path, Path]:
    """5,000 rows to learn from and one to predict."""
    cut = data.split("flights", seed=0, cache=cache)
    train, one = folder / "train.csv", folder / "one.csv"
    for source, target, most in ((cut.train, train, 5_000), (cut.test, one, 1)):
        with source.open(newline="", encoding="utf-8") as read, target.open("w", newline="", encoding="utf-8") as write:
            rows = csv.reader(read)
            csv.writer(write, lineterminator="\n").writerows(row for _, row in zip(range(most + 1), rows, strict=False))
    return train, one


def first_model(chosen: single.Options, *, folder: Path, turn: int) -> tuple[float, Path]:
    """(seconds from the start of `learn` until the store holds the task, the store). The looker costs some of a core."""
    store, home = folder / f"store{turn}", folder / f"home{turn}"
    home.mkdir()
    train, _ = table(folder, cache=chosen.cache)
    words = [*chosen.command, "learn", str(train), "--target", "carrier", "--name", "flights", "--store", str(store)]
    surroundings = {**common.environment(), "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    look = [sys.executable, "-c", LOOK, str(store)]
    began = time.monotonic()
    with (folder / "talk.txt").open("wb") as talk:
        learning = subprocess.Popen(
            [*words, "--budget", BUDGET, "--json"], cwd=folder, env=surroundings, stdout=subprocess.DEVNULL, stderr=talk
        )
        looking = subprocess.Popen(look, env=surroundings, stdout=subprocess.PIPE, text=True)
        assert looking.stdout is not None
        looking.stdout.readline()
        seconds = time.monotonic() - began
        code = learning.wait()
        looking.kill()
        looking.wait()
    if code:
        raise RuntimeError(f"learn ended with {code}: {(folder / 'talk.txt').read_text()[-2000:]}")
    return seconds, store


# Only imports what a user of the store imports; says one line when the task is there.
LOOK = """
import sys, time
from pathlib import Path
from polymath.knowledge import Polymath
while True:
    try:
        if Path(sys.argv[1]).exists() and len(list(Polymath(sys.argv[1], read_only=True).tasks())):
            print("there", flush=True)
            break
    except Exception:
        pass
    time.sleep(0.1)
"""


def main() -> None:
    chosen = single.options("startup", about=__doc__, parts=PARTS)
    folder = chosen.cache / "runs" / "startup"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    found: list[single.Measured] = []
    home = folder / "home"
    if "help" in chosen.only:
        values = tuple(
            single.timed([*chosen.command, "--help"], folder=folder, home=home)[0] for _ in range(chosen.repeats)
        )
        found.append(single.Measured("polymath --help", values, "s", must=0.3))
    if {"model", "predict"} & set(chosen.only):
        seconds, stores = zip(
            *(first_model(chosen, folder=folder, turn=turn) for turn in range(chosen.repeats)), strict=True
        )
        found.append(single.Measured("first usable model, 5,000 rows", tuple(seconds), "s", must=5.0))
    if "predict" in chosen.only:
        _, one = table(folder, cache=chosen.cache)
        words = [*chosen.command, "predict", "flights", str(one), "--store", str(stores[0]), "--json"]
        values_list = []
        for _ in range(chosen.repeats):
            spent, done = single.timed(words, folder=folder, home=home)
            if len(json.loads(done.stdout)["predictions"]) != 1:
                raise RuntimeError("predict did not answer for exactly one row")
            values_list.append(spent)
        found.append(single.Measured("predict one row, new process", tuple(values_list), "s", must=3.0))
    about = (
        "Seconds as a user waits them: whole commands, interpreter and imports included, files in the system's cache."
    )
    single.write("startup", title="Starting up", about=about, found=found, chosen=chosen)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
