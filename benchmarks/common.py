"""The ground all benchmarks stand on: environments of the peers, one run under a watch, results that survive a stop.

Fairness (field/peers.md section 5): same rows, same metric code, same budget handed to each system's own option, same
cores (thread variables and CPU affinity), no GPU, no hub, order of systems rotated over seeds, failures are rows.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import data
import scoring

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PEERS = {
    "flaml": ("flaml[automl]==2.7.0",),
    "autogluon": ("autogluon.tabular[lightgbm,catboost,xgboost]==1.6.3", "torch==2.13.0"),
    "optuna": ("optuna==5.0.0",),
    "ctranslate2": ("ctranslate2==4.8.5", "numpy"),
}
SCRIPTS = {
    "hgb": "hgb.py",
    "flaml": "flaml_automl.py",
    "autogluon": "autogluon_tabular.py",
    "tfidf": "tfidf.py",
    "hog": "hog.py",
    "expert": "../experts/resnet.py",
    "polymath": "ours.py",
}


@dataclass(frozen=True)
class Settings:
    """What the command line of a benchmark said."""

    name: str
    quick: bool
    seeds: tuple[int, ...]
    budget: float | None
    only: tuple[str, ...]
    systems: tuple[str, ...]
    again: tuple[str, ...]
    report_only: bool
    cache: Path
    command: tuple[str, ...]

    @property
    def stem(self) -> str:
        return f"{self.name}-quick" if self.quick else self.name

    @property
    def results(self) -> Path:
        return HERE / "results" / f"{self.stem}.jsonl"

    @property
    def report(self) -> Path:
        return HERE / "reports" / f"{self.stem}.md"


def parser(name: str, *, about: str | None, sets: Sequence[str], systems: Sequence[str]) -> argparse.ArgumentParser:
    """The options every benchmark has."""
    made = argparse.ArgumentParser(
        prog=f"benchmarks/{name}.py", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--quick", action="store_true", help="few sets, one seed, 20 s, 2,000 training rows: does it run?"
    )
    made.add_argument("--seeds", nargs="+", type=int, help="seeds (default 0 1 2; with --quick 0)")
    made.add_argument("--budget", type=float, help="seconds for each system (default: the benchmark's own)")
    made.add_argument("--only", nargs="+", choices=sets, help="only these data sets")
    made.add_argument("--systems", nargs="+", choices=systems, help="only these systems")
    made.add_argument(
        "--again", nargs="+", choices=systems, default=[], help="run these systems anew, kept results or not"
    )
    made.add_argument("--report", action="store_true", help="run nothing, write the report from the kept results")
    made.add_argument("--cache", type=Path, default=data.DEFAULT_CACHE, help="data and peers (default: %(default)s)")
    made.add_argument("--polymath", nargs="+", help="the command to measure (default: polymath of this environment)")
    return made


def settings(
    made: argparse.ArgumentParser, *, name: str, sets: Sequence[str], quick_sets: Sequence[str], systems: Sequence[str]
) -> Settings:
    """Read the command line."""
    given = made.parse_args()
    return Settings(
        name=name,
        quick=given.quick,
        seeds=tuple(given.seeds or ((0,) if given.quick else (0, 1, 2))),
        budget=given.budget,
        only=tuple(given.only or (quick_sets if given.quick else sets)),
        systems=tuple(given.systems or systems),
        again=tuple(given.again),
        report_only=given.report,
        cache=given.cache.expanduser().resolve(),
        command=tuple(given.polymath or polymath_command()),
    )


def polymath_command() -> list[str]:
    """The command line of this checkout."""
    script = Path(sys.executable).with_name("polymath")
    return [str(script)] if script.exists() else [sys.executable, "-m", "polymath.app.main"]


def cores() -> int:
    return len(os.sched_getaffinity(0))


def peer_python(peer: str, *, cache: Path) -> str:
    """The interpreter of a peer's own environment, made on first use."""
    if peer not in PEERS:
        return sys.executable
    folder = cache / "envs" / peer
    python = folder / "bin" / "python"
    wanted, done = " ".join(PEERS[peer]), folder / "installed.txt"
    if not done.exists() or done.read_text() != wanted:
        print(f"making the environment of {peer} in {folder} (minutes, once)", file=sys.stderr, flush=True)
        if not python.exists():
            venv.create(folder, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PEERS[peer]], check=True)
        done.write_text(wanted)
    return str(python)


def environment() -> dict[str, str]:
    """The same surroundings for every system: all threads of our cores, no GPU, no model hub."""
    number = str(cores())
    threads = {f"{prefix}_NUM_THREADS": number for prefix in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "LOKY")}
    hidden = {
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "LOKY_MAX_CPU_COUNT": number,
    }
    own = {"PYTHONPATH": str(ROOT / "src"), "PYTHONWARNINGS": "ignore", "PYTHONHASHSEED": "0"}
    return {**os.environ, **threads, **hidden, **own}


class Watch(threading.Thread):
    """Sums the resident memory of a session's processes five times a second and keeps the peak.

    Pages that processes share are counted once for each, so a system with many workers looks a little larger than it is.
    """

    def __init__(self, session: int) -> None:
        super().__init__(daemon=True)
        self.session, self.peak, self.ended = session, 0, threading.Event()

    def run(self) -> None:
        page = os.sysconf("SC_PAGE_SIZE")
        while not self.ended.wait(0.2):
            total = 0
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    if int((process / "stat").read_text().rsplit(")", 1)[1].split()[3]) == self.session:
                        total += int((process / "statm").read_text().split()[1]) * page
                except (OSError, IndexError):
                    continue  # the process ended while we looked
            self.peak = max(self.peak, total)


@dataclass(frozen=True)
class Finished:
    """How one watched command ended."""

    code: int | None
    seconds: float
    peak_bytes: int
    talk: str


def watched(words: Sequence[str], *, limit: float, folder: Path) -> Finished:
    """Run a command in a session of its own; kill that whole session when `limit` seconds are over (code None)."""
    log = folder / "talk.txt"
    began = time.monotonic()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            words, cwd=folder, env=environment(), stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )
        watch = Watch(process.pid)
        watch.start()
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            seconds = time.monotonic() - began
            watch.ended.set()
            with contextlib.suppress(ProcessLookupError):  # nothing of the session is left, as it should be
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            watch.join()
    return Finished(code, seconds, watch.peak, log.read_bytes()[-4000:].decode("utf-8", "replace"))


def run_system(
    system: str, cut: data.Split, *, budget: float, seed: int, chosen: Settings, options: dict[str, Any]
) -> dict[str, Any]:
    """One system on one split: the record of it, failed or not."""
    scratch = chosen.cache / "runs" / f"{chosen.stem}-{cut.name}-{system}-{seed}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    job = {
        "family": cut.entry["family"],
        "train": str(cut.train),
        "test": str(cut.test),
        "targets": list(cut.targets),
        "kinds": list(cut.kinds),
        "budget": budget,
        "seed": seed,
        "scratch": str(scratch),
        "options": {"command": list(chosen.command), **options},
    }
    (scratch / "job.json").write_text(json.dumps(job))
    base = system.split("@")[0]
    words = [peer_python(base, cache=chosen.cache), str(HERE / "systems" / SCRIPTS[base]), "job.json", "answer.json"]
    ended = watched(words, limit=2 * budget + 120, folder=scratch)
    record: dict[str, Any] = {
        "benchmark": chosen.stem,
        "set": cut.name,
        "system": system,
        "seed": seed,
        "budget": budget,
        "total_seconds": round(ended.seconds, 2),
        "peak_bytes": ended.peak_bytes,
        "rows": len(next(iter(cut.truth.values()))),
        "when": now(),
        "commit": commit(),
        "cores": cores(),
    }
    try:
        if ended.code is None:
            raise TimeoutError(f"killed after {ended.seconds:.0f} s")
        if ended.code:
            raise ChildProcessError(f"ended with {ended.code}: {ended.talk[-1500:]}")
        answer = json.loads((scratch / "answer.json").read_text())
        outputs = answer.pop("outputs")
        scores = {
            target: scoring.score(kind, cut.truth[target], outputs[target])
            for target, kind in zip(cut.targets, cut.kinds, strict=True)
        }
        record |= {"status": "ok", "scores": scores, **answer}
    except (
        TimeoutError,
        ChildProcessError,
        ValueError,
        KeyError,
        TypeError,
        OSError,
    ) as error:  # a peer's failure is a row of the report
        record |= {"status": "failed", "error": f"{type(error).__name__}: {error}"[-2000:]}
    shutil.rmtree(scratch)
    return record


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "none"


def hardware() -> str:
    """One line on the machine."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "?",
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{cores()} cores of {model}, {memory:.0f} GiB, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def kept(file: Path) -> list[dict[str, Any]]:
    """Every finished run of a benchmark; a line cut off by a kill is left out."""
    if not file.exists():
        return []
    records = []
    for line in file.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def keep(file: Path, record: dict[str, Any]) -> None:
    """Append one record and make it durable."""
    file.parent.mkdir(exist_ok=True)
    with file.open("a") as stream:
        stream.write(json.dumps(record) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def drop(file: Path, which: Callable[[dict[str, Any]], bool]) -> None:
    """Forget the records of which this is so."""
    rest = [record for record in kept(file) if not which(record)]
    file.unlink(missing_ok=True)
    for record in rest:
        keep(file, record)


def latest(records: Sequence[dict[str, Any]]) -> dict[tuple[str, str, int, float], dict[str, Any]]:
    """The newest record of each (set, system, seed, budget)."""
    return {(record["set"], record["system"], record["seed"], record["budget"]): record for record in records}


@dataclass(frozen=True)
class Race:
    """One data set in a benchmark: its budget and the options each system gets."""

    set: str
    budget: float
    systems: tuple[str, ...]
    options: dict[str, dict[str, Any]]


def race_all(races: Sequence[Race], *, chosen: Settings) -> list[dict[str, Any]]:
    """Run what is not kept yet, the order of systems rotated by seed; returns the newest records of these races."""
    again = set(chosen.again)
    wanted: list[tuple[str, str, int, float]] = []
    for turn, seed in enumerate(chosen.seeds):
        for race in races:
            order = [system for system in race.systems if system.split("@")[0] in chosen.systems]
            shift = turn % max(1, len(order))
            for system in order[shift:] + order[:shift]:
                key = (race.set, system, seed, race.budget)
                wanted.append(key)
                done = latest(kept(chosen.results)).get(key)
                if chosen.report_only or (done is not None and system.split("@")[0] not in again):
                    continue
                cut = data.split(race.set, seed=seed, cache=chosen.cache, train_rows=2_000 if chosen.quick else None)
                options = {**race.options.get("*", {}), **race.options.get(system, {})}
                record = run_system(system, cut, budget=race.budget, seed=seed, chosen=chosen, options=options)
                keep(chosen.results, record)
                print(summary(record), flush=True)
    found = latest(kept(chosen.results))
    return [found[key] for key in wanted if key in found]


def summary(record: dict[str, Any]) -> str:
    """One line on one run."""
    head = f"{record['set']:14} {record['system']:18} seed {record['seed']}  {record['total_seconds']:7.1f} s {record['peak_bytes'] / 2**20:6.0f} MiB  "
    if record["status"] != "ok":
        return head + record["error"].strip().splitlines()[-1][:150]
    return head + "  ".join(
        f"{name} {value:.4g}" for scores in record["scores"].values() for name, value in scores.items()
    )
