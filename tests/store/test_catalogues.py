"""Every kind of catalogue beside every kind of place for objects keeps the one contract; PostgreSQL's own traps.

The server is the one of Debian's package `postgresql`, started here in a folder of its own without a network port.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from polymath.app import commands
from polymath.spec import BadInput
from polymath.store import Store, StoreError, collect, merge, rebuild, verify
from polymath.store.kit import check_store
from polymath.store.objects import Objects


def programs() -> Path | None:
    """The folder of the newest server that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[4]))
    by_path = shutil.which("pg_ctl")
    return found[-1].parent if found else Path(by_path).parent if by_path else None


def somebody() -> list[str]:
    """How to become a user whom the server accepts: it refuses root."""
    if os.getuid() != 0:
        return []
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        if shutil.which("setpriv"):
            return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    pytest.skip("tests run as root and there is no other user to run PostgreSQL")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The socket folder of a running server."""
    found = programs()
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed (extra pg)")
    if found is None:
        pytest.skip("no PostgreSQL server is installed (Debian: postgresql)")
    folder, become = tempfile.mkdtemp(prefix="pg", dir="/tmp"), somebody()
    if become:
        os.chown(folder, int(become[1].partition("=")[2]), int(become[2].partition("=")[2]))
    try:
        made = [found / "initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "polymath", "-E", "UTF8", "--locale=C"]
        subprocess.run([*become, *made, "--no-sync"], check=True, capture_output=True, cwd=folder)
        settings = f"-c listen_addresses= -k {folder} -c fsync=off -c max_connections=50"
        start = [found / "pg_ctl", "-D", f"{folder}/data", "-o", settings, "-l", f"{folder}/log", "-w"]
        subprocess.run([*become, *start, "start"], check=True, stdout=subprocess.DEVNULL, cwd=folder)
        yield folder
        stop = [found / "pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "stop"]
        subprocess.run([*become, *stop], check=True, capture_output=True, cwd=folder)
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def database(server, request) -> str:
    """The address of a new database."""
    import psycopg

    name = f"k{abs(hash(request.node.nodeid)):x}"
    with psycopg.connect(f"postgresql:///postgres?host={server}&user=polymath", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"postgresql:///{name}?host={server}&user=polymath"


def told(url: str, statement: str) -> list[tuple[object, ...]]:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        done = connection.execute(statement)
        return done.fetchall() if done.description else []


def bucket() -> Callable[[], tuple[Objects, Objects]]:
    """Makes the two places of a store in one bucket, as another machine would."""
    memory = pytest.importorskip("obstore.store").MemoryStore()
    from polymath.store.cloud import Bucket

    return lambda: (Bucket(memory, "objects"), Bucket(memory, "records"))


@pytest.mark.parametrize("objects", ["folder", "bucket"])
@pytest.mark.parametrize("catalogue", ["sqlite", "postgresql"])
def test_every_kind_of_store_keeps_the_contract(catalogue, objects, tmp_path, request):
    url = request.getfixturevalue("database") if catalogue == "postgresql" else None
    places = bucket() if objects == "bucket" else (lambda: None)
    check_store(lambda: Store.open(tmp_path / "k", places=places(), catalogue=url))
    assert (tmp_path / "k" / "catalog.db").exists() == (url is None)


def filled(path: Path, **more: object) -> Store:
    store = Store.open(path, **more)
    layer = store.put(b"layer")
    for n in range(5):
        address = store.add_record("task", {"name": f"t{n % 2}", "n": n, "zero": "a\0b"}, refs=[layer], id=f"i\0\1{n}")
        store.set_head(f"task/ünï{n}", address)
    store.finish("trial", store.claim("trial", "me"), {"score": 1.0})
    return store


def seen(store: Store) -> dict[str, object]:
    return {**{kind: list(store.records(kind)) for kind in ("task", "experiment")}, "heads": store.heads()}


def test_the_catalogue_moves_there_and_back_and_the_folder_remembers(database, tmp_path):
    with filled(tmp_path / "k") as store:
        before = seen(store)
        found = list(store.records("task", where={"name": "t1"}))
        asked = list(store.records("task", where={"zero": "a\0b"}))
        assert len(found) == 2 and len(asked) == 5
        with Store.open(tmp_path / "k"), pytest.raises(StoreError, match="Others have the store"):
            store.move_catalogue(database)
        store.move_catalogue(database)
        assert seen(store) == before and list(store.records("task", where={"name": "t1"})) == found
        assert list(store.records("task", where={"zero": "a\0b"})) == asked
        store.add_record("task", {"n": 9})
        before = seen(store)
    with Store.open(tmp_path / "k") as store:
        assert seen(store) == before and told(database, "SELECT count(*) FROM polymath.record")[0][0] > 10
        assert verify(store, level="full").exit_status == 0
        rebuild(store)
        assert seen(store) == before
        store.move_catalogue(None)
    with Store.open(tmp_path / "k") as store:
        assert seen(store) == before and not (tmp_path / "k" / "store.json").exists()


def test_two_machines_share_a_bucket_and_a_database(database, tmp_path):
    places = bucket()
    machines = (Store.open(tmp_path / name, places=places(), catalogue=database) for name in "ab")
    with next(machines) as a, next(machines) as b:
        assert a.identity == b.identity
        address = a.add_record("task", {"n": 1}, refs=[a.put(b"layer")])
        assert b.record(address) == {"n": 1} and b.get(b.entry(address).refs[0]) == b"layer"
        young = a.put(b"about to get its record")
        assert collect(b).waiting and a.has(young), "the other machine has the store open"
        a.claim("trial", "a")
        assert b.claim("trial", "b") is None
        (lease,) = b.leases()
        assert lease.alive and not lease.mine
        a.close()
        end = time.monotonic() + 10
        while b.leases()[0].alive and time.monotonic() < end:
            time.sleep(0.01)  # until the server has noticed
        assert b.claim("trial", "b")
        assert collect(b).objects == 1


WRECKS = {
    "dropped": "DROP SCHEMA polymath CASCADE",
    "a table lost": "DROP TABLE polymath.ref",
    "rows lost": "DELETE FROM polymath.record",
    "an endless view": "ALTER TABLE polymath.record RENAME TO old; CREATE VIEW polymath.record AS WITH RECURSIVE "
    "r(n) AS (SELECT 1::bigint UNION ALL SELECT n + 1 FROM r) SELECT ''::text AS address, ''::text AS kind, "
    "''::text AS id, n AS fence, n AS written, n AS counts, ''::text AS text FROM r",
    "another column": "ALTER TABLE polymath.record ADD COLUMN more TEXT",
    "a trigger": "CREATE FUNCTION polymath.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
    "CREATE TRIGGER t BEFORE INSERT ON polymath.record FOR EACH ROW EXECUTE FUNCTION polymath.f()",
    "no name": "DELETE FROM polymath.store",
}


@pytest.mark.parametrize("how", WRECKS)
def test_a_wrecked_database_is_built_again(how, database, tmp_path):
    with filled(tmp_path / "k", catalogue=database) as store:
        before = seen(store)
    told(database, WRECKS[how])
    with Store.open(tmp_path / "k") as store:
        assert seen(store) == before and verify(store, level="full").exit_status == 0
        assert store.add_record("task", {"goes": "on"})


def test_one_database_serves_one_store(database, tmp_path):
    filled(tmp_path / "a", catalogue=database).close()
    with Store.open(tmp_path / "b") as other, pytest.raises(BadInput, match="another store"):
        other.move_catalogue(database)
    with Store.open(tmp_path / "b") as other:
        assert not other.heads() and not (tmp_path / "b" / "store.json").exists()
    told(database, "UPDATE polymath.store SET version = 2")
    with pytest.raises(BadInput, match="newer version"):
        Store.open(tmp_path / "a")


def test_a_merge_and_a_reader(database, tmp_path):
    with filled(tmp_path / "a") as a:
        before = seen(a)
    with Store.open(tmp_path / "b", catalogue=database) as b:
        merge(b, tmp_path / "a")
        assert seen(b) == before
        with Store.open(tmp_path / "b", read_only=True) as reader:
            assert seen(reader) == before
            with pytest.raises(StoreError, match="reading only"):
                reader.add_record("task", {})


def test_without_the_server_nothing_is_lost_and_reading_goes_on(database, tmp_path):
    with filled(tmp_path / "k", catalogue=database) as store:
        before = seen(store)
    note = tmp_path / "k" / "store.json"
    note.write_text(note.read_text().replace("host=/tmp/", "host=/nowhere/"))
    with pytest.raises(StoreError, match=r"Is the server there\?"):
        Store.open(tmp_path / "k")
    with commands.opened(tmp_path / "k") as knowledge:
        assert seen(knowledge.store) == before and knowledge.store.read_only
    with Store.open(tmp_path / "k", read_only=True) as reader:
        assert seen(reader) == before
    note.unlink()
    with Store.open(tmp_path / "k") as store:
        assert seen(store) == before and verify(store, level="full").exit_status == 0, "it is in the folder again"


def test_a_session_that_the_server_ended_begins_again(database, tmp_path):
    with filled(tmp_path / "k", catalogue=database) as store:
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'polymath'"
        before = seen(store)
        told(database, ended)
        assert seen(store) == before
        told(database, ended)
        assert store.add_record("task", {"goes": "on"})
        with Store.open(tmp_path / "k") as other:
            told(database, ended)
            assert collect(store).records == 0 and other.heads() == store.heads()


WRITER = """
    import sys
    from polymath.store import Store
    with Store.open(sys.argv[1]) as store:
        for n in range(10**6):
            layer = store.put(f"{sys.argv[2]} {n}".encode())
            address = store.add_record("task", {"by": sys.argv[2], "n": n}, refs=[layer])
            print(store.finish(f"{sys.argv[2]} {n}", store.claim(f"{sys.argv[2]} {n}", "me"), {"n": n}), flush=True)
"""


def test_killed_writers_lose_nothing(database, tmp_path):
    Store.open(tmp_path / "k", catalogue=database).close()
    acknowledged: set[str] = set()
    for number in range(2):
        words = [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path / "k")]
        writers = [subprocess.Popen([*words, f"{number}{name}"], stdout=subprocess.PIPE, text=True) for name in "ab"]
        lines = [writer.stdout.readline() for writer in writers]
        time.sleep(0.1)
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            lines += writer.communicate()[0].splitlines()
        acknowledged |= {line.strip() for line in lines if len(line.strip()) == 64}
        with Store.open(tmp_path / "k") as store:
            assert acknowledged <= {address for address, _ in store.records("experiment")}
            assert verify(store, level="full").exit_status == 0
            assert not any(lease.alive for lease in store.leases())
    assert len(acknowledged) >= 4


def test_a_store_lives_on_both_sides_of_a_fork(database, tmp_path):
    with filled(tmp_path / "k", catalogue=database) as store:
        child = os.fork()
        if child == 0:
            store.add_record("task", {"from": "the child"})
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        store.add_record("task", {"from": "the parent"})
        assert {body.get("from") for _, body in store.records("task")} >= {"the child", "the parent"}


def test_threads_share_a_store(database, tmp_path):
    with Store.open(tmp_path / "k", catalogue=database) as store:

        def work(which: int) -> None:
            for n in range(10):
                store.add_record("task", {"by": which, "n": n})

        threads = [threading.Thread(target=work, args=(which,)) for which in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(list(store.records("task"))) == 40


def test_a_stopped_holder_of_the_lock_is_named(database, tmp_path):
    import psycopg

    with Store.open(tmp_path / "k", catalogue=database) as store:
        database_ = store.catalogue.database
        database_._connection.execute("SET lock_timeout = '200ms'")
        with psycopg.connect(database) as stopped:
            stopped.execute("SELECT pg_advisory_xact_lock(%s, 0)", (0x506F6C79,))
            with pytest.raises(StoreError, match=f"session {stopped.info.backend_pid}"):
                store.add_record("task", {})
        assert store.add_record("task", {})


def test_whoever_stops_waiting_for_the_lock_goes_on(database, tmp_path, request):
    import psycopg

    # A shell lets what runs in its background ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    with Store.open(tmp_path / "k", catalogue=database) as store:
        with psycopg.connect(database) as holder:
            holder.execute("SELECT pg_advisory_xact_lock(%s, 0)", (0x506F6C79,))
            interrupt = threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT])
            interrupt.start()
            with pytest.raises(KeyboardInterrupt):
                store.add_record("task", {})
            interrupt.join()
        assert store.add_record("task", {"goes": "on"})


def test_a_reader_leaves_no_note(database, tmp_path):
    filled(tmp_path / "k", catalogue=database).close()
    (tmp_path / "k" / "store.json").unlink()
    with Store.open(tmp_path / "k", read_only=True, catalogue=database) as reader:
        assert len(reader.heads()) == 5
    assert not (tmp_path / "k" / "store.json").exists()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://host/db", "no address"),
        ("postgresql://host", "no address"),
        ("postgresql://me:secret@host/db", "password"),
        ("postgresql://host/db?passfile=/etc/passwd", "no address"),
        ("postgresql://host/db?options=-c%20x=y", "no address"),
    ],
)
def test_what_is_no_address_is_refused(url, said, tmp_path):
    with pytest.raises(BadInput, match=said) as caught:
        Store.open(tmp_path / "k", catalogue=url)
    assert "secret" not in str(caught.value) and not (tmp_path / "k").exists()


@pytest.mark.parametrize("text", ["", "[]", '{"catalogue": 1}', '{"catalogue": "x", "more": 1}', "{"])
def test_a_note_that_cannot_be_read_is_named(text, tmp_path):
    Store.open(tmp_path / "k").close()
    (tmp_path / "k" / "store.json").write_text(text)
    with pytest.raises(BadInput, match=r"store\.json"):
        Store.open(tmp_path / "k")
