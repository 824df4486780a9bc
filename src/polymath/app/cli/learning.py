"""What adds to the store by learning: a task, features, a trunk, a student."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import root
from .root import (
    KNOWLEDGE,
    Budget,
    Cost,
    Data,
    Device,
    Engine,
    Ignore,
    Json,
    Lanes,
    Layers,
    Memory,
    Name,
    Seed,
    Store,
    Types,
    Work,
    command,
)


@command
def learn(
    data: Data,
    target: Annotated[
        list[str] | None, typer.Option("--target", "-t", help="Column to predict; may be repeated.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", "-n", help="Name of the task (default: from DATA).")] = None,
    budget: Budget = None,
    work: Work = None,
    type_: Types = None,
    raters: Annotated[
        list[str] | None, typer.Option("--raters", help="TARGET=COLUMN,COLUMN,...: who graded it; may be repeated.")
    ] = None,
    ignore: Ignore = None,
    metric: Annotated[
        str | None, typer.Option("--metric", help="What to make best, for example auc, rmse, f1_macro.")
    ] = None,
    test: Annotated[str | None, typer.Option("--test", help="File or folder with the test rows.")] = None,
    validation: Annotated[str | None, typer.Option("--validation", help="File or folder with validation rows.")] = None,
    split: Annotated[str | None, typer.Option("--split", help="random, stratified, group:COLUMN, time:COLUMN.")] = None,
    test_fraction: Annotated[float, typer.Option(help="Share of the rows kept for the one test at the end.")] = 0.2,
    problem: Annotated[Path | None, typer.Option("--problem", help="Problem file (TOML or JSON).")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    engine: Engine = "processes",
    lanes: Lanes = None,
    generator: Annotated[
        str | None, typer.Option(help="Who proposes experiments: bandit, random, surrogate, evolution, ...")
    ] = None,
    cutter: Annotated[str | None, typer.Option(help="Who cuts them between rungs: halving, top_k, median, ...")] = None,
    space: Annotated[
        str | None, typer.Option(help="What is searched: all, paths, families, heads, small or recall.")
    ] = None,
    layer: Layers = None,
    memory: Memory = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Build upon no stored task.")] = False,
    private: Annotated[bool, typer.Option("--private", help="Later tasks may not build upon this one.")] = False,
    gate: Annotated[
        str, typer.Option("--gate", help="TASK[:VALUE[@PROBABILITY]]: answer only where that task says so.")
    ] = "",
    cost: Cost = "",
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Learn a task from DATA: infer the problem, search for a model, add it to the store."""
    from .. import commands

    commands.learn(
        data,
        begin=root.BEGIN,
        store=store,
        as_json=json,
        target=tuple(target or ()),
        name=name,
        budget=budget,
        work=work,
        types=tuple(type_ or ()),
        raters=tuple(raters or ()),
        ignore=tuple(ignore or ()),
        metric=metric,
        test=test,
        validation=validation,
        split=split,
        test_fraction=test_fraction,
        problem=problem,
        seed=seed,
        device=device,
        engine=engine,
        lanes=lanes,
        memory=memory,
        layers=commands.own(layer),
        build_on=not fresh,
        private=private,
        gate=gate,
        cost=cost,
        **{word: given for word, given in (("generator", generator), ("cutter", cutter), ("space", space)) if given},
    )


@command
def refresh(
    task: Name,
    data: Data,
    budget: Budget = None,
    work: Work = None,
    seed: Seed = 0,
    device: Device = "auto",
    engine: Engine = "processes",
    lanes: Lanes = None,
    layer: Layers = None,
    memory: Memory = None,
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Learn a task further from the new rows of DATA. Exit code 0, published or not: the output says which."""
    from .. import commands, refreshing

    refreshing.refresh(
        task,
        data,
        begin=root.BEGIN,
        budget=budget,
        memory=memory,
        store=store,
        as_json=json,
        work=work,
        seed=seed,
        device=device,
        engine=engine,
        lanes=lanes,
        layers=commands.own(layer),
    )


@command
def rollback(
    task: Name,
    to: Annotated[
        int | None, typer.Option("--to", min=1, help="Number of the version (default: the one before).")
    ] = None,
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Put an earlier version of a task in force; `show` lists them."""
    from .. import refreshing

    refreshing.rollback(task, to=to, store=store, as_json=json)


@command
def absorb(
    data: Data,
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="Name of what is absorbed (default: from DATA).")
    ] = None,
    budget: Budget = None,
    type_: Types = None,
    ignore: Ignore = None,
    seed: Annotated[int, typer.Option(help="Same seed and data: same features, if there is time for all rows.")] = 0,
    memory: Memory = None,
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Learn features from pictures, texts or a table without a target, for later tasks to build upon."""
    from .. import absorbing

    absorbing.absorb(
        data,
        begin=root.BEGIN,
        name=name,
        budget=budget,
        types=tuple(type_ or ()),
        ignore=tuple(ignore or ()),
        memory=memory,
        store=store,
        as_json=json,
        seed=seed,
    )


@command
def consolidate(
    budget: Annotated[str, typer.Option("--budget", "-b", help="Time for the trunks: 60s, 10m, 2h.")] = "10m",
    only: Annotated[list[str] | None, typer.Option("--only", help="Only this task; may be repeated.")] = None,
    seed: Annotated[int, typer.Option(help="Of the search for the trunks.")] = 0,
    device: Device = "auto",
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Sleep: learn one trunk from all pictures, and one from all texts, and move the tasks that they serve no worse."""
    from .. import consolidating

    consolidating.consolidate(
        tuple(only or ()), begin=root.BEGIN, budget=budget, seed=seed, device=device, store=store, as_json=json
    )


@command
def distill(
    task: Name,
    data: Annotated[
        str | None, typer.Option("--data", help="What it was learned from (default: where that was).")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", "-n", help="Name of the student (default: TASK-small).")] = None,
    budget: Budget = None,
    work: Work = None,
    seed: Seed = 0,
    device: Device = "auto",
    engine: Engine = "processes",
    lanes: Lanes = None,
    layer: Layers = None,
    memory: Memory = None,
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Teach a small, fast student the answers of TASK."""
    from .. import commands, distilling

    distilling.distill(
        task,
        data=data,
        name=name,
        begin=root.BEGIN,
        budget=budget,
        memory=memory,
        store=store,
        as_json=json,
        work=work,
        seed=seed,
        device=device,
        engine=engine,
        lanes=lanes,
        layers=commands.own(layer),
    )


@command
def import_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of what is imported.")],
    tensors: Annotated[
        Path, typer.Argument(metavar="FILE", help="Tensors (.safetensors), or the folder of a published text encoder.")
    ],
    layers: Annotated[
        Path | None, typer.Option("--layers", help="JSON file: ports, path, and which tensor goes to which layer.")
    ] = None,
    words: Annotated[
        Path | None, typer.Option("--words", help="vocab.txt of layers that read texts: a word piece on each line.")
    ] = None,
    layer: Layers = None,
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Take in pretrained layers, frozen, for later tasks to build upon."""
    from .. import commands, whole

    commands.own(layer)
    whole.take_in(name, tensors, layers, words, store=store, as_json=json)
