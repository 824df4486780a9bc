"""Optuna's own cost per trial of a function that costs nothing: `optuna_overhead.py TRIALS FOLDER` prints JSON.

Milliseconds by storage and sampler: as the clock sees them, and of the processor.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path

import optuna


def objective(trial: optuna.Trial) -> float:
    """The function of `search_overhead.py`: ten choices and no work."""
    total = sum(trial.suggest_categorical(f"kind{i}", ["a", "b", "c"]) == "a" for i in range(5))
    total += sum(trial.suggest_int(f"width{i}", 8, 512, log=True) / 512 for i in range(3))
    rate, decay = trial.suggest_float("rate", 1e-4, 1.0, log=True), trial.suggest_float("decay", 0.0, 1.0)
    return total - abs(rate - 0.1) - decay


def storages(folder: Path) -> dict[str, optuna.storages.BaseStorage | str | None]:
    """Name -> where trials are kept."""
    journal = optuna.storages.journal.JournalFileBackend(str(folder / "journal.log"))
    return {
        "in memory": None,
        "JournalFileBackend": optuna.storages.JournalStorage(journal),
        "SQLite": f"sqlite:///{folder / 'trials.db'}",
    }


def main() -> None:
    trials, folder = int(sys.argv[1]), Path(sys.argv[2])
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    found: dict[str, list[float]] = {}
    samplers = {"random": optuna.samplers.RandomSampler, "TPE": optuna.samplers.TPESampler}
    for kept, storage in storages(folder).items():
        for name, sampler in samplers.items():
            if name == "TPE" and kept != "in memory":
                continue  # what TPE adds does not depend on the storage
            study = optuna.create_study(storage=storage, sampler=sampler(seed=0), study_name=name, direction="maximize")
            count = max(trials // 10, 1) if kept == "SQLite" else trials  # it is slow, and equally so for every trial
            began, busy = time.monotonic(), time.process_time()
            study.optimize(objective, n_trials=count)
            spent = time.monotonic() - began, time.process_time() - busy
            found[f"{kept}, {name}"] = [seconds / count * 1000 for seconds in spent]
    print(json.dumps({"milliseconds": found, "version": optuna.__version__}))


if __name__ == "__main__":
    main()
