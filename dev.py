"""One command for whoever works on Polymath or tries it: needs Python 3.11 to 3.13 and nothing else.

    python3 dev.py demo [ARGS]         learn the digits that ship with scikit-learn, show what came out
    python3 dev.py test [ARGS]         the tests (ARGS go to pytest: a path, -k NAME, -m slow, -n 0)
    python3 dev.py check               format, lint, types, doors, dependencies
    python3 dev.py run ARGS            the `polymath` command, as in: run learn flowers/
    python3 dev.py bench [NAME ARGS]   a script of benchmarks/; without NAME: lists them
    python3 dev.py clean               remove .venv and every cache

The first command makes .venv and installs into it (minutes); later ones start at once, until pyproject.toml,
constraints.txt or the Python version changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMP = VENV / "polymath.stamp"
BEGUN = VENV / "polymath.begun"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
CACHES = (".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "build", "dist")
DOORS = ["-m", "pytest", "-q", "tests/doors"]


def main(arguments: list[str]) -> int:
    """Run the command that `arguments` name; returns the exit code."""
    version = sys.version_info[:2]
    if not (3, 11) <= version <= (3, 13):
        found = ".".join(str(part) for part in version)
        return fail(f"Polymath needs Python 3.11, 3.12 or 3.13; this is {found}. Try: python3.11 dev.py ...")
    commands = {"demo": demo, "test": test, "check": check, "run": run, "bench": bench, "clean": clean}
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print((__doc__ or "").strip())
        return 0
    if arguments[0] not in commands:
        return fail(f"no command {arguments[0]!r}; there are: {', '.join(commands)}.")
    return commands[arguments[0]](arguments[1:])


def demo(arguments: list[str]) -> int:
    """The main job on real images, start to end."""
    return set_up() or become([PYTHON, "-m", "polymath.app.demo", *arguments])


def run(arguments: list[str]) -> int:
    """The command line of Polymath, in the caller's folder."""
    return set_up() or become([PYTHON, "-m", "polymath.app.main", *arguments])


def test(arguments: list[str]) -> int:
    """Pytest with our defaults; what the caller gives comes later and wins."""
    defaults = ["-m", "not slow", "-n", "2", "--dist", "loadfile"]
    return set_up() or become([PYTHON, "-m", "pytest", *defaults, *arguments], folder=ROOT)


def bench(arguments: list[str]) -> int:
    """One benchmark by name, or their list."""
    folder = ROOT / "benchmarks"
    names = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    if not arguments:
        print("\n".join(names) or "benchmarks/ holds no script yet.")
        return 0
    if arguments[0] not in names:
        return fail(f"no benchmark {arguments[0]!r}; there are: {', '.join(names) or 'none'}.")
    return set_up() or become([PYTHON, folder / f"{arguments[0]}.py", *arguments[1:]])


def clean(_: list[str]) -> int:
    """Remove what can be made again; nothing that anyone learned."""
    with lock():
        for path in (VENV, *(ROOT / name for name in CACHES)):
            shutil.rmtree(path, ignore_errors=True)
        for top in ("src", "tests", "benchmarks", "examples"):
            for path in (ROOT / top).rglob("__pycache__"):
                shutil.rmtree(path, ignore_errors=True)
    return 0


def check(_: list[str]) -> int:
    """Every gate but the tests; one line each, and the tool's own words where one is shut."""
    if code := set_up():
        return code
    gates = {
        "ruff format": ["-m", "ruff", "format", "--check", "--output-format", "concise", "."],
        "ruff check": ["-m", "ruff", "check", "--quiet", "--output-format", "concise", "."],
        "mypy --strict": ["-m", "mypy", "--strict", "src"],
        "doors": DOORS,
        "deptry": ["-m", "deptry", "--no-ansi", "src"],
    }
    shut = 0
    for name, command in gates.items():
        start = time.monotonic()
        done = subprocess.run([PYTHON, *command], cwd=ROOT, capture_output=True, text=True, check=False)
        print(f"{'FAIL' if done.returncode else 'pass'}  {name:<14} {time.monotonic() - start:5.1f} s", flush=True)
        if done.returncode:
            shut += 1
            print(f"{done.stdout}{done.stderr}".rstrip(), flush=True)
    return 1 if shut else 0


def set_up() -> int:
    """Make .venv fit pyproject.toml and constraints.txt; at once where it already does. Returns an exit code."""
    if fits():
        return 0
    with lock():
        if fits():  # another command did it while this one waited
            return 0
        start = time.monotonic()
        STAMP.unlink(missing_ok=True)
        if BEGUN.exists() or not PYTHON.exists() or venv_version() != sys.version_info[:2]:
            say(f"making .venv with Python {sys.version.split()[0]}")
            if code := quietly([sys.executable, "-m", "venv", "--clear", VENV]):
                return code
        say("installing Polymath and its tools into .venv (minutes the first time)")
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        BEGUN.touch()  # stays where pip was killed: half a package looks whole to the next pip, so .venv is made anew
        code = quietly([PYTHON, *install, "-c", ROOT / "constraints.txt", "-e", f"{ROOT}[dev]"])
        BEGUN.unlink()
        if code:
            return code
        STAMP.write_text(fingerprint())
        say(f"ready after {time.monotonic() - start:.0f} s")
    return 0


def fits() -> bool:
    """Whether .venv was finished for exactly what is asked now."""
    return PYTHON.exists() and read(STAMP) == fingerprint()


def fingerprint() -> str:
    """Changes when .venv must: the two files, the Python version, the folder that the editable install points to."""
    digest = hashlib.sha256(f"{sys.version_info[:2]}\n{ROOT}\n".encode())
    for name in ("pyproject.toml", "constraints.txt"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def venv_version() -> tuple[int, ...]:
    """Python version of .venv as (major, minor); () where it cannot be told."""
    for line in read(VENV / "pyvenv.cfg").splitlines():
        name, _, value = line.partition("=")
        if name.strip() in ("version", "version_info"):
            return tuple(int(part) for part in value.strip().split(".")[:2])
    return ()


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Only one command at a time sets up. Pip inherits the lock: where dev.py is killed, it holds until pip is gone."""
    with (ROOT / ".dev.lock").open("a") as file:
        os.set_inheritable(file.fileno(), True)
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("waiting for another dev.py that is setting up")
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def quietly(command: list[str | Path]) -> int:
    """Run and show the output only where it failed."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, close_fds=False
    )
    if not done.returncode:
        return 0
    print(done.stdout.rstrip(), file=sys.stderr)
    return fail(f"failed (exit code {done.returncode}): {' '.join(str(part) for part in command)}")


def become(command: list[str | Path], *, folder: Path | None = None) -> int:
    """Turn into `command`, so that signals and the exit code are its own. Returns only on Windows."""
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "nt":
        return subprocess.run(command, cwd=folder, check=False).returncode
    if folder is not None:
        os.chdir(folder)
    os.execv(command[0], [str(part) for part in command])  # noqa: S606 - a list of our own making, no shell


def read(path: Path) -> str:
    """Text of a file, or nothing where there is none."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def say(text: str) -> None:
    """Talk goes to stderr; stdout is for what was asked."""
    print(f"dev.py: {text}", file=sys.stderr, flush=True)


def fail(text: str) -> int:
    """Say why and return the exit code of a failure."""
    say(text)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
