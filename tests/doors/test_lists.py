"""Adding a part is one new file and one line in its room's list; a part without its line would never be used."""

from __future__ import annotations

import ast
import importlib

import pytest

# Folder of parts, the list in its __init__, the field by which stored JSON names a part.
LISTS = [("problem.features", "FEATURES", "type"), ("model.layers", "LAYERS", "kind")]


def parts_in(text: str, field: str) -> list[str]:
    """Classes of a source file that stored JSON can name: those that set `field: Literal["..."] = "..."`."""
    return [
        node.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
        for line in node.body
        if isinstance(line, ast.AnnAssign)
        and ast.unparse(line.target) == field
        and isinstance(line.value, ast.Constant)
    ]


@pytest.mark.parametrize(("room", "name", "field"), LISTS, ids=[name for _, name, _ in LISTS])
def test_every_part_has_its_line(source, room, name, field):
    folder = source.joinpath(*room.split("."))
    if not (folder / "__init__.py").exists():
        pytest.skip(f"polymath.{room} is not there yet")
    listed = [part.__name__ for part in getattr(importlib.import_module(f"polymath.{room}"), name)]
    written = [part for path in folder.glob("*.py") for part in parts_in(path.read_text(encoding="utf-8"), field)]
    missing, unknown = sorted(set(written) - set(listed)), sorted(set(listed) - set(written))
    assert not missing, f"polymath.{room}.{name} lacks a line for {missing}"
    assert not unknown, f"polymath.{room}.{name} lists {unknown}, which set no {field!r} in a file of that folder"
    assert len(listed) == len(set(listed)), f"polymath.{room}.{name} names a part twice"


def test_parts_in():
    text = 'class A(Layer):\n    kind: Literal["a"] = "a"\nclass Base:\n    kind: str\nclass Module:\n    pass'
    assert parts_in(text, "kind") == ["A"]
