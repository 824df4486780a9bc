"""Any cell runs as its graph says, forward and backward; LSTM and GRU are torch's; no cell gets one clear line."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from polymath.model.cells import ELMAN, GRU, KNOWN, LSTM, Cell, Node, parse_cell
from polymath.model.cells.module import CellModule
from polymath.model.cells.plan import planned
from polymath.model.cells.running import plainly, run
from polymath.spec import BadInput


@pytest.mark.parametrize(("cell", "peer"), [(LSTM, nn.LSTM), (GRU, nn.GRU)])
def test_lstm_and_gru_are_those_of_torch(cell, peer):
    torch.manual_seed(0)
    theirs, ours = peer(5, 7, batch_first=True).double(), CellModule(cell, 5, 7).double()
    ours.load_torch(theirs)
    x = torch.randn(3, 11, 5, dtype=torch.float64)
    weight = torch.randn(3, 11, 7, dtype=torch.float64)
    gradients = []
    for module in (theirs, ours):
        given = x.clone().requires_grad_()
        answer = module(given)[0]
        (answer * weight).sum().backward()
        gradients.append((answer, given.grad))
    assert torch.allclose(gradients[0][0], gradients[1][0], atol=1e-12)
    assert torch.allclose(gradients[0][1], gradients[1][1], atol=1e-12)
    # Weights of torch taken by a cell again give gradients in the same places: compare them as a cell.
    kept = CellModule(cell, 5, 7).double()
    holder = peer(5, 7, batch_first=True).double()
    with torch.no_grad():
        for parameter, source in zip(holder.parameters(), theirs.parameters(), strict=True):
            parameter.copy_(source.grad)
    kept.load_torch(holder)
    assert torch.allclose(kept.map_x, ours.map_x.grad, atol=1e-12)
    assert torch.allclose(kept.map_h, ours.map_h.grad, atol=1e-12)


def random_cell(seed):
    """Any graph that is a cell: linear nodes of all three kinds, operations on anything before them, maybe a memory."""
    generator = np.random.default_rng(seed)
    with_memory = bool(generator.integers(2))
    inputs = [("x", "h"), ("x",), ("h",)]
    nodes = [Node(name="p0", operation="linear", inputs=("x", "h"))]
    nodes += [
        Node(name=f"p{i}", operation="linear", inputs=inputs[int(generator.integers(3))])
        for i in range(1, int(generator.integers(1, 5)))
    ]
    values = [*(node.name for node in nodes), "h", *(["c"] if with_memory else [])]
    for i in range(int(generator.integers(3, 12))):
        operation = ["add", "subtract", "multiply", "tanh", "sigmoid", "relu", "identity"][int(generator.integers(7))]
        taken = [values[int(generator.integers(len(values)))] for _ in range(2)]
        number = 2 if operation in ("add", "subtract", "multiply") else 1
        nodes.append(Node(name=f"n{i}", operation=operation, inputs=tuple(taken[:number])))
        values.append(f"n{i}")
    last = nodes[-1].name
    nodes += [Node(name="hidden", operation="tanh", inputs=(last,))]
    memory = None
    if with_memory:
        source = ["hidden", "n0", "c"][int(generator.integers(3))]
        nodes += [
            Node(name="kept", operation="multiply", inputs=("c", source)),
            Node(name="memory", operation="tanh", inputs=("kept",)),
        ]
        memory = "memory"
    reached, waiting = set(), ["hidden", *([memory] if memory else [])]
    by_name = {node.name: node for node in nodes}
    while waiting:
        name = waiting.pop()
        if name in by_name and name not in reached:
            reached.add(name)
            waiting += by_name[name].inputs
    nodes = [node for node in nodes if node.name in reached]
    if not any("x" in node.inputs for node in nodes):
        return random_cell(seed + 100_000)
    return Cell(nodes=tuple(nodes[::-1]), hidden="hidden", memory=memory)


def weights(cell, *, copies, given=3, width=4):
    plan = planned(cell)
    slots = len(plan.slots)
    shapes = {
        "map_x": (copies, given, plan.num_x * width),
        "map_h": (copies, width, (slots - plan.first_h) * width),
        "bias": (copies, slots * width),
        "h_SBH": (copies, 2, width),
        "c_SBH": (copies, 2, width),
    }
    generator = torch.Generator().manual_seed(1)
    made = {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}
    return plan, {name: tensor.requires_grad_() for name, tensor in made.items()}


@pytest.mark.parametrize("copies", [1, 2])
def test_every_graph_runs_as_it_is_written(copies):
    kinds = set()
    for cell in [*(random_cell(seed) for seed in range(60)), ELMAN]:
        plan, given = weights(cell, copies=copies)
        kinds.add((bool(cell.memory), plan.overlap, plan.earlier, plan.first_h < len(plan.slots)))
        x = torch.randn(
            copies, 4, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
        ).requires_grad_()
        found = []
        for function in (plainly, run):
            hidden, memory = function(plan, x, **given)
            scale = torch.linspace(-1, 2, hidden.numel(), dtype=torch.float64).view_as(hidden)
            total = (hidden * scale).sum() + (memory * scale[:, 0]).sum()
            tensors = [x, *given.values()]
            gradients = torch.autograd.grad(total, tensors, allow_unused=True, materialize_grads=True)
            found.append([hidden, memory, *gradients])
        for ours, wanted in zip(found[1], found[0], strict=True):
            assert torch.allclose(ours, wanted, atol=1e-9, rtol=1e-9), cell.to_json()
    assert {True, False} == {kind[0] for kind in kinds} == {kind[1] for kind in kinds}
    assert {"h", "c"} == {kind[2] for kind in kinds}


def test_descriptions_go_to_json_and_back():
    for cell in KNOWN.values():
        assert Cell.from_json(cell.to_json()) == cell
    assert (
        LSTM.num_parameters(7, 5) == sum(p.numel() for p in CellModule(LSTM, 5, 7).parameters()) == 4 * 7 * (5 + 7 + 1)
    )


def described(hidden="h_t", memory=None, **nodes):
    made = [{"name": name, "operation": words.split()[0], "inputs": words.split()[1:]} for name, words in nodes.items()]
    return {"nodes": made, "hidden": hidden, "memory": memory}


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (described(a="linear x h", h_t="tanh b"), "'h_t' .tanh. takes an unknown name .got 'b'"),
        (described(a="linear x h", h_t="sine a"), "'h_t' has an unknown operation .got 'sine'"),
        (described(a="linear x h", h_t="tanh a a"), "'h_t' .tanh. takes 1 input"),
        (described(a="linear x h", h_t="add a"), "'h_t' .add. takes 2 input"),
        (described(a="linear x h", b="add a d", d="tanh b", h_t="tanh d"), "circle: b -> d -> b|circle: d -> b -> d"),
        (described(a="linear x c", h_t="tanh a"), "takes c, but this cell has no memory"),
        (
            described(a="linear x h", b="tanh a", memory="m", m="multiply b c", h_t="tanh c", n="linear m"),
            "maps x, h or both",
        ),
        (described(a="linear x h", h_t="multiply a x"), "takes x, whose width"),
        (described(a="linear h", h_t="tanh a"), "reads no x"),
        (described(a="linear x h", b="tanh a", h_t="tanh a"), "nothing takes: b"),
        (described(a="linear x h", hidden="a"), "hidden is a linear node"),
        (described(a="linear x h", h_t="tanh a", hidden="q"), "hidden names no node"),
        (described(a="linear x h", h_t="tanh a", m="tanh a", memory="m"), "memory that nothing reads"),
        (described(a="linear x h", h="tanh a", hidden="h"), "is no name for a node"),
        ({"nodes": [], "hidden": "h"}, "1 to 64 nodes"),
        ({"nodes": [{"name": "a"}], "hidden": "h"}, "is no cell: nodes.0.operation"),
        (
            described(a="linear x h", n0="tanh a", hidden="n40", **{f"n{i + 1}": f"tanh n{i}" for i in range(40)}),
            "41 elementwise nodes in a row",
        ),
    ],
)
def test_what_is_no_cell_gets_one_clear_line(description, message):
    with pytest.raises(BadInput, match=message) as caught:
        parse_cell(description)
    assert "\n" not in str(caught.value)


def test_the_state_is_handed_on():
    torch.manual_seed(0)
    module, x = CellModule(LSTM, 3, 4), torch.randn(2, 6, 3)
    whole, (h, c) = module(x)
    first, state = module(x[:, :3])
    rest, last = module(x[:, 3:], state)
    assert torch.allclose(torch.cat([first, rest], 1), whole, atol=1e-6)
    assert torch.allclose(last[0], h, atol=1e-6) and torch.allclose(last[1], c, atol=1e-6)


@pytest.mark.slow
def test_a_tracer_can_follow_a_cell():
    module, x = CellModule(GRU, 3, 4).eval(), torch.randn(2, 6, 3)
    exported = torch.export.export(module, (x,)).module()
    assert torch.allclose(exported(x)[0], module(x)[0], atol=1e-6)


def test_slots_stand_so_that_few_calls_do():
    for cell in (LSTM, GRU):
        calls = planned(cell).calls
        assert len(calls) <= 6
    assert not planned(LSTM).overlap
    assert all(a != b for a, b in itertools.pairwise(call.operation for call in planned(LSTM).calls if not call.node))
