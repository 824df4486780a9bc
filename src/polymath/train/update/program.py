"""What there is to know of a rule before it runs: what is computed, what shares memory, what dies when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from .expression import Graph, Node, constants, needed_nodes, running_means
from .vocabulary import MEANS, SCHEDULES


@dataclass(frozen=True)
class Adam:
    """A part `mean(x) / sqrt(mean(x^2))` or `x / sqrt(mean(x^2))` of a rule."""

    source: int
    """Place of x."""
    quotient: int
    """Place of the quotient."""
    first: int | None
    """Place in the state of the mean of x; None if x itself is divided."""
    second: int
    """Place in the state of the mean of x^2."""
    corrected: bool
    """Whether the bias of the means is taken out; else both are `raw_mean`."""


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
    signs: tuple[bool, ...]
    """For each node, whether it is -1, 0 or 1 times a number that is the same for all weights."""
    bare: dict[int, tuple[int, int]]
    """Products of two signs, and the nodes whose signs are not taken: that of their product is."""
    owners: tuple[int, ...]
    """For each node, the node whose tensor it holds."""
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
    bare = _bare(graph, needed, numbers)
    last: dict[int, int] = {}
    for place, node in enumerate(graph):
        if needed[place] and values[place] is None:
            for source in (*node.inputs, *bare.get(place, ())):
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
        signs=tuple(_signs(graph, numbers)),
        bare=bare,
        owners=tuple(owners),
        adams=adams,
        copied=copied,
    )


def _adams(
    graph: Graph, slots: Mapping[tuple[int, float], int], *, needed: list[bool], numbers: Sequence[bool]
) -> dict[int, Adam]:
    """The Adam steps in a graph, by both of their slots; what only they use is needed no more."""
    users = _users(graph, needed)
    found: dict[int, Adam] = {}
    for place, node in enumerate(graph):
        if not needed[place] or node.function != "/":
            continue
        above, below = (graph[source] for source in node.inputs)
        second = graph[below.inputs[0]] if below.function == "sqrt" else below
        if second.function not in ("mean", "raw_mean") or below.function != "sqrt":
            continue
        squared = graph[second.inputs[0]]
        if squared.function != "square" or numbers[squared.inputs[0]]:
            continue
        source = squared.inputs[0]
        averaged = above.function == second.function and above.inputs == (source,)
        if not averaged and node.inputs[0] != source:
            continue
        first_slot = slots[source, above.number or 0.0] if averaged else None
        second_slot = slots[second.inputs[0], second.number or 0.0]
        if first_slot in found or second_slot in found:
            continue
        adam = Adam(source, place, first_slot, second_slot, corrected=second.function == "mean")
        found |= {slot: adam for slot in (first_slot, second_slot) if slot is not None}
        if users[node.inputs[1]] == {place}:
            needed[node.inputs[1]] = False
        if all(_slot(graph[user], slots) == second_slot for user in users[second.inputs[0]]):
            needed[second.inputs[0]] = False
    return found


def _users(graph: Graph, needed: Sequence[bool]) -> list[set[int]]:
    """For each node, the needed nodes that read it."""
    users: list[set[int]] = [set() for _ in graph]
    for place, node in enumerate(graph):
        if needed[place]:
            for source in node.inputs:
                users[source].add(place)
    return users


def _bare(graph: Graph, needed: list[bool], numbers: Sequence[bool]) -> dict[int, tuple[int, int]]:
    """sign(x) * sign(y) is the sign of x * y, which takes two passes instead of three; their own are needed no more."""
    users = _users(graph, needed)
    found: dict[int, tuple[int, int]] = {}
    for place, node in enumerate(graph):
        if not needed[place] or node.function != "*" or node.inputs[0] == node.inputs[1]:
            continue
        left, right = node.inputs
        if all(graph[one].function == "sign" and users[one] == {place} and not numbers[one] for one in node.inputs):
            needed[left] = needed[right] = False
            found[place] = graph[left].inputs[0], graph[right].inputs[0]
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


def _signs(graph: Graph, numbers: Sequence[bool]) -> list[bool]:
    found: list[bool] = []
    for node in graph:
        inner = [found[place] for place in node.inputs]
        fixed = [found[place] or numbers[place] for place in node.inputs]
        product = node.function in ("*", "/") and any(inner) and all(fixed) and (node.function == "*" or not inner[1])
        found.append(node.function == "sign" or product or (node.function == "negate" and all(inner)))
    return found
