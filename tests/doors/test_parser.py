"""The parser of the doors tests sees every way of importing; otherwise the doors stand open unseen."""

from __future__ import annotations

import ast

import pytest


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("train/fit.py", "import polymath.model.path", "model.path"),
        ("train/fit.py", "from polymath import store", "store"),
        ("train/fit.py", "from polymath.store import Store", "store"),
        ("train/fit.py", "from polymath.model import path", "model.path"),
        ("train/fit.py", "from ..model.path import Path", "model.path"),
        ("train/fit.py", "from .. import store", "store"),
        ("train/fit.py", "from . import recipe", "train.recipe"),
        ("train/__init__.py", "from .recipe import Recipe", "train.recipe"),
        ("train/fit.py", "from polymath import Polymath", ""),
        ("train/fit.py", "def f():\n    from polymath.app import main", "app.main"),
        ("train/fit.py", "if TYPE_CHECKING:\n    import polymath.app", "app"),
        ("train/fit.py", "importlib.import_module('polymath.app.main')", "app.main"),
        ("spec.py", "from .store import Store", "store"),
        ("train/fit.py", "import torch\nfrom os import path", None),
    ],
)
def test_sees(pytestconfig, source, file, text, expected):
    plugin = next(plugin for plugin in pytestconfig.pluginmanager.get_plugins() if hasattr(plugin, "our_imports"))
    names = {"", "store", "model", "model.path", "train", "train.recipe", "app", "app.main"}
    found = [name for name, _ in plugin.our_imports(ast.parse(text), source / file, names)]
    assert found == ([] if expected is None else [expected])
