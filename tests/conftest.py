"""What every test shares: a home of its own, one thread, no network, real data by fixture.

Nothing here imports torch or Polymath, so that a run of the doors alone stays quick.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

# Two workers on two cores: more threads would only fight. Read by torch and BLAS when they load, so set before.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")


def pytest_configure(config: pytest.Config) -> None:
    """Give this process a home that goes away with it."""
    home = tempfile.mkdtemp(prefix="polymath-test-home-")
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    os.environ["HOME"] = os.environ["USERPROFILE"] = home
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        os.environ.pop(name, None)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that reaches beyond this machine fails with the address it wanted."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = str(address[0]) if isinstance(address, tuple) else str(address)
            if not (host.startswith("127.") or host in ("localhost", "::1", "")):
                raise AssertionError(f"tests may not use the network; this one wanted {address!r}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of data sets beside the repository; skips where a machine has none."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the shared data sets, and {folder} does not exist")
    return folder


@pytest.fixture(scope="session")
def make_digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Call with N: a folder of ten class folders `0`..`9`, each with the first N real 8x8 digits as PNG files."""
    made: dict[int, Path] = {}

    def make(per_class: int) -> Path:
        if per_class not in made:
            made[per_class] = write_digits(tmp_path_factory.mktemp(f"digits-{per_class}-"), per_class)
        return made[per_class]

    return make


@pytest.fixture(scope="session")
def digits_folder(make_digits_folder: Callable[[int], Path]) -> Path:
    """Small class folder of digits: 20 images of each. Do not write into it; it is shared by the session."""
    return make_digits_folder(20)


def write_digits(folder: Path, per_class: int) -> Path:
    """Write the first `per_class` digits of each class that scikit-learn ships; returns `folder`."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = (digits.images * (255 / 16)).round().astype("uint8")
    for label in range(10):
        (folder / str(label)).mkdir()
        for index in (digits.target == label).nonzero()[0][:per_class]:
            Image.fromarray(pixels[index]).save(folder / str(label) / f"{index:04d}.png")
    return folder
