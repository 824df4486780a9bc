"""Knowledge that is no task: frozen genes that tasks may build upon.

It is imported, tensors of a described architecture from outside, or absorbed, learned here from rows without a target
(`learning.absorb`). It answers nothing. Its record says where it comes from, and whoever builds upon it says so.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path as File
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..model.path import Path
from ..problem.features import parse_feature
from ..problem.form import Form
from ..spec import BadInput, Spec, sha256
from ..store.tensors import decode
from .described import Described, content, features, gives_vector, read
from .encoders import published

if TYPE_CHECKING:
    from ..store import Store

KIND = "imported"
HEAD, ABSORBED = "imported/", "absorbed/"
"""Names of imports, and of what was absorbed, begin with them, wherever tasks are named too."""


class Imported(Spec):
    """What was brought, as it stands in the store. Immutable; bringing it again under a name writes a new record."""

    name: str
    way: Literal["imported", "absorbed"] = "imported"
    features: tuple[dict[str, Any], ...] = ()
    """What the columns that it reads mean: measured features, by which columns of other tables and ids of other
    vocabularies are translated for it. Empty: it reads pictures."""
    ports: dict[str, Form]
    path: dict[str, Any]
    """The Path with the addresses of its weights, all genes frozen."""
    parameters: int
    rows: int
    classes: int
    source: str
    licence: str
    file_digest: str
    """SHA-256 of the file of tensors."""
    unused: tuple[str, ...] = ()
    """Tensors of the file that no gene took."""

    @property
    def head(self) -> str:
        return (HEAD if self.way == "imported" else ABSORBED) + self.name


def take_in(
    store: Store, name: str, *, tensors: File, layers: File | None = None, words: File | None = None
) -> Imported:
    """Reads a file of tensors and its description into the store. Nothing in them is executed.

    `layers`: a description (`Described`) in JSON; `words`: the vocabulary of what reads texts. Without them `tensors`
    is the folder of a published text encoder. Raises BadInput naming the file, the gene and the tensor that does not
    fit.
    """
    if layers is not None:
        described = read(layers)
    elif tensors.is_dir():
        found_there = published(tensors)
        described, tensors, words = found_there.described, found_there.tensors, found_there.words
    else:
        raise BadInput(
            "nothing says what its layers are",
            file=tensors,
            remedy="Give --layers FILE.json, or the folder of a published text encoder; see docs/importing.md.",
        )
    reads = features(described, words)
    data = content(tensors)
    try:
        found = decode(data)
    except ValueError as error:
        raise BadInput(
            f"is no file of tensors: {error}", file=tensors, remedy="Give a .safetensors file of plain types."
        ) from error
    path, used = _filled(store, described, found, tensors)
    imported = Imported(
        name=name,
        features=tuple(feature.model_dump(mode="json") for feature in reads),
        ports=described.ports,
        path=path.model_dump(mode="json"),
        parameters=sum(sum(t.size for t in store.get_tensors(a).values()) for a in path.addresses),
        rows=described.rows,
        classes=described.classes,
        source=described.source,
        licence=described.licence,
        file_digest=sha256(data),
        unused=tuple(sorted(set(found) - used)),
    )
    return publish(store, imported)


def imports(store: Store) -> Iterator[Imported]:
    """All that was imported or absorbed, by name."""
    for address in (*store.heads(HEAD).values(), *store.heads(ABSORBED).values()):
        yield Imported.model_validate(store.record(address))


def publish(store: Store, one: Imported) -> Imported:
    """Writes the record, then gives it its name: what is killed before that has brought nothing."""
    addresses = Path.model_validate(one.path).addresses
    store.set_head(one.head, store.add_record(KIND, one.model_dump(mode="json"), refs=sorted(addresses)))
    return one


def checked(one: Imported) -> Path:
    """The path of what was brought, fit for those who build upon it. Raises ValueError: it may come from elsewhere."""
    path = Path.model_validate(one.path)
    if not gives_vector(path, one.ports):
        raise ValueError("an import that gives no vector")
    if not all(parse_feature(feature).is_measured for feature in one.features):
        raise ValueError("a feature that was not measured")
    return path


def _filled(store: Store, described: Described, found: Mapping[str, np.ndarray], file: File) -> tuple[Path, set[str]]:
    """The path with stored weights in every gene that has any, all frozen, and the names of tensors that were used."""
    from ..model.build import build, get_weights, load_weights

    module = build(described.path, described.ports)
    genes, used = [], set[str]()
    for gene in described.path.genes:
        mine = module.module(gene.name)
        names = {
            tensor: described.tensors.get(gene.name, {}).get(tensor, f"{gene.name}.{tensor}")
            for tensor in mine.state_dict()
        }
        for tensor, name in list(names.items()):
            if name not in found:
                if tensor.endswith("num_batches_tracked"):  # counts steps of training; many files leave it out
                    del names[tensor]
                    continue
                near = difflib.get_close_matches(name, list(found), 3, 0.3)
                raise BadInput(
                    f"has no tensor for {tensor!r} of gene {gene.name!r}",
                    file=file,
                    value=name,
                    remedy=f"Name it under tensors; near names: {', '.join(near) or 'none'}.",
                )
        weights = {tensor: found[name] for tensor, name in names.items()}
        own = get_weights(mine)
        try:
            load_weights(mine, own | weights, name=gene.name)
        except ValueError as error:
            raise BadInput(str(error), file=file, remedy="Mend the description, or map other tensors.") from error
        used |= set(names.values())
        address = store.put_tensors(get_weights(mine)) if own else None
        genes.append(gene.replace(weights=address, frozen=True))
    return described.path.replace(genes=tuple(genes)), used


__all__ = ["ABSORBED", "HEAD", "KIND", "Described", "Imported", "checked", "imports", "publish", "take_in"]
