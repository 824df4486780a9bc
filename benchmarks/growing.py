"""One growing model: the next task of a family needs fewer examples, and what does not fit costs nothing.

Two thirds of the tasks of a family are learned into one store, `consolidate` makes a trunk of pictures and `absorb`
reads texts, then each remaining task is learned with few examples of each class, with the store and without: nearest
neighbour, support vectors, boosted trees, and a plain net. The best of these four is chosen by the test rows
themselves: a bar a little too high. Every finished piece is kept; an interrupted run goes on when it is begun again.

    python benchmarks/growing.py --quick               a few tasks of each family, 5 minutes
    python benchmarks/growing.py                       all families, about 45 minutes on 2 cores
    python benchmarks/growing.py --families scripts    31 + 12 scripts, about 30 minutes
    python benchmarks/growing.py --families texts-imported     texts with a published encoder (docs/importing.md), about 50 minutes
    python benchmarks/growing.py --again               forget what is kept, begin anew
    python benchmarks/growing.py --report              only the report, from the kept results
    python benchmarks/growing.py --together            copies the tasks of all families that were run into one store
    python benchmarks/growing.py --map docs/pictures/map.svg    draws that store, or the scripts' where there is none

The last two may stand beside any other, or alone after a run.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import common
import data
from families import controls, icons, pages, scripts, tables, texts, together
from families.family import Family, Kept, Plan, grown, place_of, run

NAME = "growing"
OWN: dict[str, Family] = {module.FAMILY.name: module.FAMILY for module in (scripts, controls, icons, texts, tables)}
"""In the order in which they are run: controls are learned into the store of scripts."""
FAMILIES = OWN | {texts.IMPORTED.name: texts.IMPORTED}
"""Those that need knowledge from outside are run only where they are named."""


def draw(place: Path, file: Path) -> None:
    """The map of the model in a family's store, without the tasks that were learned only to be measured."""
    from polymath.explain import write_map

    file.parent.mkdir(parents=True, exist_ok=True)
    print(f"map: {write_map(grown(place), file)}")


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="a few tasks, seconds each: does it run?")
    made.add_argument("--families", nargs="+", choices=FAMILIES, default=list(OWN), help="only these")
    made.add_argument("--seed", type=int, default=0, help="of the order of tasks")
    made.add_argument("--again", action="store_true", help="run these families anew, kept results or not")
    made.add_argument("--report", action="store_true", help="run nothing, write the report from the kept results")
    made.add_argument("--together", action="store_true", help="put all families that were run into one store")
    made.add_argument("--map", type=Path, metavar="FILE", help="draw the model, as SVG or HTML")
    made.add_argument("--cache", type=Path, default=data.DEFAULT_CACHE)
    given = made.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}  # of the processes that learn side by side
    stem = f"{NAME}-quick" if given.quick else NAME
    file = common.HERE / "results" / f"{stem}.jsonl"
    plans: dict[str, Plan] = {name: family.quick if given.quick else family.full for name, family in FAMILIES.items()}
    places = {name: place_of(name, stem=stem, seed=given.seed, cache=given.cache) for name in FAMILIES}
    if given.again and not given.report:
        common.drop(
            file, lambda record: record.get("family", "") in ("", *given.families) and record["seed"] == given.seed
        )
    for name, family in FAMILIES.items():
        kept = Kept(file, family=name, seed=given.seed)
        if given.report or name not in given.families or ("whole",) in kept.records:
            continue
        begin = time.monotonic()
        before = places[family.before] if family.before else None
        run(family, plans[name], kept=kept, place=places[name], begin_with=before, cache=given.cache)
        print(f"{name}: {time.monotonic() - begin:.0f} s", flush=True)
    every = {name: Kept(file, family=name, seed=given.seed) for name in FAMILIES}
    every = {name: kept for name, kept in every.items() if ("whole",) in kept.records}
    whole = Kept(file, family=together.NAME, seed=given.seed)
    if given.together:
        own = {name: kept for name, kept in every.items() if name in OWN}
        together.gathered(own, {name: OWN[name].tasks(given.cache) for name in own}, kept=whole, cache=given.cache)
    if given.map is not None:
        one = place_of(together.NAME, stem=stem, seed=given.seed, cache=given.cache)
        draw(one if one.exists() else places[scripts.FAMILY.name], given.map)
    pages.write(
        [(FAMILIES[name], plans[name], kept) for name, kept in every.items()],
        together.part(whole),
        quick=given.quick,
        told=[f"Seed {given.seed}"],
    )


if __name__ == "__main__":
    sys.path.insert(0, str(common.ROOT / "src"))
    main()
