"""The converter of a published pickle: it reads tensors and can do nothing else."""

from __future__ import annotations

import importlib.util
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from polymath.importing import Described
from polymath.model.build import build

SCRIPT = Path(__file__).parents[1] / "examples" / "import_efficientnet.py"


def child(file: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-I", str(SCRIPT), "--child", str(file)], capture_output=True, check=False)


def test_tensors_come_through(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(6.0).view(2, 3), "note": "no tensor"}, tmp_path / "net.pth")
    done = child(tmp_path / "net.pth")
    assert done.returncode == 0, done.stderr.decode()
    assert load(done.stdout)["a"].tolist() == [[0, 1, 2], [3, 4, 5]]


class Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return open, (str(self.target), "w")


def test_a_pickle_that_acts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(pickle.dumps({"a": Hostile(tmp_path / "written")}))
    done = child(tmp_path / "net.pth")
    assert done.returncode != 0
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize(
    "attempt",
    [
        "open('{0}', 'w').write('x')",
        "__import__('socket').socket()",
        "__import__('subprocess').run(['true'])",
        "__import__('os').system('true')",
        "__import__('os').write(__import__('os').open('{0}', 0o101), b'x')",
    ],
)
def test_the_child_can_do_nothing_else(tmp_path: Path, attempt: str) -> None:
    """What a pickle would have to get past, were torch's own reader fooled."""
    written = tmp_path / "written"
    program = f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); import import_efficientnet as e; e.restrict(); "
    done = subprocess.run([sys.executable, "-c", program + attempt.format(written)], capture_output=True, check=False)
    assert done.returncode != 0
    assert not written.exists() or not written.read_bytes()


def test_the_described_architecture_is_one(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("example", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for channels in (1, 3):
        described = Described.model_validate(module.described(32, channels))
        made = build(described.path, described.ports).eval()
        # The 4,652,008 of the published net without the 1,281,000 of its head.
        assert sum(p.numel() for p in made.parameters()) == 3_371_008
        with torch.no_grad():
            picture = torch.zeros(1, channels, 20, 30, dtype=torch.uint8)
            assert made({"image": picture})["features"].shape == (1, 1280)
