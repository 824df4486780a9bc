"""Stores named by an address: what lies in the bucket, what every machine finds there, what bad addresses get."""

from __future__ import annotations

import http.server
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from polymath.app import commands
from polymath.knowledge import Polymath
from polymath.spec import BadInput
from polymath.store import Store, StoreError, backup, collect, copy, forget, merge, verify

pytest.importorskip("obstore", reason="the extra `cloud` is not installed")


class Service(http.server.BaseHTTPRequestHandler):
    """As much of S3 as a store asks for, in memory; `refuses`: methods that nobody may use."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]
    refuses: set[str]

    def answer(self) -> None:
        parts = urlsplit(self.path)
        _, bucket, *rest = parts.path.split("/", 2)
        key, data = "/".join(rest), self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.command in self.refuses:
            self.say(403, b"<Error><Code>AccessDenied</Code></Error>")
        elif bucket != "bucket":
            self.say(404, b"<Error><Code>NoSuchBucket</Code></Error>")
        elif "list-type" in parts.query:
            self.listed(parse_qs(parts.query).get("prefix", [""])[0])
        elif self.command == "PUT":
            taken = self.headers.get("If-None-Match") == "*" and key in self.objects
            if not taken:
                self.objects[key] = data
            self.say(412 if taken else 200)
        elif self.command == "POST":
            names = re.findall(r"<Key>(.*?)</Key>", data.decode())
            for name in names:
                self.objects.pop(name, None)
            gone = "".join(f"<Deleted><Key>{name}</Key></Deleted>" for name in names)
            self.say(200, f"<DeleteResult>{gone}</DeleteResult>".encode())
        elif key not in self.objects:
            self.say(404, b"<Error><Code>NoSuchKey</Code></Error>")
        elif self.command == "DELETE":
            del self.objects[key]
            self.say(204)
        else:
            self.say(200, self.objects[key])

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

    def listed(self, prefix: str) -> None:
        one = "<Contents><Key>{}</Key><Size>{}</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
        found = "".join(one.format(key, len(data)) for key, data in self.objects.items() if key.startswith(prefix))
        self.say(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>".encode())

    def say(self, code: int, data: bytes = b"") -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", formatdate(usegmt=True))
        with suppress(ConnectionError):  # who asked has seen enough
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing: tests read what is printed."""


@pytest.fixture
def service(monkeypatch) -> Iterator[type[Service]]:
    """A service on this machine; the environment leads to it."""
    handler = type("Handler", (Service,), {"objects": {}, "refuses": set()})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "topsecret",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    yield handler
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """Becomes the machine of a name: with a home of its own."""

    def become(name: str) -> None:
        monkeypatch.setenv("HOME", str(tmp_path / name))

    become("one")
    return become


@pytest.fixture
def url(tmp_path) -> str:
    return f"file://{tmp_path}/bucket/k"


def fill(store: Store, *names: str) -> str:
    layer = store.put(b"layer of " + names[0].encode())
    for name in names:
        store.set_head(f"task/{name}", store.add_record("task", {"name": name}, refs=[layer]))
    return layer


def test_a_service_keeps_a_store_and_every_machine_finds_it(service, machine):
    with pytest.raises(BadInput, match=r"s3://bucket/a/k: there is no store here"):
        commands.opened("s3://bucket/a/k")
    with Polymath("s3://bucket/a/k").store as store:
        layer = fill(store, "flowers", "houses")
    assert {name.split("/")[2] for name in service.objects} == {"FORMAT", "objects", "records"}
    machine("two")
    with commands.opened("s3://bucket/a/k/").store as store:
        assert set(store.heads()) == {"task/flowers", "task/houses"} and store.get(layer) == b"layer of flowers"
        assert verify(store, level="full").exit_status == 0
        forget(store, [store.head("task/houses")])
    machine("one")
    with commands.opened("s3://bucket/a/k").store as store:
        assert set(store.heads()) == {"task/flowers"} and verify(store, level="full").exit_status == 0


def test_what_a_service_refuses_is_said_without_secrets(service):
    with pytest.raises(BadInput, match=r"s3://elsewhere/k: there is no such bucket"):
        Store.open("s3://elsewhere/k")
    service.refuses |= {"PUT"}
    with pytest.raises(StoreError, match=r"this user may not do that\. Check the credentials") as caught:
        Store.open("s3://bucket/k")
    assert "topsecret" not in f"{caught.value} {caught.value.__cause__}"
    service.refuses.clear()
    Store.open("s3://bucket/k").close()
    service.refuses |= {"PUT"}
    with commands.opened("s3://bucket/k") as knowledge, pytest.raises(StoreError, match="may not do that"):
        fill(knowledge.store, "flowers")
    service.refuses |= {"GET"}
    with pytest.raises(StoreError, match="may not do that"):
        commands.opened("s3://bucket/k")


def test_a_bucket_holds_what_a_folder_holds(url, tmp_path):
    with Store.open(tmp_path / "bucket" / "k") as store:
        fill(store, "flowers")
        heads, name = store.heads(), store.identity
    with Store.open(url) as store:
        assert (store.heads(), store.identity, store.where) == (heads, name, url)
        layer = fill(store, "houses")
    with Store.open(tmp_path / "bucket" / "k") as store:
        assert set(store.heads()) == {"task/flowers", "task/houses"} and store.get(layer) == b"layer of houses"


def test_stores_are_united_copied_and_backed_up_from_and_to_buckets(url, tmp_path):
    with Store.open(url) as ours, Store.open(tmp_path / "local") as theirs:
        fill(ours, "flowers")
        fill(theirs, "houses")
        merge(ours, tmp_path / "local")
        assert set(ours.heads()) == {"task/flowers", "task/houses"}
        assert backup(ours, f"{url}-backup").objects == 2 and backup(ours, f"{url}-backup").objects == 0
        with pytest.raises(BadInput, match="k-backup: holds another store"):
            backup(theirs, f"{url}-backup")
        copy(ours, theirs, ours.head("task/flowers"), head="task/flowers")
        merge(theirs, f"{url}-backup")
        assert verify(theirs, level="full").exit_status == 0
    with Store.open(f"{url}-backup") as kept:
        assert set(kept.heads()) == {"task/flowers", "task/houses"}


def test_what_others_may_be_about_to_name_stays(url, machine):
    with Store.open(url) as one:
        layer = one.put(b"about to be named")
        machine("two")
        with Store.open(url) as two:
            assert collect(two).objects == 0
        assert one.add_record("task", {"n": 1}, refs=[layer])


def test_the_note_about_the_catalogue_is_for_every_machine(url, tmp_path, machine):
    with Store.open(url):
        (tmp_path / "bucket" / "k" / "store.json").write_text('{"catalogue":"postgresql://me@nowhere.invalid/k"}')
    machine("two")
    with pytest.raises((StoreError, BadInput), match=r"PostgreSQL|psycopg|nowhere.invalid"):
        Store.open(url)


def test_a_store_of_a_newer_version_is_refused_and_another_folder_is_no_store(url, tmp_path):
    Store.open(url).close()
    format_ = tmp_path / "bucket" / "k" / "FORMAT"
    format_.write_text(format_.read_text().replace('"format":1', '"format":2'))
    with pytest.raises(BadInput, match=r"k/FORMAT: the store has a format this version does not know"):
        Store.open(url)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "rose.jpg").write_bytes(b"x")
    with pytest.raises(BadInput, match="holds other things, and is not a store"):
        Store.open(f"file://{tmp_path}/photos")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://key:topsecret@bucket/k", "holds a password"),
        ("az://box/k?sig=topsecret", "holds a password"),
        ("postgresql://me:topsecret@host/k", "holds a password"),
        ("postgresql://me@host/k", "polymath rebuild --catalogue"),
        ("memory://k", "ends with the command"),
        ("ftp://host/k", "no kind of place for a store"),
        ("s3:///k", "is no address of a bucket"),
        ("file://host/k", "is no address of a bucket"),
        ("s3://[x/k", "cannot be read"),
        ("az://box/k", "Account must be specified"),
        ("file:///nowhere/at/all", "there is no store here"),
    ],
)
def test_an_address_that_cannot_be_used_gets_one_line(address, said, monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(BadInput, match=said) as caught:
        commands.opened(address)
    assert "topsecret" not in str(caught.value) and "\n" not in str(caught.value)


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(BadInput, match=re.escape('pip install "polymath-learn[cloud]"')):
        Store.open("s3://bucket/k")
    assert not Path("s3:").exists()
