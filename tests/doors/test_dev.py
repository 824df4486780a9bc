"""Set-up survives what happens to set-ups: old Pythons, kill -9 half way, two at once, a moved folder, failing pip."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "dev.py"


@pytest.fixture
def dev(tmp_path, monkeypatch):
    """dev.py at work in an empty checkout, with commands recorded instead of run."""
    spec = importlib.util.spec_from_file_location("dev_under_test", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text(name)
    venv = tmp_path / ".venv"
    paths = {"ROOT": tmp_path, "VENV": venv}
    paths |= {name: venv / name for name in ("STAMP", "BEGUN", "PYTHON")}
    for name, value in paths.items():
        monkeypatch.setattr(module, name, value)
    module.ran = []

    def quietly(command):
        module.ran.append("venv" if "venv" in command else "pip")
        if "venv" in command:
            module.BEGUN.unlink(missing_ok=True)  # --clear empties the folder
            make_venv(module, sys.version_info[:2])
        return 0

    monkeypatch.setattr(module, "quietly", quietly)
    return module


def make_venv(dev, version):
    """What `python -m venv` leaves, as far as dev.py looks."""
    dev.VENV.mkdir(exist_ok=True)
    (dev.VENV / "pyvenv.cfg").write_text(f"home = /usr/bin\nversion = {version[0]}.{version[1]}.7\n")
    dev.PYTHON.touch()


def test_first_start_makes_and_installs_and_the_second_does_nothing(dev):
    assert dev.set_up() == 0
    assert dev.ran == ["venv", "pip"]
    assert dev.set_up() == 0
    assert dev.ran == ["venv", "pip"]


def test_a_venv_made_by_hand_is_completed(dev):
    make_venv(dev, sys.version_info[:2])
    assert dev.set_up() == 0
    assert dev.ran == ["pip"]


def test_a_venv_of_another_python_is_made_anew(dev):
    make_venv(dev, (3, 9))
    assert dev.set_up() == 0
    assert dev.ran == ["venv", "pip"]


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_file_installs_again(dev, name):
    dev.set_up()
    (dev.ROOT / name).write_text("changed")
    dev.set_up()
    assert dev.ran == ["venv", "pip", "pip"]


def test_a_failed_install_is_tried_again(dev, monkeypatch):
    make_venv(dev, sys.version_info[:2])
    with monkeypatch.context() as patch:
        patch.setattr(dev, "quietly", lambda command: 1)
        assert dev.set_up() == 1
    assert dev.set_up() == 0
    assert dev.ran == ["pip"]


def test_after_a_kill_in_the_middle_the_venv_is_made_anew(dev, monkeypatch):
    def killed(command):
        raise SystemExit("killed")

    make_venv(dev, sys.version_info[:2])
    with monkeypatch.context() as patch:
        patch.setattr(dev, "quietly", killed)
        with pytest.raises(SystemExit):
            dev.set_up()
    assert dev.set_up() == 0
    assert dev.ran == ["venv", "pip"]


def test_two_at_once_install_once(dev):
    threads = [threading.Thread(target=dev.set_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dev.ran == ["venv", "pip"]


@pytest.mark.parametrize("version", [(3, 10, 4), (3, 14, 0)])
def test_other_pythons_are_refused_in_one_sentence(dev, monkeypatch, capsys, version):
    monkeypatch.setattr(dev.sys, "version_info", version)
    assert dev.main(["test"]) == 1
    said = capsys.readouterr().err
    assert "needs Python 3.11, 3.12 or 3.13" in said
    assert f"{version[0]}.{version[1]}" in said
    assert dev.ran == []


def test_unknown_commands_and_benchmarks_name_the_known_ones(dev, capsys):
    assert dev.main(["dance"]) == 1
    assert "demo, test, check" in capsys.readouterr().err
    assert dev.main(["bench", "dance"]) == 1
    assert "no benchmark 'dance'" in capsys.readouterr().err


def test_a_failing_command_shows_its_words(tmp_path):
    text = (
        f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); import dev; "
        "sys.exit(dev.quietly([sys.executable, '-c', 'print(\"why it failed\"); raise SystemExit(3)']))"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert "why it failed" in done.stderr
    assert "exit code 3" in done.stderr


def test_help_needs_no_set_up(tmp_path):
    done = subprocess.run([sys.executable, SCRIPT, "--help"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0
    assert "python3 dev.py demo" in done.stdout
