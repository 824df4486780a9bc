"""Claim: one flipped bit anywhere in a store is found by `polymath verify`, named, and never served.

python benchmarks/store_bitrot.py [--quick] [--rounds 1000] [--seed 0]

Each round flips one random bit of one random file of a small store (layers, records, one time in ten the catalogue),
keeping its size and date as a failing disk would. Then a reader that has never seen the store reads everything, and the
full check runs. In layers and records every flip must be found and named. In the catalogue, an index without checksums,
a flip may hit a byte that nobody uses, or make it list an older version; never a record that was not written. Then the
check must find it, and after `rebuild` everything is as before.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from pathlib import Path

import store_common as shared
from polymath.store import Store, StoreError, rebuild, verify
from store_common import Claim


def flip(file: Path, chance: random.Random) -> bytes:
    """Flip a bit; the bytes as they were."""
    before, state = file.read_bytes(), file.stat()
    data = bytearray(before)
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    put_back(file, bytes(data))
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    return before


def put_back(file: Path, data: bytes) -> None:
    file.chmod(0o644)
    file.write_bytes(data)


def main() -> int:
    chosen = shared.arguments(__doc__, rounds=1000, quick=60, what="flipped bits")
    begin, chance = time.monotonic(), random.Random(chosen.seed)
    flips = {"objects": 0, "records": 0, "catalog.db": 0}
    found = named = wrong = refused = catalogue_found = differs = otherwise = unnoticed = 0
    with tempfile.TemporaryDirectory(prefix="store_bitrot") as folder:
        path = Path(folder) / "knowledge"
        with Store.open(path) as store:
            for _ in range(14):
                shared.act(store, chance)
            shared.learn(store, "certain", [1, 2])
            truth = shared.seen(store)
            shared.served(store)
            everything = [store.entry(address) for address in store.catalogue.addresses()]
            bodies = [(record.address, record.body) for record in everything]
        files = {room: sorted(f for f in (path / room).rglob("*") if f.is_file()) for room in ("objects", "records")}
        good = (path / "catalog.db").read_bytes()
        for number in range(chosen.rounds):
            room = "catalog.db" if number % 10 == 9 else chance.choice(["objects", "records"])
            flips[room] += 1
            file = path / room if room == "catalog.db" else chance.choice(files[room])
            before = flip(file, chance)
            listed_otherwise = False
            with Store.open(path, read_only=True) as reader:
                try:
                    now = shared.seen(reader)
                    wrong += not all(one in bodies for kind in shared.KINDS for one in now[kind])
                    listed_otherwise = now != truth
                    shared.served(reader)
                except StoreError:
                    refused += 1
                except AssertionError:
                    wrong += 1
            with Store.open(path) as store:
                outcome = verify(store, level="full")
                if room != "catalog.db":
                    wrong += listed_otherwise
                elif listed_otherwise:
                    otherwise += 1
                    unnoticed += outcome.exit_status == 0
                if room == "catalog.db":
                    catalogue_found += outcome.exit_status != 0
                    rebuild(store)
                    differs += shared.seen(store) != truth
                else:
                    found += outcome.exit_status == 1
                    named += [finding.address for finding in outcome.findings] == [file.name]
            put_back(path / "catalog.db", good)
            if room != "catalog.db":
                put_back(file, before)
            if number % 100 == 99:
                print(f"{number + 1} flips, {time.monotonic() - begin:.0f} s", file=sys.stderr)
    rotten = flips["objects"] + flips["records"]
    claims = [
        Claim("bits flipped in layers", flips["objects"]),
        Claim("bits flipped in records", flips["records"]),
        Claim("... of both found by verify", found, rotten),
        Claim("... of both named by verify, and nothing else", named, rotten),
        Claim("bits flipped in the catalogue", flips["catalog.db"]),
        Claim("... of them found by verify, or mended when the store was opened for it", catalogue_found),
        Claim("... after which another version, or one less, was listed", otherwise),
        Claim("...... and verify did not find it", unnoticed, 0),
        Claim("... after which a rebuilt catalogue says something else", differs, 0),
        Claim("flips after which a reader refused something", refused),
        Claim("wrong answers: records or layers other than those written", wrong, 0),
    ]
    return shared.report(
        "store_bitrot", "Flipped bits", __doc__, claims, chosen=chosen, seconds=time.monotonic() - begin
    )


if __name__ == "__main__":
    raise SystemExit(main())
