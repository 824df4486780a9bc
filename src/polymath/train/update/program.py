"""What there is to know of a rule before it runs: what is computed, what shares memory, what dies when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from .expression import Graph, Node, constants, needed_nodes, running_means
from .vocabulary import MEANS, SCHEDULES


@dataclass(frozen=True)
class Adam:
    """A part `mean(x) / sqrt(mean(x^2))` of a rule: places of its means in the state, and of the quotient."""

    first: int
    second: int
    quotient: int


@dataclass(frozen=True)
class Program:
    """What is known of a graph before it runs."""

    values: tuple[float | None, ...]
    """Constants."""
    needed: tuple[bool, ...]
    """Nodes that are computed: not constants, nor what only constants use."""
    dying: tuple[tuple[int, ...], ...]
    """For each node, the nodes whose tensors nothing after it reads: it may write over them."""
    means: tuple[tuple[int, float], ...]
    slots: dict[tuple[int, float], int]
    """Their places in the state."""
    positive: tuple[bool, ...]
    """For each node, whether it is never negative."""
    adams: dict[int, Adam]
    """For the means that a fused Adam step brings up to date, which it is."""
    copied: tuple[bool, ...]
    """For each mean, whether its previous value is still read when it is brought up to date."""


@lru_cache(maxsize=4096)
def program_of(graph: Graph, fused: bool = True) -> Program:
    """What there is to know of a graph; `fused`: Adam steps within it are left to PyTorch's kernel."""
    values = constants(graph)
    needed = list(needed_nodes(graph))
    means = running_means(graph)
    readers: dict[tuple[int, float], set[str]] = {slot: set() for slot in means}
    positive = _positive(graph)
    numbers = _numbers(graph, values)
    owners = _owners(graph, numbers, positive)
    slots = {slot: number for number, slot in enumerate(means)}
    adams = _adams(graph, slots, needed=needed, numbers=numbers) if fused else {}
    last: dict[int, int] = {}
    for place, node in enumerate(graph):
        if needed[place] and values[place] is None:
            for source in node.inputs:
                last[owners[source]] = place
        if needed[place] and node.function in MEANS:
            readers[node.inputs[0], node.number or 0.0].add(node.function)
    root = graph[owners[-1]]
    copied = tuple(
        "previous_mean" in readers[slot]
        and (len(readers[slot]) > 1 or (root.function == "previous_mean" and (root.inputs[0], root.number) == slot))
        for slot in means
    )
    late = {slot for slot in means if readers[slot] == {"previous_mean"}}  # brought up to date at the end
    kept = {owners[source] for source, memory in late} | {owners[-1]}
    kept |= {place for place, node in enumerate(graph) if node.function in ("g", "w", *MEANS)}
    dying: list[list[int]] = [[] for _ in graph]
    for owner, place in last.items():
        if owner not in kept and values[owner] is None:
            dying[place].append(owner)
    return Program(
        values=values,
        needed=tuple(needed),
        dying=tuple(tuple(places) for places in dying),
        means=means,
        slots=slots,
        positive=tuple(positive),
        adams=adams,
        copied=copied,
    )


def _adams(
    graph: Graph, slots: Mapping[tuple[int, float], int], *, needed: list[bool], numbers: Sequence[bool]
) -> dict[int, Adam]:
    """The Adam steps in a graph, by both of their slots; what only they use is needed no more."""
    users: list[set[int]] = [set() for _ in graph]
    for place, node in enumerate(graph):
        if needed[place]:
            for source in node.inputs:
                users[source].add(place)
    found: dict[int, Adam] = {}
    for place, node in enumerate(graph):
        if not needed[place] or node.function != "/":
            continue
        above, below = (graph[source] for source in node.inputs)
        if above.function != "mean" or below.function != "sqrt" or graph[below.inputs[0]].function != "mean":
            continue
        second = graph[below.inputs[0]]
        squared = graph[second.inputs[0]]
        if squared.function != "square" or squared.inputs != above.inputs or numbers[above.inputs[0]]:
            continue
        first_slot = slots[above.inputs[0], above.number or 0.0]
        second_slot = slots[second.inputs[0], second.number or 0.0]
        if first_slot in found or second_slot in found:
            continue
        found[first_slot] = found[second_slot] = Adam(first_slot, second_slot, place)
        if users[node.inputs[1]] == {place}:
            needed[node.inputs[1]] = False
        if all(_slot(graph[user], slots) == second_slot for user in users[second.inputs[0]]):
            needed[second.inputs[0]] = False
    return found


def _slot(node: Node, slots: Mapping[tuple[int, float], int]) -> int | None:
    return slots[node.inputs[0], node.number or 0.0] if node.function in MEANS else None


def _numbers(graph: Graph, values: Sequence[float | None]) -> list[bool]:
    """For each node, whether it is one number for all weights: constants, schedules and what follows from them."""
    found: list[bool] = []
    for place, node in enumerate(graph):
        follows = bool(node.inputs) and node.function not in ("drop", *MEANS) and all(found[i] for i in node.inputs)
        found.append(values[place] is not None or node.function in SCHEDULES or follows)
    return found


def _owners(graph: Graph, numbers: Sequence[bool], positive: Sequence[bool]) -> list[int]:
    """For each node, the node whose tensor it holds: multiplying by a number changes the scale only."""
    owners: list[int] = []
    for place, node in enumerate(graph):
        inner = [numbers[source] for source in node.inputs]
        owner = place
        shares = node.function == "negate" or (node.function == "abs" and positive[node.inputs[0]])
        if shares or (node.function == "/" and inner[1]):
            owner = owners[node.inputs[0]]
        elif node.function == "*" and any(inner):
            owner = owners[node.inputs[1 if inner[0] else 0]]
        owners.append(owner)
    return owners


def _positive(graph: Graph) -> list[bool]:
    found: list[bool] = []
    for node in graph:
        inner = [found[place] for place in node.inputs]
        always = node.function in ("abs", "square", "sqrt", "exp", "power", "linear_decay", "cosine_decay")
        passes = node.function in ("+", "*", "/", "drop", "clip", "cube", "sign", "tanh", *MEANS) and all(inner)
        found.append(always or passes or (node.function == "constant" and (node.number or 0.0) >= 0))
    return found
