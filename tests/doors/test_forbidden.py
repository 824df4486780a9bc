"""What no file of ours may do: read code out of data, start a shell, take orders from the environment."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

# These turn data into code when they read (or write what must be read so): promise 4.
MODULES = {
    *("pickle", "_pickle", "cPickle", "cloudpickle", "joblib", "dill", "marshal", "shelve", "yaml", "jsonpickle"),
    *("torchvision", "torchaudio"),  # their wheels need the CUDA build of torch
}
CALLS = {
    *("eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec"),
    *("torch.load", "torch.save", "torch.jit.load", "torch.hub.load", "torch.package.PackageImporter"),
    *("yaml.load", "pandas.read_pickle", "numpy.lib.format.read_array", "code.interact"),
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
}
ARGUMENTS = {"shell": True, "weights_only": False, "allow_pickle": True}
ENVIRONMENT = {"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv", "os.unsetenv"}


def forbidden(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and words of everything in a file that promise 4 rules out."""
    meaning = full_names(tree)
    for node in ast.walk(tree):
        for module in imported(node):
            if module.split(".")[0] in MODULES:
                yield node.lineno, f"import of {module}"
        if isinstance(node, (ast.Name, ast.Attribute)) and (name := full_name(node, meaning)) in CALLS:
            yield node.lineno, name
        if isinstance(node, ast.Call):
            for argument in node.keywords:
                value = argument.value.value if isinstance(argument.value, ast.Constant) else None
                if argument.arg in ARGUMENTS and value is ARGUMENTS[argument.arg]:
                    yield node.lineno, f"{argument.arg}={value}"


def environment(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of every use of environment variables."""
    meaning = full_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Name, ast.Attribute)) and (name := full_name(node, meaning)) in ENVIRONMENT:
            yield node.lineno, name


def imported(node: ast.AST) -> list[str]:
    """Modules that an import statement names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def full_names(tree: ast.Module) -> dict[str, str]:
    """What the names bound by imports stand for: `import numpy as np` -> {"np": "numpy"}."""
    meaning = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                meaning[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                meaning[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return meaning


def full_name(node: ast.AST, meaning: dict[str, str]) -> str:
    """`np.load` -> "numpy.load"; "" for what is not a plain dotted name."""
    if isinstance(node, ast.Name):
        return meaning.get(node.id, node.id)
    if isinstance(node, ast.Attribute) and (before := full_name(node.value, meaning)):
        return f"{before}.{node.attr}"
    return ""


def test_nothing_read_is_executed(modules):
    wrong = [f"{module}:{line}: {what}" for module in modules for line, what in forbidden(module.tree)]
    assert not wrong, "\n" + "\n".join(wrong)


def test_only_app_reads_the_environment(modules):
    wrong = [
        f"{module}:{line}: {what}; take it as an argument"
        for module in modules
        if module.name.split(".")[0] != "app"
        for line, what in environment(module.tree)
    ]
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "def f():\n    from joblib import load",
        "import torch\ntorch.load('x')",
        "import torch as t\nt.load('x')",
        "from torch import load\nload('x')",
        "from torch import load as safe\nread = safe",
        "eval('1')",
        "exec('1')",
        "import os\nos.system('ls')",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "f(weights_only=False)",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
    ],
)
def test_the_scan_finds(text):
    assert list(forbidden(ast.parse(text)))


@pytest.mark.parametrize(
    "text",
    ["model.eval()", "import re\nre.compile('x')", "import torch\ntorch.compile(f)", "f(shell=False)", "load('x')"],
)
def test_the_scan_leaves_alone(text):
    assert not list(forbidden(ast.parse(text)))


@pytest.mark.parametrize(
    "text",
    ["import os\nos.environ['X']", "from os import environ as e\ne.get('X')", "import os as o\no.getenv('X')"],
)
def test_the_scan_finds_the_environment(text):
    assert list(environment(ast.parse(text)))
