"""Polymath, through its command line only: learn on the training part, then predict the test part in a new process.

options: command (list of words), ignore (columns). The budget is Polymath's own option. No training row is kept back for
a test of its own (`--test-fraction 0`), as the peers keep none, and its cache of decoded data starts empty each time.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from job import Job, folder_bytes, read_job, write_answer


def call(arguments: list[str]) -> dict[str, Any]:
    """Run the command line; one JSON object comes on stdout, talk on stderr (whose end is the error when it fails)."""
    home = {"HOME": str(Path.cwd()), "XDG_CACHE_HOME": str(Path.cwd() / "cache")}
    done = subprocess.run(arguments, env={**os.environ, **home}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout))


def learn(job: Job, *, store: Path) -> dict[str, Any]:
    words = [*job.options["command"], "learn", job.train, "--name", "benchmark", "--store", str(store)]
    words += ["--budget", f"{job.budget:g}s", "--seed", str(job.seed), "--json", "--test-fraction", "0"]
    words += [word for target in job.targets for word in ("--target", target)]
    words += [word for column in job.options.get("ignore", []) for word in ("--ignore", column)]
    return call(words)


def output(rows: list[dict[str, Any]], *, target: str, kind: str) -> dict[str, Any]:
    """One output of all rows in the common form; a row that could not be read has no answer."""
    answers = [(row or {}).get(target) for row in rows]
    values = [None if answer is None else answer["value"] for answer in answers]
    if kind == "number" or not any(answer and answer.get("probabilities") for answer in answers):
        return {"values": values}
    shares = [(answer or {}).get("probabilities") or {} for answer in answers]
    classes = sorted({name for share in shares for name in share})
    return {
        "values": values,
        "classes": classes,
        "probabilities": [[share.get(name, 0.0) for name in classes] for share in shares],
    }


def main() -> None:
    job = read_job()
    store = Path(job.scratch) / "store"
    told = learn(job, store=store)
    fitted = time.monotonic()
    predicted = call([*job.options["command"], "predict", told["task"], job.test, "--store", str(store), "--json"])
    outputs = {
        target: output(predicted["predictions"], target=target, kind=kind)
        for target, kind in zip(job.targets, job.kinds, strict=True)
    }
    kept = (
        "validation",
        "test",
        "interval",
        "seconds",
        "work",
        "experiments",
        "failed",
        "rows_used",
        "rows_unused",
        "parameters",
        "digest",
    )
    write_answer(
        outputs, fitted=fitted, packages=(), model_bytes=folder_bytes(store), notes={key: told.get(key) for key in kept}
    )


if __name__ == "__main__":
    main()
