"""What each column is: an input, an output, or better left out; each with the reason, each to be overruled."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..spec import BadInput, printable
from . import columns as look
from .features import Feature, vocabulary
from .pictures import MASK_NAME, is_pixels, named_classes, pixels_type
from .sources.rows import Rows

WRITTEN_VOCABULARY = 4_000
"""Most subwords where texts are written: each is one more class for every token of the answer."""
SOURCE_NAMES = ("source", "src", "input", "from", "question", "prompt")
"""Names of columns that are rather read than written."""
TARGET_NAMES = ("target", "label", "labels", "class", "y", "outcome")
"""Names of columns that are taken for the target when nobody says which it is."""


@dataclass(frozen=True)
class Finding:
    """What one column was found to be."""

    column: str
    role: str
    """'input', 'output' or 'ignored'."""
    type: str | None
    reason: str
    missing: int
    distinct: int
    """Different values; in large data, in a sample of it."""
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Inference:
    """All columns, in the order of the table."""

    findings: tuple[Finding, ...]
    file_columns: Mapping[str, str]
    notes: tuple[str, ...] = ()
    class_names: Mapping[str, tuple[tuple[int, str], ...]] = field(default_factory=dict)

    @property
    def inputs(self) -> tuple[Feature, ...]:
        """Raw input features."""
        return tuple(self._feature(one) for one in self.findings if one.role == "input")

    @property
    def outputs(self) -> tuple[Feature, ...]:
        """Raw output features."""
        return tuple(self._feature(one) for one in self.findings if one.role == "output")

    @property
    def ignored(self) -> dict[str, str]:
        """Column -> reason."""
        return {one.column: one.reason for one in self.findings if one.role == "ignored"}

    def table(self) -> list[tuple[str, str, str, str, str, str]]:
        """Rows of strings to print, the header first: column, role, type, missing, examples, reason."""
        header = ("column", "role", "type", "missing", "examples", "why")
        body = [
            (printable(f.column, limit=40), f.role, f.type or "", f"{f.missing:,}", ", ".join(f.examples), f.reason)
            for f in self.findings
        ]
        return [header, *body]

    def _feature(self, finding: Finding) -> Feature:
        assert finding.type is not None
        written = any(one.role == "output" and one.type == "text" for one in self.findings)
        return make_feature(
            finding.type,
            finding.column,
            from_file=finding.column in self.file_columns,
            written=written,
            classes=self.class_names.get(finding.column, ()),
        )


def make_feature(
    kind: str,
    name: str,
    *,
    from_file: bool = False,
    written: bool = False,
    classes: Sequence[tuple[int, str]] = (),
) -> Feature:
    """A raw feature of a type word; `written`: texts are written, so capitals count and subwords are few.

    `classes`: mask value and name of the classes of a map of pixels.
    """
    feature = vocabulary()[kind]
    more: dict[str, Any] = {"from_file": from_file} if "from_file" in feature.model_fields else {}
    if kind == "text" and written:
        more |= {"lower": False, "vocabulary": WRITTEN_VOCABULARY}
    if kind == "pixel_map" and classes:
        more |= named_classes(classes)
    return feature(name=name, **more)


def infer(
    rows: Rows,
    *,
    target: Sequence[str] | None = None,
    types: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
) -> Inference:
    """Role and type of every column. Raises BadInput for names that do not exist and targets that cannot be learned."""
    types, names, notes = types or {}, rows.table.column_names, []
    check_names(names, {"target": target or (), "type": types, "ignore": ignore})
    check_types(types)
    seen = {name: look.Column.of(rows.table[name], name) for name in names}
    if target is None:
        target, note = pick_target(rows, seen, ignore)
        notes.append(note)
    elif not target:
        raise BadInput("no target is named", remedy=f"Name one of: {', '.join(names[:20])}.")
    if both := sorted(set(target) & set(ignore)):
        raise BadInput("is both the target and to be ignored", column=both[0], remedy="Take it out of one of them.")
    verdicts = {}
    for name in names:
        if name in target:
            verdicts[name] = as_output(seen[name], types.get(name), in_files=rows.file_columns.get(name) == "image")
        elif name in ignore:
            verdicts[name] = ("ignored", None, "you said so")
        elif name in types:
            check_types({name: types[name]}, inputs=True)
            verdicts[name] = ("input", types[name], "you said so")
        else:
            verdicts[name] = as_input(rows, seen[name])
    leave_out_leaks(verdicts, seen, [seen[name] for name in names if name in target], types)
    keep_something(verdicts, seen, notes, rows.source)
    look_at_pairs(rows, verdicts, notes)
    findings = tuple(
        Finding(name, *verdicts[name], seen[name].missing, seen[name].distinct, seen[name].examples) for name in names
    )
    return Inference(findings, dict(rows.file_columns), tuple(notes), rows.class_names)


Verdict = tuple[str, str | None, str]


def check_names(names: Sequence[str], given: Mapping[str, Any]) -> None:
    """Raise BadInput for a name that is no column, with the names that are near."""
    for option, wanted in given.items():
        for name in wanted:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or list(names[:20])
                remedy = f"Did you mean: {', '.join(printable(n) for n in near)}?"
                raise BadInput(f"{option} names a column that the data do not have", column=name, remedy=remedy)


def check_types(types: Mapping[str, str], *, inputs: bool = False) -> None:
    """Raise BadInput for a word that is no type; with `inputs`, for one that can be a target alone."""
    for name, kind in types.items():
        if kind not in vocabulary():
            raise BadInput("no such type", column=name, value=kind, remedy=f"Types: {', '.join(sorted(vocabulary()))}.")
        if inputs and not vocabulary()[kind].can_be_input:
            raise BadInput(f"{kind} cannot be an input", column=name, remedy="It can be a target.")


def pick_target(rows: Rows, seen: Mapping[str, look.Column], ignore: Sequence[str]) -> tuple[list[str], str]:
    """The column to predict when nobody says which, and a sentence about it."""
    possible = [name for name in rows.table.column_names if name not in ignore and name != rows.given_split]
    if rows.target_hint in possible and rows.target_hint is not None:
        return [rows.target_hint], f"Target: {rows.target_hint!r}, from the layout of the data."
    named = [name for word in TARGET_NAMES for name in possible if name.strip().lower() == word]
    if named:
        return [named[0]], f"Target: {named[0]!r}, by its name; --target chooses another."
    masks = [name for name in possible if rows.file_columns.get(name) == "image" and MASK_NAME.search(name)]
    pictures = [name for name in rows.file_columns if rows.file_columns[name] == "image"]
    if masks and len(pictures) > len(masks):
        return [masks[-1]], f"Target: {masks[-1]!r}, a mask for each picture; --target chooses another."
    possible = [name for name in possible if name not in rows.file_columns]
    if not possible:
        raise BadInput(
            "there is no column to predict",
            file=rows.source,
            remedy="Put the files into one folder per class, or add a table that names files and labels.",
        )
    return [possible[-1]], f"Target: {possible[-1]!r}, the last column; --target chooses another."


def as_output(column: look.Column, kind: str | None, *, in_files: bool = False) -> Verdict:
    """Type of a target; `in_files`: it is paths of images. Raises BadInput when it cannot be learned."""
    if column.known == 0:
        raise BadInput("the target is missing in all rows", column=column.name, remedy="Choose another target.")
    reason = "you said so"
    if kind is None and is_pixels(column.type, in_files):
        kind, reason = pixels_type(column.values)
    elif kind is None:
        kind, reason = look.output_type(column)
    elif not vocabulary()[kind].can_be_output:
        possible = ", ".join(sorted(word for word, one in vocabulary().items() if one.can_be_output))
        raise BadInput(f"{kind} cannot be a target", column=column.name, remedy=f"Targets can be: {possible}.")
    if column.distinct == 1 and not column.sampled:
        raise BadInput(
            "the target has the same value in all rows, so there is nothing to learn",
            column=column.name,
            value=column.values[0].as_py(),
            remedy="Add rows with other values, or choose another target.",
        )
    return "output", kind, reason


def as_input(rows: Rows, column: look.Column) -> Verdict:
    """Role and type of a column that nobody has said anything about."""
    if column.name == rows.given_split:
        return "ignored", None, "says which rows are for training and which for testing"
    if column.name in rows.file_columns:
        content = rows.file_columns[column.name]
        return ("input", content, f"paths of {content} files") if column.known else ("ignored", None, "empty")
    role, kind, reason = look.input_type(column)
    if kind is not None and kind not in vocabulary():
        return "ignored", None, f"{reason}, which cannot be an input yet"
    return role, kind, reason


def leave_out_leaks(
    verdicts: dict[str, Verdict],
    seen: Mapping[str, look.Column],
    targets: Sequence[look.Column],
    types: Mapping[str, str],
) -> None:
    """Ignore inputs that give the target away."""
    for name, (role, kind, _) in list(verdicts.items()):
        if role == "input" and name not in types and kind in ("number", "category"):
            for target in targets:
                if reason := look.leak(seen[name], target, verdicts[target.name][1] or ""):
                    verdicts[name] = ("ignored", None, reason)


def look_at_pairs(rows: Rows, verdicts: Mapping[str, Verdict], notes: list[str]) -> None:
    """Say what is odd about texts that are learned from texts. Raises BadInput where all are the same on both sides."""
    read = [name for name, (role, kind, _) in verdicts.items() if role == "input" and kind == "text"]
    for target in (name for name, (role, kind, _) in verdicts.items() if role == "output" and kind == "text"):
        if target.strip().lower() in SOURCE_NAMES:
            notes.append(f"The target is called {target!r}: --target names what is to be written, not what is read.")
        for name in read if target not in rows.file_columns else ():
            same = pc.sum(pc.equal(rows.table[name].cast(pa.string()), rows.table[target].cast(pa.string()))).as_py()
            if same == len(rows) and len(read) == 1:
                remedy = "Give a target that differs from what is read."
                raise BadInput(f"holds the same texts as column {name!r}", column=target, remedy=remedy)
            if same:
                notes.append(f"{same:,} rows have the same text in {name!r} and {target!r}; they are learned as such.")


def keep_something(
    verdicts: dict[str, Verdict], seen: Mapping[str, look.Column], notes: list[str], source: str
) -> None:
    """When nothing is left to learn from, take back what was ignored on suspicion. Raises BadInput if there is none."""
    if any(role == "input" for role, _, _ in verdicts.values()):
        return
    suspects = [n for n, (_, _, why) in verdicts.items() if why.startswith((look.LEAK, look.IDENTIFIER))]
    if not suspects:
        reasons = "; ".join(f"{printable(n)}: {why}" for n, (role, _, why) in verdicts.items() if role == "ignored")
        raise BadInput(
            "no column is left to learn from",
            file=source,
            remedy=f"Give more columns. {printable(reasons, limit=300)}".strip(),
        )
    for name in suspects:
        _, kind, _ = look.input_type(seen[name], doubt=False)
        verdicts[name] = ("input", kind, f"{verdicts[name][2]}, but there is nothing else to learn from")
    notes.append(f"Kept {', '.join(map(repr, suspects[:5]))}, though suspicious: there is nothing else to learn from.")
