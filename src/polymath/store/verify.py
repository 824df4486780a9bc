"""Looking after a store: is everything there and unharmed (`verify`), and the index made anew (`rebuild`).

Neither deletes anything.
"""

from __future__ import annotations

import contextlib
import enum
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from . import records
from .errors import CorruptObject, MissingObject, StoreError
from .objects import ADDRESS
from .records import Record
from .store import Store, believable, is_text_of

SETTLING_SECONDS = 2.0  # a writer that lives gives its record a row within milliseconds of the file


class Fault(enum.IntFlag):
    """What can be wrong; together they are the exit status of `polymath verify`."""

    CORRUPT = 1
    MISSING = 2
    UNREADABLE = 4
    INDEX = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is wrong, and the records that need it as (kind, id)."""

    fault: Fault
    address: str
    what: str
    needed_by: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyReport:
    """What was looked at and what is wrong. `complete` is False if the time was up first; verify again to go on."""

    findings: tuple[Finding, ...]
    checked: int
    bytes: int
    unused: int
    complete: bool
    seconds: float

    @property
    def exit_status(self) -> int:
        """0 if sound, else the sum of the faults: 1 corrupt, 2 missing, 4 unreadable, 8 index differs."""
        status = Fault(0)
        for finding in self.findings:
            status |= finding.fault
        return int(status)


@dataclass(frozen=True, kw_only=True, slots=True)
class RebuildReport:
    """How many records are in the new catalogue, and the addresses of those that could not be read."""

    records: int
    damaged: tuple[str, ...]
    seconds: float


def verify(
    store: Store, *, level: Literal["quick", "full"] = "quick", max_seconds: float | None = None
) -> VerifyReport:
    """Check a store while others use it.

    `quick`: the catalogue is sound, every record is there and everything it needs has the right size. `full`: also hash
    every object, and compare every row of the catalogue with its record. Objects checked longest ago come first, so
    that runs cut short by `max_seconds` cover everything in turn.
    """
    start = time.monotonic()
    deadline = float("inf") if max_seconds is None else start + max_seconds
    round_ = _Round(store, deadline)
    round_.index(full=level == "full")
    if level == "full":
        round_.contents()
    else:
        round_.sizes()
    return VerifyReport(
        findings=tuple(round_.findings),
        checked=round_.checked,
        bytes=round_.bytes,
        unused=round_.unused,
        complete=round_.complete,
        seconds=time.monotonic() - start,
    )


class _Round:
    """One run of verify: what it found so far."""

    def __init__(self, store: Store, deadline: float) -> None:
        self.store, self.deadline = store, deadline
        self.findings: list[Finding] = []
        self.checked = self.bytes = self.unused = 0
        self.complete = True

    def note(self, fault: Fault, address: str, what: str) -> None:
        try:
            needed_by = tuple(sorted(self._users(address), key=str)) if ADDRESS.fullmatch(address) else ()
        except StoreError:
            needed_by = ()
        self.findings.append(Finding(fault=fault, address=address, what=what, needed_by=needed_by))

    def _users(self, address: str) -> Iterator[tuple[str, str]]:
        """The records that need an object, by the names that people know them by where they have any."""
        for kind, name, record in self.store.catalogue.dependents(address):
            try:
                yield kind, str(self.store.record(believable(record)).get("name", name))
            except StoreError:  # it is damaged too, and named by itself
                yield kind, name

    def late(self) -> bool:
        if time.monotonic() > self.deadline:
            self.complete = False
        return not self.complete

    def index(self, *, full: bool) -> None:
        """The catalogue: sound in itself, one row per record file, and the same as the records say."""
        catalogue = self.store.catalogue
        try:
            for sentence in catalogue.check(full=full):
                self.note(Fault.INDEX, "catalog.db", sentence)
            rows = catalogue.addresses()
            files = set(self.store.record_files.addresses())
            for address in sorted(rows - files - catalogue.hidden()):  # hidden ones may have been collected
                self.note(Fault.MISSING, address, "the catalogue knows this record and its file is gone")
            for address in sorted(self._without_row(files)):
                self.note(Fault.INDEX, address, "this record has no row in the catalogue")
            if full:
                self._compare(rows & files)
        except StoreError as error:
            self.note(Fault.INDEX, "catalog.db", str(error))

    def _without_row(self, files: set[str]) -> set[str]:
        """Record files without a row, once whoever is writing just now has had time to add it."""
        end = time.monotonic() + SETTLING_SECONDS
        while absent := {address for address in files - self.store.catalogue.addresses() if self._readable(address)}:
            if time.monotonic() > end:
                return absent
            time.sleep(0.05)
        return set()

    def _readable(self, address: str) -> bool:
        try:
            self.store.record_files.read(address)
        except StoreError:
            return False
        return True

    def _compare(self, addresses: set[str]) -> None:
        """Rows against records, and which of them count against what the whole set of records says."""
        found: list[Record] = []
        for address in sorted(addresses):
            if self.late():
                return
            record = self._truth(address)
            if record is None:
                continue  # named by `contents`
            row = (record.kind, record.id, record.fence, record.written, record.text, record.refs)
            if self.store.catalogue.rows(address) != row:
                self.note(Fault.INDEX, address, "its row in the catalogue does not say what the record says")
            found.append(record)
        for address in sorted(records.counting(found) ^ (self.store.catalogue.counting() & addresses)):
            # A record added since the files were listed may have taken the place of this one.
            if self.store.catalogue.addresses() == addresses:
                self.note(Fault.INDEX, address, "the catalogue is wrong about whether this record counts")

    def _truth(self, address: str) -> Record | None:
        """A record from its file; from its row where the file is damaged and the row still hashes to the address."""
        with contextlib.suppress(StoreError, ValueError):
            return records.read(self.store.record_files.read(address))
        text = self.store.catalogue.text(address)
        if text is not None and is_text_of(text, address):
            with contextlib.suppress(ValueError):
                return records.read(text)
        return None

    def sizes(self) -> None:
        """Everything that a record names is there and as long as it was."""
        for address, (size, _) in self.known().items():
            if self.late():
                return
            try:
                found = self.store.size(address)
            except StoreError as error:
                self.note(Fault.UNREADABLE, address, str(error))
                continue
            self.checked += 1
            self.bytes += found or 0
            if found is None:
                self.note(Fault.MISSING, address, "it is not in the store")
            elif found != size:
                self.note(Fault.CORRUPT, address, f"it has {found} bytes and had {size}")

    def known(self) -> dict[str, tuple[int, int]]:
        """Size and last check of every object that the catalogue knows."""
        try:
            sizes = self.store.catalogue.sizes()
        except StoreError as error:
            self.note(Fault.INDEX, "catalog.db", str(error))
            return {}
        for name in [name for name in sizes if not ADDRESS.fullmatch(name)]:
            del sizes[name]
            self.note(Fault.INDEX, "catalog.db", f"it names an object {name!r}, which is no address")
        return sizes

    def contents(self) -> None:
        """Hash everything, longest unchecked first."""
        store = self.store
        known = self.known()
        store.objects.forget_checks()
        store.record_files.forget_checks()
        layers, record_files = set(store.objects.addresses()), set(store.record_files.addresses())
        self.unused = len(layers - known.keys())
        good: list[str] = []
        turns = {address: known.get(address, (0, 0))[1] for address in layers | record_files | known.keys()}
        for address in sorted(turns, key=lambda address: (turns[address], address)):
            if self.late():
                break
            if self._sound(address, is_record=address in record_files):
                good.append(address)
        if good and not store.read_only:
            try:
                store.catalogue.mark_verified(good)
            except StoreError as error:
                self.note(Fault.INDEX, "catalog.db", str(error))

    def _sound(self, address: str, *, is_record: bool) -> bool:
        try:
            data = (self.store.record_files if is_record else self.store.objects).read(address)
            if is_record:
                records.read(data)
        except MissingObject:
            self.note(Fault.MISSING, address, "it is not in the store")
        except CorruptObject:
            self.note(Fault.CORRUPT, address, "its bytes do not hash to its address")
        except ValueError as error:
            self.note(Fault.CORRUPT, address, str(error))
        except StoreError as error:
            self.note(Fault.UNREADABLE, address, str(error))
        else:
            self.checked += 1
            self.bytes += len(data)
            return True
        return False


def rebuild(store: Store) -> RebuildReport:
    """Make the catalogue anew from the record files alone; leases are dropped. The old one goes to the quarantine."""
    start = time.monotonic()
    store.rebuild_catalogue()
    rows = store.catalogue.addresses()
    damaged = tuple(_unlisted(store, rows))
    return RebuildReport(records=len(rows), damaged=damaged, seconds=time.monotonic() - start)


def _unlisted(store: Store, rows: set[str]) -> Iterator[str]:
    return (address for address in store.record_files.addresses() if address not in rows)
