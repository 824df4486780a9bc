"""Adding a part is one new file and one line in its room's list; a file without its line would never be used."""

from __future__ import annotations

import importlib
import inspect

import pytest

# Folder of parts, the module that lists them, the list. Files named _like_this, and what parts share, are no parts.
LISTS = [("problem.features", "FEATURES"), ("model.layers", "LAYERS")]
SHARED = {"base", "common", "shared"}


def module_of(entry: object) -> str:
    """Last name of the module that an entry of a list stands for: a dotted name, a class or a module."""
    if inspect.ismodule(entry):
        return entry.__name__.rpartition(".")[2]
    if isinstance(entry, str):
        return entry.partition(":")[0].rpartition(".")[2]
    return entry.__module__.rpartition(".")[2]


@pytest.mark.parametrize(("room", "name"), LISTS, ids=[name for _, name in LISTS])
def test_every_file_has_its_line(source, room, name):
    folder = source.joinpath(*room.split("."))
    if not (folder / "__init__.py").exists():
        pytest.skip(f"polymath.{room} is not there yet")
    entries = list(getattr(importlib.import_module(f"polymath.{room}"), name))
    assert len(entries) == len(set(entries)), f"polymath.{room}.{name} names a part twice"
    files = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")} - SHARED
    missing = files - {module_of(entry) for entry in entries}
    assert not missing, f"polymath.{room}.{name} lacks a line for: {sorted(missing)}"
