"""Claim: kill -9 of the search or of its workers loses no finished experiment, and under `--work` changes no result.

python benchmarks/search_kill.py [--quick] [--kills 100] [--seed 0]

One `polymath learn --work N` is left in peace: its digest and its experiments are the truth. Then the same command runs in
a store of its own, and at random moments either the whole process group or one of its workers is killed; a killed command
is given again, until it ends. Its digest and its experiments must be those of the undisturbed run. Then the next store,
until there were so many kills. One of five rounds is killed while it starts; in the others a kill comes soon after the
store was seen writing, so that most fall where experiments run and few rounds end without one.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import os
import random
import signal
import tempfile
import time
from pathlib import Path

from sklearn.datasets import load_breast_cancer

import common
import reporting
from polymath.search.run import MAX_TRIES
from polymath.store import Store
from reporting import verdict
from store_kill import Round, Tally, inspect, say, session

STARTING = 0.2
"""Share of the rounds that are killed while they start."""
START_SHARE, SOON = 0.3, 0.25
"""In undisturbed runs: how long a start may be waited for, and how soon after a write a kill comes."""


@dataclasses.dataclass
class Storm:
    """What was seen over all stores."""

    whole: int = 0
    workers: int = 0
    ends: int = 0
    same_digest: int = 0
    same_experiments: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)

    @property
    def kills(self) -> int:
        return self.whole + self.workers


def experiments(store: Path, name: str) -> dict[int, tuple[str, float | None]]:
    """Number -> digest of the choices and last score, of all experiments of a task."""
    found: dict[tuple[int, int], tuple[str, float | None]] = {}
    with Store.open(store, read_only=True) as opened:
        for _, body in opened.records("experiment", where={"task": name}):
            found[body["number"], body["rung"]] = (json.dumps(body["trace"], sort_keys=True), body["score"])
    return {number: found[number, rung] for number, rung in sorted(found)}


def workers(group: int) -> list[int]:
    """Processes of the session that compute: children of the fork server, busy ones first."""
    found = []
    for process in session(group):
        if process == group:
            continue
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            parent = int(fields[1])
            words = Path(f"/proc/{parent}/cmdline").read_bytes()
            if b"forkserver" in words:
                found.append((-int(fields[11]), process))
    return [process for _, process in sorted(found)]


def undisturbed(folder: Path, words: list[str]) -> tuple[str, dict[int, tuple[str, float | None]], float]:
    """Digest, experiments and seconds of a run that nobody kills."""
    begin = time.monotonic()
    run = Round(folder, words=words, name="cells")
    if run.process.wait(900):
        raise SystemExit(f"the undisturbed run failed: {run.talk.read_text()[-1000:]}")
    answer = json.loads((folder / "answer.json").read_text())
    return answer["digest"], experiments(folder / "knowledge", "cells"), time.monotonic() - begin


def disturbed(
    folder: Path, words: list[str], *, chance: random.Random, storm: Storm, tally: Tally, most: int, seconds: float
) -> str | None:
    """The same run with kills, given again until it ends; its digest, or None when the kills were used up."""
    known: set[str] = set()
    printed: set[tuple[str, int]] = set()
    while True:
        run = Round(folder, words=words, name="cells")
        killed, deaths, quiet = False, 0, run.stamps()
        starting = chance.random() < STARTING
        deadline = time.monotonic() + chance.uniform(0, START_SHARE * seconds) if starting else math.inf
        while run.process.poll() is None:
            time.sleep(0.02)
            if math.isinf(deadline) and run.stamps() != quiet:
                deadline = time.monotonic() + chance.uniform(0, SOON * seconds)
            if time.monotonic() < deadline or storm.kills >= most:
                continue
            found = workers(run.process.pid)
            # So many deaths in one process, and an experiment would be blamed for its own: another result.
            if found and deaths < MAX_TRIES - 1 and chance.random() < 0.5:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(found[0], signal.SIGKILL)
                    storm.workers += 1
                deaths, quiet, deadline = deaths + 1, run.stamps(), math.inf
                continue
            known |= run.acknowledged()
            tally.orphans += run.kill()
            storm.whole += 1
            killed = True
            break
        printed |= run.printed()
        inspect(folder / "knowledge", known=known, printed=printed, tally=tally)
        say(f"{storm.kills} kills ({storm.workers} of workers), {tally.lost} lost, {tally.corrupt} corrupt")
        if killed:
            continue
        if run.process.returncode:
            storm.failures.append(f"ended with {run.process.returncode}: {run.talk.read_text()[-500:]}")
            return None
        return str(json.loads((folder / "answer.json").read_text())["digest"])


def write(storm: Storm, tally: Tally, *, chosen: argparse.Namespace, seconds: float) -> Path:
    """The report."""
    rows = [
        ["SIGKILLs of the whole process group", str(storm.whole), ""],
        ["SIGKILLs of one busy worker", str(storm.workers), ""],
        ["runs that came to their end", str(storm.ends), ""],
        ["... with the digest of the undisturbed run", str(storm.same_digest), verdict(storm.same_digest == storm.ends)],
        ["... with its experiments, choice for choice and score for score", str(storm.same_experiments),
         verdict(storm.same_experiments == storm.ends)],
        ["finished experiments lost", str(tally.lost), verdict(tally.lost == 0)],
        ["corrupt or missing objects", str(tally.corrupt), verdict(tally.corrupt == 0)],
        ["finished experiments that were run again", str(tally.repeated), verdict(tally.repeated == 0)],
        ["processes alive 5 s after a kill", str(tally.orphans), verdict(tally.orphans == 0)],
        ["other failures", str(len(storm.failures) + len(tally.failures)),
         verdict(not storm.failures and not tally.failures)],
    ]  # fmt: skip
    failures = [f"- {failure}" for failure in (*storm.failures, *tally.failures)[:20]]
    return reporting.page(
        "search_kill",
        [*reporting.table(("what", "found", ""), rows), *failures],
        title="Killing a search and its workers",
        about=(__doc__ or "").split("\n\n")[-1].strip(),
        told=[f"{chosen.kills} kills asked for, seed {chosen.seed}, {seconds:.0f} s"],
        quick=chosen.quick,
    )


def main() -> int:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="6 kills: does it run?")
    made.add_argument("--kills", type=int, help="how many (default 100; with --quick 6)")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--work", default="25", help="of each run (default %(default)s)")
    made.add_argument("--generator", default="", help="default: that of `learn`")
    chosen = made.parse_args()
    chosen.kills = chosen.kills or (6 if chosen.quick else 100)
    begin, chance, storm, tally = time.monotonic(), random.Random(chosen.seed), Storm(), Tally()
    words = [*common.polymath_command(), "learn", "cells.csv", "--target", "target", "--name", "cells",
             "--work", chosen.work, "--store", "knowledge", "--json",
             *(["--generator", chosen.generator] if chosen.generator else [])]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="search_kill") as place:

        def folder(name: str) -> Path:
            made = Path(place) / name
            made.mkdir()
            load_breast_cancer(as_frame=True).frame.to_csv(made / "cells.csv", index=False)
            return made

        digest, truth, seconds = undisturbed(folder("peace"), words)
        say(f"undisturbed: {len(truth)} experiments in {seconds:.0f} s, digest {digest[:12]}")
        while storm.kills < chosen.kills and not storm.failures:
            home = folder(f"storm{storm.ends}")
            found = disturbed(home, words, chance=chance, storm=storm, tally=tally, most=chosen.kills, seconds=seconds)
            if found is not None:
                storm.ends += 1
                storm.same_digest += found == digest
                storm.same_experiments += experiments(home / "knowledge", "cells") == truth
            write(storm, tally, chosen=chosen, seconds=time.monotonic() - begin)
    say(json.dumps(dataclasses.asdict(storm), indent=1))
    print(write(storm, tally, chosen=chosen, seconds=time.monotonic() - begin))
    good = storm.same_digest == storm.ends == storm.same_experiments
    return 0 if good and not (storm.failures or tally.failures or tally.lost or tally.corrupt) else 1


if __name__ == "__main__":
    raise SystemExit(main())
