"""Who may import whom. DESIGN.md section 3 says it in words; this table is what counts.

If the test stops you, move the code, not the door.
"""

from __future__ import annotations

import graphlib

import pytest

WHAT_IS_LEARNED_WITH = {"spec", "problem", "model", "store", "engine", "train", "search", "search.spaces"}

# A room and the rooms that it may import. "polymath" is the package's own __init__: the names a user sees.
# "search" is its loop, generators, cutters and ledger; its spaces are a room of their own, because only they see
# what is being searched.
DOORS: dict[str, set[str]] = {
    "spec": set(),
    "problem": {"spec"},
    "store": {"spec"},
    "engine": {"spec"},
    "model": {"spec", "problem"},
    "train": {"spec", "problem", "model", "store", "engine"},
    "search": {"spec", "store", "engine"},
    "search.spaces": {"spec", "store", "engine", "search", "problem", "model", "train"},
    "deploy": {"spec", "problem", "model", "store"},
    "explain": {"spec", "problem", "model", "store"},
    # These compose the rooms above; the first two stay light, for they run where nothing is trained.
    "predicting": {"spec", "problem", "model", "store", "engine", "gating"},
    "gating": {"spec", "problem"},  # a task that is asked before another
    "serving": {"spec", "problem", "model", "store", "predicting"},  # many tasks answered together
    "importing": {"spec", "problem", "model", "store"},  # knowledge from outside
    "growing": {"spec", "problem", "model", "store", "predicting", "importing"},  # the union of all paths
    "evaluating": {"spec", "problem", "model", "store", "engine", "predicting"},
    "learning": {*WHAT_IS_LEARNED_WITH, "gating", "inventing", "predicting", "evaluating", "importing"},
    "inventing": {*WHAT_IS_LEARNED_WITH},  # update rules and cells: searched, adopted
    "experiments": {"spec", "store", "engine", "search", "train", "predicting"},  # looks into the ledger
    "keeping": {"spec", "store", "search", "predicting", "importing", "inventing", "model"},  # forget, merge, copy
    # These are what a user touches: the classes, scikit-learn's form of them, the names, the command line.
    "knowledge": {
        "spec",
        "problem",
        "search",
        "store",
        "predicting",
        "serving",
        "growing",
        "evaluating",
        "experiments",
        "keeping",
        "learning",
        "deploy",
        "explain",
    },
    "estimators": {"spec", "problem", "store", "knowledge"},
    "polymath": {"spec", "train", "knowledge", "estimators"},
    "app": {
        "spec",
        "problem",
        "importing",
        "search",
        "polymath",
        "knowledge",
        "predicting",
        "serving",
        "growing",
        "evaluating",
        "experiments",
        "inventing",
        "learning",
        "deploy",
        "explain",
    },
    "__main__": {"app"},
    "testing": {*WHAT_IS_LEARNED_WITH, "predicting", "evaluating", "learning", "knowledge", "deploy", "explain"},
}
FOR_NOBODY = {"app": {"__main__"}, "testing": set()}  # room: the only rooms that may import it


def room_of(module: str) -> str:
    """The room of a module by the longest name in the table; its first name where the table has none."""
    if not module:
        return "polymath"
    parts = module.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((name for name in names if name in DOORS), parts[0])


def test_every_room_is_in_the_table(modules):
    unknown = sorted({room_of(module.name) for module in modules} - set(DOORS))
    assert not unknown, f"rooms without a door: {unknown}. Add them to DESIGN.md section 3 and here, or use a room."


def test_every_import_goes_through_a_door(modules):
    wrong = {}  # one line for each, however many names it imports
    for module in modules:
        here = room_of(module.name)
        for name, line in module.imports:
            there = room_of(name)
            if there != here and there not in DOORS.get(here, set()):
                wrong[f"{module}:{line}: {here} may not import {there}"] = None
    assert not wrong, "\n" + "\n".join(wrong)


def test_rooms_import_each_other_in_no_circle(modules):
    graph: dict[str, set[str]] = {}
    for module in modules:
        here = room_of(module.name)
        graph.setdefault(here, set()).update(room_of(name) for name, _ in module.imports if room_of(name) != here)
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError with the circle


def test_the_table_itself_is_sound():
    graphlib.TopologicalSorter(DOORS).prepare()
    assert {room for allowed in DOORS.values() for room in allowed} <= set(DOORS)
    for room, allowed in FOR_NOBODY.items():
        assert {name for name, may in DOORS.items() if room in may} == allowed


@pytest.mark.parametrize(
    ("module", "room"),
    [
        ("", "polymath"),
        ("spec", "spec"),
        ("model.layers.norm", "model"),
        ("search.generators.random", "search"),
        ("search.spaces.path", "search.spaces"),
        ("cellar.wine", "cellar"),
    ],
)
def test_room_of(module, room):
    assert room_of(module) == room
