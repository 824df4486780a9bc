"""Claim: kill -9 at any moment of `polymath learn` loses no finished experiment and corrupts nothing; it resumes.

python benchmarks/store_kill.py [--quick] [--kills 200] [--seed 0]

Each round starts `polymath learn` on a small table in a home and store of its own and kills its whole process group.
Two of three kills are aimed: they fall within 30 ms after the store was last seen writing. Before a kill the store is
watched from outside; whatever another process could read there, and whatever the command printed as finished, must be
there after it, every byte of both stores must hash, and the next round gives the same command again.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from sklearn.datasets import load_breast_cancer

import common
import reporting
from reporting import verdict

sys.path.insert(0, str(common.ROOT / "src"))

from polymath.spec import BadInput
from polymath.store import Store, StoreError, rebuild, verify

TARGET = "target"
FINISHED = re.compile(r"^  \S+ \S+  #(\d+) ")  # "  accuracy 0.9714  #1 linear": best so far
PATIENCE_SECONDS = 300.0


@dataclasses.dataclass
class Tally:
    """What was seen over all rounds."""

    kills: int = 0
    aimed: int = 0
    in_start: int = 0
    completed: int = 0
    resumed: int = 0
    could_resume: int = 0
    records: int = 0
    experiments: int = 0
    printed: int = 0
    adopted: int = 0
    lost: int = 0
    corrupt: int = 0
    repeated: int = 0
    orphans: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)


class Round:
    """One run of the command and its death."""

    def __init__(self, folder: Path, *, words: list[str], name: str) -> None:
        self.store, self.name = folder / "knowledge", name
        home = folder / "home"
        home.mkdir(exist_ok=True)
        surroundings = {**common.environment(), "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
        self.talk = folder / "talk.txt"
        with self.talk.open("w") as talk, (folder / "answer.json").open("w") as answer:
            self.process = subprocess.Popen(
                words, cwd=folder, env=surroundings, stdout=answer, stderr=talk, start_new_session=True
            )

    def acknowledged(self) -> set[str]:
        """The records that another process can read now."""
        found: set[str] = set()
        for path in (self.store, self.store / "scratch"):
            # In the first moments there is no store, or one half made.
            with contextlib.suppress(BadInput, StoreError), Store.open(path, read_only=True) as store:
                found |= store.catalogue.addresses()
        return found

    def stamps(self) -> tuple[int, ...]:
        """Changes whenever one of the stores begins to write a file."""
        found = []
        for path in (self.store / "tmp", self.store / "scratch" / "tmp"):
            try:
                found.append(path.stat().st_mtime_ns)
            except FileNotFoundError:
                found.append(0)
        return tuple(found)

    def wait(self, *, writes: int | None, delay: float) -> tuple[set[str], int]:
        """Wait for so many writes (None: none) and then `delay` seconds; what was acknowledged, and writes seen."""
        begin, seen, last, known = time.monotonic(), 0, self.stamps(), self.acknowledged()
        looked = begin
        while self.process.poll() is None and time.monotonic() - begin < PATIENCE_SECONDS:
            now = self.stamps()
            seen += now != last
            last = now
            if writes is not None and seen >= writes:
                time.sleep(delay)
                break
            if writes is None and time.monotonic() - begin > delay:
                break
            if time.monotonic() - looked > 0.1:
                known |= self.acknowledged()
                looked = time.monotonic()
            time.sleep(0.0005)
        return known, seen

    def kill(self) -> int:
        """SIGKILL the group; how many processes of the session still live five seconds later."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        deadline = time.monotonic() + 5
        while (left := session(self.process.pid)) and time.monotonic() < deadline:
            time.sleep(0.02)
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        return len(left)

    def printed(self) -> set[tuple[str, int]]:
        """(task, experiment) of every line that says that an experiment finished a rung."""
        lines = self.talk.read_text(errors="replace").splitlines()
        found = [FINISHED.match(line) for line in lines]
        return {(self.name, int(match[1])) for match in found if match}


def session(number: int) -> list[int]:
    """The processes of a session, zombies left out."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == number and fields[0] != "Z":
                found.append(int(path.parent.name))
    return found


def inspect(path: Path, *, known: set[str], printed: set[tuple[str, int]], tally: Tally) -> None:
    """Open both stores as the next run would, and hold them against what was acknowledged."""
    present: set[str] = set()
    for folder in (path, path / "scratch"):
        if not (folder / "FORMAT").exists():
            continue
        with Store.open(folder, read_only=True) as store:
            before = store.catalogue.addresses()
        with Store.open(folder) as store:
            now = store.catalogue.addresses()
            tally.adopted += len(now - before)
            present |= now
            report = verify(store, level="full")
            if report.exit_status:
                tally.corrupt += len(report.findings)
                tally.failures += [f"{finding.address}: {finding.what}" for finding in report.findings]
            if folder == path:
                bodies = [body for _, body in store.records("experiment")]
                tally.experiments = len(bodies)
                keys = Counter((body["task"], body["dataset"], body["key"]) for body in bodies)
                tally.repeated = sum(count - 1 for count in keys.values())
                ledger = {(body["task"], body["number"]) for body in bodies}
                gone = printed - ledger
                tally.lost += len(gone)
                tally.failures += [f"printed as finished and not in the ledger: {one}" for one in sorted(gone)]
    tally.records = len(present)
    tally.lost += len(known - present)
    tally.failures += [f"record {address} was readable and is gone" for address in sorted(known - present)]


def storm(folder: Path, *, chosen: argparse.Namespace, command: list[str]) -> Tally:
    """All rounds, with a report now and then; then the command once to its end, a prediction, and a rebuild."""
    begin, kills = time.monotonic(), chosen.kills
    table = load_breast_cancer(as_frame=True).frame
    table.to_csv(folder / "cells.csv", index=False)
    chance, tally, task = random.Random(chosen.seed), Tally(), 0
    known: set[str] = set()
    printed: set[tuple[str, int]] = set()
    store = folder / "knowledge"

    def words(name: str) -> list[str]:
        return [*command, "learn", "cells.csv", "--target", TARGET, "--name", name, "--budget", chosen.budget,
                "--store", str(store), "--json"]  # fmt: skip

    while tally.kills < kills:
        before = tally.experiments
        run = Round(folder, words=words(f"cells{task}"), name=f"cells{task}")
        aimed = chance.random() < 2 / 3
        if aimed:
            fresh, seen = run.wait(writes=chance.randint(1, 25), delay=chance.uniform(0, 0.03))
        else:
            fresh, seen = run.wait(writes=None, delay=chance.uniform(0, 9))
        ended = run.process.poll()
        tally.orphans += run.kill()
        known |= fresh
        printed |= run.printed()
        tally.printed = len(printed)
        inspect(store, known=known, printed=printed, tally=tally)
        if ended is None:
            tally.kills += 1
            tally.aimed += aimed
            tally.in_start += seen == 0
        elif ended == 0:  # it was done before its time had come
            tally.completed += 1
            task += 1
        else:
            tally.failures.append(f"ended with {ended}: {run.talk.read_text()[-300:]}")
            task += 1
        if seen:
            tally.could_resume += 1
            tally.resumed += tally.experiments >= before
        say(f"{tally.kills}/{kills} kills, {tally.experiments} experiments, {tally.lost} lost, {tally.corrupt} corrupt")
        if tally.kills % 10 == 0:
            write(tally, chosen=chosen, seconds=time.monotonic() - begin)
    end(folder, words=words(f"cells{task}"), name=f"cells{task}", command=command, tally=tally)
    return tally


def end(folder: Path, *, words: list[str], name: str, command: list[str], tally: Tally) -> None:
    """What survived must be good for something: learn to the end, predict, verify and rebuild by the command line."""
    store = str(folder / "knowledge")
    run = Round(folder, words=words, name=name)
    if run.process.wait(PATIENCE_SECONDS):
        tally.failures.append(f"learning to the end failed: {run.talk.read_text()[-500:]}")
    for arguments in (
        ["predict", name, "cells.csv", "--json"],
        ["verify", "--level", "full"],
        ["rebuild"],
        ["tasks", "--json"],
    ):
        surroundings = {**common.environment(), "HOME": str(folder / "home")}
        done = subprocess.run(
            [*command, *arguments, "--store", store],
            cwd=folder,
            env=surroundings,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            tally.failures.append(f"{arguments[0]} ended with {done.returncode}: {done.stderr[-300:]}")
    with Store.open(store) as opened:
        before = {kind: list(opened.records(kind)) for kind in ("experiment", "task", "head")}
        rebuild(opened)
        if before != {kind: list(opened.records(kind)) for kind in before}:
            tally.failures.append("the rebuilt catalogue differs")


def write(tally: Tally, *, chosen: argparse.Namespace, seconds: float) -> Path:
    """The report."""
    rows = [
        ["SIGKILLs of the whole process group", str(tally.kills), ""],
        ["... within 30 ms after a write began", str(tally.aimed), ""],
        ["... before the store was touched", str(tally.in_start), ""],
        ["runs that came to their end first", str(tally.completed), ""],
        ["records that another process had read before a kill, or found after it", str(tally.records), ""],
        ["experiments in the ledger", str(tally.experiments), ""],
        ["experiments printed as finished", str(tally.printed), ""],
        ["records whose row the next open added", str(tally.adopted), ""],
        ["finished experiments or other acknowledged records lost", str(tally.lost), verdict(tally.lost == 0)],
        ["corrupt or missing objects, rows that differ", str(tally.corrupt), verdict(tally.corrupt == 0)],
        ["finished experiments that were run again", str(tally.repeated), verdict(tally.repeated == 0)],
        ["processes alive 5 s after the kill", str(tally.orphans), verdict(tally.orphans == 0)],
        ["other failures (resume, last learn, predict, verify, rebuild)", str(len(tally.failures)),
         verdict(not tally.failures)],
    ]  # fmt: skip
    return reporting.page(
        "store_kill",
        [*reporting.table(("what", "found", "must be 0"), rows), *[f"- {failure}" for failure in tally.failures[:20]]],
        title="Killing `polymath learn`",
        about=(__doc__ or "").split("\n\n")[-1].strip(),
        told=[f"{chosen.kills} kills, seed {chosen.seed}, {seconds:.0f} s"],
        quick=chosen.quick,
    )


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="12 kills: does it run?")
    made.add_argument("--kills", type=int, help="how many (default 200; with --quick 12)")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--budget", default="40s", help="of each task (default %(default)s)")
    made.add_argument("--polymath", nargs="+", help="the command to kill (default: polymath of this environment)")
    chosen = made.parse_args()
    chosen.kills = chosen.kills or (12 if chosen.quick else 200)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="store_kill") as folder:
        command = list(chosen.polymath or common.polymath_command())
        tally = storm(Path(folder), chosen=chosen, command=command)
    say(json.dumps(dataclasses.asdict(tally), indent=1))
    print(write(tally, chosen=chosen, seconds=time.monotonic() - begin))
    return 1 if tally.failures or tally.lost or tally.corrupt else 0


if __name__ == "__main__":
    raise SystemExit(main())
