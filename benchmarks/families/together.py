"""All families in one store: how much of the whole model answers one task, and whether anything answers differently there.

Each family is learned into a store of its own, so that one can be run without the others. Here the tasks that stay are
copied into one, with all that they need. Layers are named by what they are: what two families share is stored once.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reporting import table, verdict

from .family import Kept, Record, grown, place_of
from .few import Task
from .stored import Witness

NAME = "together"
ASKED = 0.05
"""Share of the whole model that may be active for one task."""


def gathered(families: Mapping[str, Kept], tasks: Mapping[str, Sequence[Task]], *, kept: Kept, cache: Path) -> None:
    """Copies every task that stays into one store, asks each what it said at home, and keeps the sizes."""
    from polymath import Polymath

    stem, seed = kept.file.stem, int(kept.of["seed"])
    place = place_of(NAME, stem=stem, seed=seed, cache=cache)
    shutil.rmtree(place, ignore_errors=True)
    (place / "store").parent.mkdir(parents=True)
    family_of: dict[str, str] = {}
    changed = 0
    for family, own in families.items():
        said = {one["address"]: one["said"] for one in own.of_part("said")}
        at_home: dict[str, str] = {}
        home = place_of(family, stem=stem, seed=seed, cache=cache)
        chosen = [task for task in tasks[family] if task.name not in family_of]
        with Polymath(home / "store", read_only=True) as knowledge:
            for task in chosen:
                address = knowledge.store.head(f"task/{task.name}")
                if address is not None:
                    knowledge.copy(task.name, place / "store")
                    at_home[task.name] = said[address]
        family_of |= dict.fromkeys(at_home, family)
        changed += _changed(place, [task for task in chosen if task.name in at_home], at_home)
    kept.add(("whole",), {"family_of": family_of, "changed": changed, **_sizes(place, family_of)})


def _changed(place: Path, tasks: Sequence[Task], at_home: Mapping[str, str]) -> int:
    """Number of tasks that do not answer what they said at home, to the last bit."""
    changed = 0
    witness = Witness(place, tasks, ())
    for task in tasks:
        noted = witness.note(task.name, name=task.name)
        assert noted is not None
        changed += at_home[task.name] != noted["said"]
    return changed


def _sizes(place: Path, names: Mapping[str, str]) -> dict[str, Any]:
    union = grown(place)
    shares = {name: union.share(name) for name in names}
    return {
        "all_parameters": union.all_parameters,
        "active": {name: share.active for name, share in shares.items()},
        "active_work": {name: share.active_work for name, share in shares.items()},
    }


def part(kept: Kept) -> list[str]:
    """The section of the report; nothing where the families were not put together."""
    if ("whole",) not in kept.records:
        return []
    whole = kept.records["whole",]
    shares = whole["active"]
    rows = [_row(f"{family}, {len(names)} tasks", whole, names) for family, names in _families(whole).items()]
    middle = statistics.median(shares.values())
    return [
        "## All families in one store",
        "",
        f"{len(shares)} tasks copied from the families' stores into one; {whole['all_parameters']:,} parameters.",
        "",
        f"- Active share of the whole model's parameters, 5 % or less asked: median {middle:.1%}, largest {max(shares.values()):.1%}, "
        f"{verdict(middle <= ASKED)}",
        f"- Tasks that answer otherwise than at home, 0 asked: {whole['changed']}, {verdict(not whole['changed'])}",
        "",
        *table(["tasks", "active parameters, median (largest)", "active multiply-adds, median (largest)"], rows),
    ]


def _families(whole: Record) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, family in whole["family_of"].items():
        found.setdefault(family, []).append(name)
    return found


def _row(title: str, whole: Record, names: Sequence[str]) -> list[str]:
    cells = [title]
    for what in ("active", "active_work"):
        shares = [whole[what][name] for name in names]
        cells.append(f"{statistics.median(shares):.1%} ({max(shares):.1%})")
    return cells
