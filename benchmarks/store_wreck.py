"""Claim: whatever happens to the catalogue, the next command builds it again from the records and nothing is lost.

python benchmarks/store_wreck.py [--quick] [--rounds 60] [--seed 0]

Each round fills a store at random and does one thing to its catalogue, each of the ways below in turn: it is deleted, cut,
overwritten, exchanged for another's, for an older or a newer one, for one with an endless view or a trigger, for a folder, a
link or a pipe, its log is damaged, or its rows say what no record says. In every second round the first process that opens
the store is killed at a random moment, so a rebuild is cut short too. Then the store is opened and asked for everything.
What it hands out must be what it was; where rows were forged, reading may refuse, `verify` must say so (exit bit 8), and
`rebuild` must bring all of it back. No opening may take longer than 10 seconds.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import store_common as shared
from polymath.store import Store, StoreError, rebuild, verify
from store_collect import begun
from store_common import Claim

LONGEST = 10.0
ENDLESS = (
    "DROP TABLE record",
    "CREATE VIEW record AS WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n AS address, "
    "'task' AS kind, n AS id, n AS fence, n AS written, 1 AS counts, n AS text FROM r",
)
TRIGGER = ("CREATE TRIGGER t AFTER INSERT ON record BEGIN DELETE FROM record; END",)
Wreck = Callable[[Path, random.Random], object]


def sql(*statements: str) -> Wreck:
    def run(file: Path, chance: random.Random) -> None:
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)

    return run


def overwritten(file: Path, chance: random.Random) -> None:
    data = bytearray(file.read_bytes())
    begin = chance.randrange(len(data))
    data[begin : begin + 4096] = chance.randbytes(len(data[begin : begin + 4096]))
    file.write_bytes(data)


def flipped(file: Path, chance: random.Random) -> None:
    data = bytearray(file.read_bytes())
    for _ in range(chance.randint(1, 64)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    file.write_bytes(data)


def replaced(make: Callable[[Path], object]) -> Wreck:
    def run(file: Path, chance: random.Random) -> None:
        file.unlink()
        make(file)

    return run


def with_log(file: Path, chance: random.Random) -> None:
    Path(f"{file}-wal").write_bytes(chance.randbytes(40_000))


def log_of_another(file: Path, chance: random.Random) -> None:
    with tempfile.TemporaryDirectory() as folder, Store.open(folder) as other:
        shared.learn(other, "another's", [1, 2])
        shutil.copy(Path(folder) / "catalog.db-wal", f"{file}-wal")


WRECKS: dict[str, Wreck] = {
    "deleted": lambda file, chance: file.unlink(),
    "emptied": lambda file, chance: file.write_bytes(b""),
    "cut": lambda file, chance: os.truncate(file, chance.randrange(file.stat().st_size)),
    "rubbish": lambda file, chance: file.write_bytes(chance.randbytes(50_000)),
    "head zeroed": lambda file, chance: file.write_bytes(bytes(4096) + file.read_bytes()[4096:]),
    "a page overwritten": overwritten,
    "bits flipped": flipped,
    "endless view": sql(*ENDLESS),
    "trigger": sql(*TRIGGER),
    "newer version": sql("PRAGMA user_version=99"),
    "an older version's tables": sql("DROP TABLE lease", "DROP TABLE meta"),
    "a table more": sql("CREATE TABLE more(x)"),
    "an index lost": sql("DROP INDEX record_by_id"),
    "rows lost": sql("DELETE FROM record WHERE kind='task'"),
    "names forged": sql("UPDATE record SET text=replace(text, 'task', 'tusk') WHERE kind='head'"),
    "others count": sql("UPDATE record SET counts=1-counts"),
    "tombstones lost": sql("DELETE FROM tombstone"),
    "tombstones forged": sql("INSERT OR IGNORE INTO tombstone SELECT address FROM record LIMIT 3"),
    "clock forged": sql("UPDATE record SET written=9223372036854775807"),
    "another program's": replaced(lambda file: sql("CREATE TABLE t(x)")(file, random.Random())),
    "a folder": replaced(lambda file: (file.mkdir(), (file / "x").touch())),
    "a link": replaced(lambda file: file.symlink_to("/etc/passwd")),
    "a pipe": replaced(os.mkfifo),
    "log of rubbish": with_log,
    "log of another store": log_of_another,
}


def opened_and_killed(path: Path, chance: random.Random) -> None:
    """A process that opens the store and is killed in the middle, or a little after."""

    def work(report: int) -> None:
        with Store.open(path):
            time.sleep(5)

    process, reading = begun(work)
    time.sleep(chance.uniform(0, 0.06))
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    os.close(reading)


def main() -> int:
    chosen = shared.arguments(__doc__, rounds=3 * len(WRECKS), quick=len(WRECKS), what="rounds")
    begin, chance = time.monotonic(), random.Random(chosen.seed)
    ways, tally = list(WRECKS), Counter[str]()
    failures: list[str] = []
    slowest = 0.0
    for number in range(chosen.rounds):
        way = ways[number % len(ways)]
        with tempfile.TemporaryDirectory(prefix="store_wreck") as folder:
            path = Path(folder) / "knowledge"
            with Store.open(path) as store:
                for _ in range(30):
                    shared.act(store, chance)
                before, records = shared.seen(store), len(store.catalogue.addresses())
            tally["records"] += records
            WRECKS[way](path / "catalog.db", chance)
            if number % 2:
                opened_and_killed(path, chance)
            start = time.monotonic()
            try:
                with Store.open(path) as store:
                    slowest = max(slowest, time.monotonic() - start)
                    try:
                        same = shared.seen(store) == before
                    except StoreError:
                        same = False
                        tally["refused"] += 1
                    status = verify(store, level="full").exit_status
                    tally["forged"] += bool(status & 8)
                    tally["served wrong"] += not same and not status & 8
                    if status:
                        rebuild(store)
                    after = shared.seen(store)
                    tally["lost"] += after != before
                    tally["unsound"] += verify(store, level="full").exit_status != 0
                    shared.served(store)
                    shared.learn(store, "goes on", [1, 2, 3])
            except (StoreError, AssertionError) as error:
                failures.append(f"{way}: {type(error).__name__}: {error}")
    for failure in failures[:10]:
        print(failure, file=sys.stderr)
    claims = [
        Claim(f"catalogues destroyed, in {len(ways)} ways", chosen.rounds),
        Claim("records they held", tally["records"]),
        Claim("rows forged in a file that is sound: found by `verify`, mended by `rebuild`", tally["forged"]),
        Claim("... where reading refused before that", tally["refused"]),
        Claim("stores that answered differently, and `verify` said nothing", tally["served wrong"], 0),
        Claim("stores that differ after the rebuild", tally["lost"], 0),
        Claim("stores that `verify --level full` finds unsound after it", tally["unsound"], 0),
        Claim("openings that took longer than 10 s", int(slowest > LONGEST), 0),
        Claim("other failures", len(failures), 0),
    ]
    return shared.report(
        "store_wreck", "Destroying the catalogue", __doc__, claims, chosen=chosen, seconds=time.monotonic() - begin
    )


if __name__ == "__main__":
    raise SystemExit(main())
