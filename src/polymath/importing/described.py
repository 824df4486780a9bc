"""How a file of tensors is to be read: an architecture in our layers, and which tensor goes where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as File
from typing import Any

from pydantic import Field

from ..model.path import Path
from ..problem.features import Feature, Text
from ..problem.form import Form
from ..problem.wordpieces import published
from ..spec import BadInput, Spec, loads


class Described(Spec):
    """What `polymath import --layers FILE.json` holds."""

    ports: dict[str, Form]
    """What it reads: port -> form. A task's input fits if it has the same kind and width."""
    path: Path
    """Its genes, and one output: the vector to build upon."""
    tensors: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Gene -> tensor of its layer -> name in the file; where nothing is said, GENE.TENSOR."""
    lower: bool = True
    """Of what reads texts: its words are in small letters and without accents."""
    rows: int = Field(default=0, ge=0)
    """Examples that it was trained on, as far as is known."""
    classes: int = Field(default=0, ge=0)
    source: str = ""
    licence: str = ""


def read(file: File) -> Described:
    """A description from its JSON. Raises BadInput that names the place in it."""
    try:
        described = Described.model_validate(loads(content(file).decode()))
        fits = gives_vector(described.path, described.ports)
    except ValueError as error:
        errors: list[dict[str, Any]] = getattr(error, "errors", lambda **_: [])(include_url=False)
        where = " > ".join(str(part) for part in errors[0]["loc"]) if errors else ""
        what = str(errors[0]["msg"] if errors else error).removeprefix("Value error, ")
        raise BadInput(f"{where}: {what}" if where else what, file=file, remedy="See docs/importing.md.") from error
    if not fits:
        raise BadInput(
            "must have one output, a vector", file=file, remedy="End with a pooling, and name it under outputs."
        )
    return described


def gives_vector(path: Path, ports: Mapping[str, Form]) -> bool:
    """Whether it has one output, a vector. Raises ValueError for genes that do not fit."""
    forms = path.forms(ports)
    return len(path.outputs) == 1 and forms[next(iter(path.outputs.values()))].kind == "vector"


def features(described: Described, words: File | None) -> tuple[Feature, ...]:
    """What its port means, where that is ids of words: a text, cut by the published vocabulary in `words`.

    Raises BadInput where there is one without the other, and for a vocabulary that does not fit.
    """
    ids = [(port, form) for port, form in described.ports.items() if form.vocabulary]
    if not ids:
        if words is not None:
            raise BadInput("is for what reads texts, and no port does", file=words, remedy="Leave --words out.")
        return ()
    if words is None or len(described.ports) > 1:
        raise BadInput(
            "what reads texts has one port, and a vocabulary of its own",
            value=", ".join(described.ports),
            remedy="Give --words vocab.txt, a word piece on each line.",
        )
    ((port, form),) = ids
    try:
        pieces = published(content(words).decode().splitlines(), lower=described.lower)
    except ValueError as error:
        raise BadInput(
            str(error), file=words, remedy="Give the vocab.txt that the encoder was published with."
        ) from error
    if pieces.size != form.vocabulary:
        raise BadInput(
            f"has {pieces.size:,} lines, port {port!r} reads ids below {form.vocabulary:,}",
            file=words,
            remedy="Give the vocab.txt that the encoder was published with.",
        )
    (length,) = form.size
    return (Text(name=port, lower=described.lower, subwords=pieces, length=length, most_tokens=length),)


def content(file: File) -> bytes:
    """The bytes of a file. Raises BadInput where it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}", file=file, remedy="Give the path of a file.") from error
