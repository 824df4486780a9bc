"""Claim: a power cut at any moment loses nothing that was acknowledged and leaves a sound store.

python benchmarks/store_power.py [--quick] [--rounds 2000] [--seed 0]

A run of the store is recorded: every file and folder that is made, every write, fsync, rename and unlink, and what the
caller was told was done (tasks learned, trials finished, tasks forgotten and collected, another store merged, two
writers putting the same layer). From the record disk states are made, each as a power cut at a random moment may leave
it: bytes count only after fsync of their file and are else missing, cut, zero or rubbish; a name counts only after fsync
of its folder, and any set of later changes of names may be lost, in any order, but a name that is kept keeps the folder
it is in; fsync of a new file keeps the name it was made with (ext4, XFS, Btrfs). The catalogue is as it was at any earlier moment, or gone. Each state is opened as the next
start would; everything acknowledged must be there and right, and the full check must find nothing.

The same with seven stores that were spoiled on purpose: each must be caught.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import store_common as shared
from polymath.spec import BadInput, sha256
from polymath.store import Store, StoreError, disk, forget, merge, objects, recovery, tensors, verify, writing
from store_common import Claim

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


@dataclass
class Event:
    """One thing that happened. `what`: mkdir, create, write, fsync, syncdir, rename, unlink, begin, done or snap."""

    what: str
    path: Path = Path()
    target: Path = Path()
    inode: int = 0
    data: Any = None


@dataclass
class Recorder:
    """Stands between the store and the system calls of `disk`."""

    root: Path
    events: list[Event] = field(default_factory=list)
    names: dict[Path, int] = field(default_factory=dict)
    fresh: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    skip_sync: bool = False

    def note(self, what: str, path: Path = Path(), **more: Any) -> None:
        self.events.append(Event(what, path, **more))

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        create, write, rename, unlink, mkdir = disk.create, disk.write, disk.rename, disk.unlink, os.mkdir

        def inside(path: Any) -> bool:
            return Path(path).is_relative_to(self.root)

        def create_(path: Path) -> int:
            found = create(path)
            if inside(path):
                self.names[path] = next(self.fresh)
                self.note("create", path, inode=self.names[path])
            return found

        def write_(descriptor: int, data: memoryview) -> int:
            count, path = write(descriptor, data), behind(descriptor)
            if inside(path):
                self.note("write", inode=self.names[path], data=bytes(data[:count]))
            return count

        def fsync_(descriptor: int) -> None:
            path = behind(descriptor)  # noted, not done: the disk is a simulated one
            if path.is_dir() and not self.skip_sync:
                self.note("syncdir", path)
            elif path in self.names:  # not the catalogue
                self.note("fsync", inode=self.names[path])

        def rename_(source: Path, target: Path) -> None:
            rename(source, target)
            if inside(target) and source in self.names:
                self.names[target] = self.names.pop(source)
                self.note("rename", source, target=target, inode=self.names[target])

        def unlink_(path: Path) -> None:
            unlink(path)
            if inside(path) and self.names.pop(path, None):
                self.note("unlink", path)

        def mkdir_(path: Any, *rest: Any, **more: Any) -> None:
            mkdir(path, *rest, **more)
            if inside(path):
                self.note("mkdir", Path(path))

        patches = {"create": create_, "write": write_, "rename": rename_, "unlink": unlink_, "fsync": fsync_}
        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch.object(os, "mkdir", mkdir_))
            for name, patch in patches.items():
                stack.enter_context(mock.patch.object(disk, name, patch))
            yield


def behind(descriptor: int) -> Path:
    return Path(os.readlink(f"/proc/self/fd/{descriptor}"))


# What is recorded


@dataclass
class Promise:
    """What a caller was told. `kind`: learned (name, address, layers), forgot (address) or finished (trial, address)."""

    kind: str
    name: str
    address: str
    layers: tuple[int, ...] = ()


class Workload:
    """Things that happen to a store, and what is promised about each."""

    def __init__(self, recorder: Recorder, chance: random.Random, other: Path) -> None:
        self.recorder, self.chance, self.other = recorder, chance, other
        self.store = Store.open(recorder.root)

    def promise(self, kind: str, name: str, address: str, *layers: int) -> None:
        self.recorder.note("done", data=Promise(kind, name, address, layers))
        data = {
            suffix: file.read_bytes()
            for suffix in ("", "-wal")
            if (file := Path(f"{self.recorder.root / 'catalog.db'}{suffix}")).exists()
        }
        self.recorder.note("snap", data=data)

    def learn(self, name: str, layers: list[int]) -> None:
        self.recorder.note("begin", data=name)
        self.promise("learned", name, shared.learn(self.store, name, layers), *layers)

    def forget(self) -> None:
        heads = self.store.heads("task/")
        if heads:
            name = self.chance.choice(sorted(heads))
            address = heads[name]
            self.recorder.note("begin", data=name.removeprefix("task/"))
            forget(self.store, [address])
            self.promise("forgot", name.removeprefix("task/"), address)

    def finish(self, trial: str) -> None:
        layer = self.store.put_tensors(shared.layer(self.chance.randrange(9)))
        fence = self.store.claim(trial, "me")
        assert fence is not None
        address = self.store.finish(trial, fence, {"trial": trial}, refs=[layer])
        assert address is not None
        self.promise("finished", trial, address)

    def race(self, number: int) -> None:
        """Another process is about to make a layer durable when we put the same one."""
        self.recorder.skip_sync = True
        with Store.open(self.recorder.root) as slow:
            slow.put_tensors(shared.layer(number))
        self.recorder.skip_sync = False
        self.learn("raced", [number])

    def merge(self) -> None:
        self.recorder.note("begin", data="from elsewhere")
        merge(self.store, self.other)
        address = self.store.head("task/from elsewhere")
        if address is not None:
            self.promise("learned", "from elsewhere", address, *self.store.record(address)["layers"])

    def run(self, steps: int) -> None:
        for step in range(steps):
            what = self.chance.choice(["learn", "learn", "finish", "forget", "race", "merge"])
            if what == "learn":
                self.learn(f"task {self.chance.randrange(4)}", [self.chance.randrange(8), 100 + step])
            elif what == "finish":
                self.finish(f"trial {step}")
            elif what == "race":
                self.race(1000 + step)
            else:
                getattr(self, what)()
        self.store.close()


def recorded(folder: Path, chance: random.Random, *, steps: int) -> Recorder:
    """A run, from the making of the store on."""
    recorder = Recorder(folder / "knowledge")
    with Store.open(folder / "other") as other:
        shared.learn(other, "from elsewhere", [3, 77])
    with recorder.installed():
        Workload(recorder, chance, folder / "other").run(steps)
    return recorder


# What a power cut leaves


def moment(events: list[Event], chance: random.Random) -> int:
    """When the power goes: any time, or in half of all cases soon after something began."""
    begins = [number for number, event in enumerate(events) if event.what == "begin"]
    if begins and chance.random() < 0.5:
        return min(chance.choice(begins) + chance.randrange(1, 16), len(events))
    return chance.randrange(len(events) + 1)


def after_power_cut(recorder: Recorder, end: int, chance: random.Random) -> tuple[dict[Path, bytes], set[Path], Any]:
    """Files, folders and the catalogue of one state that the disk may be in after the first `end` events."""
    past = recorder.events[:end]
    durable: set[int] = set()
    whole: dict[int, int] = {}  # inode: number of the event of its last fsync
    made: dict[int, Path] = {}
    open_: dict[Path, list[int]] = {}  # folder: changes of names in it that no fsync has kept yet
    for number, event in enumerate(past):
        if event.what in ("mkdir", "create", "unlink"):
            open_.setdefault(event.path.parent, []).append(number)
            made[event.inode] = event.path
        elif event.what == "rename":
            open_.setdefault(event.path.parent, []).append(number)
            open_.setdefault(event.target.parent, []).append(number)
        elif event.what == "syncdir":
            durable.update(open_.pop(event.path, ()))
        elif event.what == "fsync":
            whole[event.inode] = number
            durable.update(_births(past, made[event.inode], event.inode, number))
    luck = chance.choice([0.0, 0.3, 0.7, 1.0])
    names: dict[Path, int] = {}
    folders = {recorder.root}
    for number, event in enumerate(past):
        if event.what not in ("mkdir", "create", "rename", "unlink"):
            continue
        if number not in durable and chance.random() >= luck:
            continue
        if event.what == "mkdir":
            folders.add(event.path)
        elif event.what == "unlink":
            names.pop(event.path, None)
        else:
            target = event.path if event.what == "create" else event.target
            names.pop(event.path, None)
            names[target] = event.inode
            folders.update(folder for folder in target.parents if folder.is_relative_to(recorder.root))
    files = {path: _bytes(past, inode, whole.get(inode, -1), chance) for path, inode in names.items()}
    snaps = [event.data for event in past if event.what == "snap"]
    return files, folders, chance.choice([None, *snaps[-12:]])


def _births(past: list[Event], path: Path, inode: int, end: int) -> Iterator[int]:
    """The events that made a file and the folders around it: fsync of a new file keeps them."""
    above = set(path.parents)
    for number, event in enumerate(past[:end]):
        if (event.what == "create" and event.inode == inode) or (event.what == "mkdir" and event.path in above):
            yield number


def _bytes(past: list[Event], inode: int, synced: int, chance: random.Random) -> bytes:
    """What a file holds: all up to its last fsync, and any part of what was written later."""
    kept = b"".join(event.data for event in past[: synced + 1] if event.what == "write" and event.inode == inode)
    later = b"".join(event.data for event in past[synced + 1 :] if event.what == "write" and event.inode == inode)
    how = chance.choice(["whole", "none", "cut", "zeros", "torn"])
    if how == "whole" or not later:
        return kept + later
    cut = chance.randrange(len(later) // 512 + 1) * 512
    return kept + {"none": b"", "cut": later[:cut], "zeros": bytes(len(later))}.get(
        how, later[:cut] + bytes(len(later) - cut)
    )


def inspected(folder: Path, recorder: Recorder, end: int) -> str:
    """Open a state as the next start would and hold it against the promises; what is wrong, or nothing."""
    past = recorder.events[:end]
    promises = [event.data for event in past if event.what == "done"]
    last = max((n for n, event in enumerate(past) if event.what == "done"), default=-1)
    under_way = {event.data for event in past[last + 1 :] if event.what == "begin"}
    try:
        with Store.open(folder) as store:
            wrong = _broken(store, promises, under_way)
            report = verify(store, level="full")
            shared.served(store)
            return wrong or "".join(finding.what for finding in report.findings[:1])
    except BadInput as error:
        return str(error).replace(str(folder), "the store") if promises else ""
    except (StoreError, AssertionError) as error:
        return f"{type(error).__name__}: {error}"


def _broken(store: Store, promises: list[Promise], under_way: set[str]) -> str:
    meaning: dict[str, Promise] = {}
    forgotten = {promise.address for promise in promises if promise.kind == "forgot"}
    for promise in promises:
        if promise.kind == "learned":
            meaning[promise.name] = promise
        if promise.kind == "finished" and store.find("experiment", promise.name) != promise.address:
            return f"finished {promise.name} is gone"
        if promise.kind == "forgot" and promise.address in {address for address, _ in store.records("task")}:
            return f"forgotten {promise.name} is back"
    for name, promise in meaning.items():
        if promise.address not in forgotten and name not in under_way:
            if store.head(f"task/{name}") != promise.address:
                return f"{name} no longer means what it meant"
            for number, address in zip(promise.layers, store.record(promise.address)["refs"], strict=True):
                if not np.array_equal(store.get_tensors(address)["w"], shared.layer(number)["w"]):
                    return f"{name} has a wrong layer"
    return ""


def states(
    spoil: Callable[[], Any], *, count: int, steps: int, chance: random.Random, stop: bool
) -> tuple[int, list[str]]:
    """Make and look at so many states of runs of a store; how many there were and what was wrong.

    `stop`: one that is wrong is enough.
    """
    wrong: list[str] = []
    done = 0
    while done < count:
        with tempfile.TemporaryDirectory(prefix="store_power", dir=MEMORY) as folder, spoil():
            recorder = recorded(Path(folder), chance, steps=steps)
            for number in range(min(50, count - done)):
                end = moment(recorder.events, chance)
                files, folders, catalogue = after_power_cut(recorder, end, chance)
                state = Path(folder) / f"state{number}"
                for path in sorted(folders):
                    (state / path.relative_to(recorder.root)).mkdir(parents=True, exist_ok=True)
                for path, data in files.items():
                    (state / path.relative_to(recorder.root)).write_bytes(data)
                for suffix, data in (catalogue or {}).items():
                    Path(f"{state / 'catalog.db'}{suffix}").write_bytes(data)
                with mock.patch.object(disk, "boot_identity", lambda: "afterthecut0"):
                    said = inspected(state, recorder, end)
                done += 1
                if said:
                    wrong.append(said)
                    if stop:
                        return done, wrong
    return done, wrong


# Stores spoiled on purpose


def objects_without_fsync() -> Any:
    right = objects.Folder._write

    def write(self: objects.Folder, address: str, chunks: Any) -> None:
        with mock.patch.object(self, "_sync", objects.Sync.NOTHING if self.root.name == "objects" else self._sync):
            right(self, address, chunks)

    return mock.patch.object(objects.Folder, "_write", write)


def records_without_fsync() -> Any:
    right = objects.Folder._write

    def write(self: objects.Folder, address: str, chunks: Any) -> None:
        with mock.patch.object(self, "_sync", objects.Sync.NOTHING if self.root.name == "records" else self._sync):
            right(self, address, chunks)

    return mock.patch.object(objects.Folder, "_write", write)


def folders_without_fsync() -> Any:
    return mock.patch.object(disk, "sync_directory", lambda path: None)


def hits_without_fsync() -> Any:
    right = objects.Folder.put_all

    def put_all(self: objects.Folder, some: Any) -> None:
        if any(self.size(address) is None for address in some) or self.root.name == "records":
            right(self, some)

    return mock.patch.object(objects.Folder, "put_all", put_all)


def renamings_not_repeated() -> Any:
    return mock.patch.object(recovery, "rescue", lambda store: None)


def record_before_objects() -> Any:
    def learn(store: Store, name: str, numbers: list[int]) -> str:
        layers = [shared.layer(number) for number in numbers]
        refs = [sha256(tensors.encode(layer)) for layer in layers]
        with mock.patch.object(writing, "sizes", lambda store, made: {ref: 0 for one in made for ref in one.refs}):
            address = store.add_record("task", {"name": name, "layers": numbers, "refs": refs}, refs=refs)
            store.set_head(f"task/{name}", address)
        for layer in layers:
            store.put_tensors(layer)
        return address

    return mock.patch.object(shared, "learn", learn)


def objects_removed_before_the_tombstone() -> Any:
    def wrong(store: Store, addresses: list[str]) -> None:
        own = {ref for address in addresses for ref in store.entry(address).refs}
        for ref in own:
            if len(store.catalogue.dependents(ref)) == 1:
                store.objects.remove(ref)
        store.tombstone(*addresses)

    return mock.patch.object(sys.modules[__name__], "forget", wrong)


SPOILED = [
    objects_without_fsync,
    records_without_fsync,
    folders_without_fsync,
    hits_without_fsync,
    renamings_not_repeated,
    record_before_objects,
    objects_removed_before_the_tombstone,
]


def main() -> int:
    chosen = shared.arguments(__doc__, rounds=2000, quick=100, what="states of the disk")
    begin = time.monotonic()
    count, wrong = states(
        contextlib.nullcontext, count=chosen.rounds, steps=14, chance=random.Random(chosen.seed), stop=False
    )
    for said in wrong[:10]:
        print(said, file=sys.stderr)
    claims = [
        Claim("states of the disk after a power cut", count),
        Claim("... in which something acknowledged was gone, or anything was unsound", len(wrong), 0),
        Claim("stores spoiled on purpose", len(SPOILED)),
    ]
    for spoil in SPOILED:
        tried, found = states(
            spoil, count=max(chosen.rounds // 4, 100), steps=14, chance=random.Random(chosen.seed), stop=True
        )
        said = f" after {tried} states: {found[0][:70]}" if found else f" in {tried} states"
        claims.append(Claim(f"... {spoil.__name__.replace('_', ' ')}: caught{said}", len(found), 1))
        print(claims[-1], file=sys.stderr)
    return shared.report("store_power", "Power cuts", __doc__, claims, chosen=chosen, seconds=time.monotonic() - begin)


if __name__ == "__main__":
    raise SystemExit(main())
