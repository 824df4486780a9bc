"""A rule as one Python file: it runs without Polymath and takes the same steps."""

from __future__ import annotations

import subprocess
import sys

import torch

from polymath.train.update import KNOWN, parse
from polymath.train.update.export import as_python
from polymath.train.update.optimizer import ExpressionOptimizer

RULES = {
    **KNOWN,
    "powers": parse(["*", ["sign", "g"], ["power", ["+", "m", ["*", 0.1, "g"]], "linear_decay"]]),
    "shared": parse(["*", ["exp", ["clip", ["*", "g", "m"], 0.5]], ["+", "g", ["tanh", ["*", "g", "m"]]]]),
    "means": parse(["-", ["mean", ["log", "v"], 0.5], ["*", "y", ["previous_mean", ["raw_mean", "g", 0.5], 0.9]]]),
    "constant": parse(["+", 1, 2]),
    "silent": parse(["+", ["drop", "m", 0], ["+", ["noise", 0], ["*", "annealed_noise", ["clip", "g", 1e-12]]]]),
    "quotient": parse(["/", "g", ["+", ["reciprocal", ["+", 1, ["square", "w"]]], ["restart_decay", 3]]]),
}
MAIN = """
import importlib.util, sys, torch
torch.set_num_threads(1)
found = {}
for name in sys.argv[2:]:
    spec = importlib.util.spec_from_file_location(name, f"{sys.argv[1]}/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    weights = [torch.linspace(-1, 1, 12).view(3, 4).requires_grad_(), torch.ones(5).requires_grad_()]
    total = {"total_steps": 10} if "total_steps" in module.Found.__init__.__code__.co_varnames else {}
    optimizer = module.Found(weights, lr=0.01, weight_decay=0.1, **total)
    for step in range(10):
        for weight in weights:
            weight.grad = torch.sin(weight.detach() * (step + 2))
        optimizer.step()
    found[name] = [weight.detach() for weight in weights]
assert "polymath" not in sys.modules
torch.save(found, f"{sys.argv[1]}/found.pt")
"""


def test_takes_the_same_steps_without_polymath(tmp_path):
    for name, rule in RULES.items():
        (tmp_path / f"{name}.py").write_text(as_python(rule, name="Found"))
    (tmp_path / "main.py").write_text(MAIN)
    command = [sys.executable, "-I", "-W", "error", str(tmp_path / "main.py"), str(tmp_path), *RULES]
    subprocess.run(command, check=True, timeout=120)
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    for name, rule in RULES.items():
        weights = [torch.linspace(-1, 1, 12).view(3, 4).requires_grad_(), torch.ones(5).requires_grad_()]
        optimizer = ExpressionOptimizer(weights, rule, lr=0.01, weight_decay=0.1, total_steps=10)
        for step in range(10):
            for weight in weights:
                weight.grad = torch.sin(weight.detach() * (step + 2))
            optimizer.step()
        for mine, theirs in zip(weights, found[name], strict=True):
            torch.testing.assert_close(mine.detach(), theirs, rtol=1e-4, atol=1e-5, msg=lambda s, n=name: f"{n}: {s}")


def test_reads_well():
    text = as_python(KNOWN["powersign"], name="PowerSign")
    assert text.startswith('"""PowerSign, an update rule: the update is e^(sign(g) * sign(m)) * g.')
    assert "torch.exp(torch.sign(g) * torch.sign(corrected_0)) * g" in text
    assert max(map(len, text.splitlines())) <= 120
