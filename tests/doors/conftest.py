"""The source of the package, parsed once: every module with its tree and what it imports of ours."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "polymath"
PACKAGE = "polymath"


@dataclass(frozen=True)
class Module:
    """One source file."""

    name: str  # dotted, without the leading "polymath."; "" is the package itself
    path: Path
    tree: ast.Module
    imports: tuple[tuple[str, int], ...]  # (dotted name in the same form, line), wherever in the file they stand

    def __str__(self) -> str:
        return str(self.path.relative_to(SOURCE.parent.parent))


@pytest.fixture(scope="session")
def source() -> Path:
    """Folder of the package."""
    return SOURCE


@pytest.fixture(scope="session")
def modules() -> list[Module]:
    """Every module of the package."""
    names = {dotted(path) for path in SOURCE.rglob("*.py")}
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        found.append(Module(dotted(path), path, tree, tuple(our_imports(tree, path, names))))
    assert found, f"no source under {SOURCE}"
    return found


def dotted(path: Path) -> str:
    """`model/layers/norm.py` -> "model.layers.norm", `model/__init__.py` -> "model"."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def our_imports(tree: ast.Module, path: Path, names: set[str]) -> Iterator[tuple[str, int]]:
    """Modules of ours that a file imports: at its top, inside functions, for types only, by import_module("...")."""
    package = dotted(path) if path.name == "__init__.py" else dotted(path).rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == PACKAGE:
                    yield alias.name.partition(".")[2], node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".") if package else []
                above = above[: len(above) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            elif base.split(".")[0] == PACKAGE:
                base = base.partition(".")[2]
            else:
                continue
            for alias in node.names:
                inner = f"{base}.{alias.name}" if base else alias.name
                yield (inner if inner in names else base), node.lineno
        elif isinstance(node, ast.Call) and (name := imported_by_call(node)).split(".")[0] == PACKAGE:
            yield name.partition(".")[2], node.lineno


def imported_by_call(node: ast.Call) -> str:
    """The literal that import_module or __import__ is called with; "" for any other call."""
    called = ast.unparse(node.func).rpartition(".")[2] in ("import_module", "__import__")
    first = node.args[0] if called and node.args else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""
