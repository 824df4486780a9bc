"""What is a rule and what is not: one clear sentence each."""

from __future__ import annotations

import pytest

from polymath.spec import BadInput
from polymath.train import GradientRecipe
from polymath.train.update import KNOWN, Expression, parse
from polymath.train.update.expression import MAX_DEPTH, MAX_MEANS, MAX_NODES


def deep(depth):
    value = "g"
    for _ in range(depth):
        value = ["exp", value]
    return value


def chained(length):
    """Blocks each of which uses the one before."""
    blocks = {"b0": ["exp", "g"]} | {f"b{i}": ["exp", f"b{i - 1}"] for i in range(1, length)}
    return {"blocks": blocks, "update": f"b{length - 1}"}


def endless():
    value = ["sign", "g"]
    value[1] = value
    return value


def sums(parts):
    total = parts[0]
    for part in parts[1:]:
        total = ["+", total, part]
    return total


def balanced(parts):
    return parts[0] if len(parts) == 1 else ["+", balanced(parts[::2]), balanced(parts[1::2])]


BAD = {
    "unknown operand": ("gradient", "names something unknown"),
    "unknown function": (["relu", "g"], "unknown function"),
    "too few": (["+", "g"], r'It is written \["\+","a","b"\]'),
    "too many": (["sign", "g", "m"], r'It is written \["sign","a"\]'),
    "function alone": (["*", "sign", "g"], "stands alone"),
    "number missing": (["clip", "g"], r'It is written \["clip","a","number"\]'),
    "number out of range": (["mean", "g", 1.5], "From 0 to 0.99999"),
    "no number": (["clip", "g", "m"], "the number of 'clip'"),
    "a truth": (["*", True, "g"], "not an update rule"),
    "nothing": (None, "update rule"),
    "empty": ([], "not an update rule"),
    "not finite": (["*", float("inf"), "g"], "no number of use"),
    "circle": ({"blocks": {"a": ["sign", "b"], "b": ["exp", "a"]}, "update": "a"}, "circle: a -> b -> a"),
    "own circle": ({"blocks": {"a": ["sign", "a"]}, "update": "g"}, "circle: a -> a"),
    "block named as an operand": ({"blocks": {"m": "g"}, "update": "m"}, "means something else"),
    "unused block is wrong": ({"blocks": {"a": "b"}, "update": "g"}, "unknown"),
    "other fields": ({"update": "g", "learning_rate": 1}, "learning_rate"),
    "division by 0": (["/", "g", 0], "always zero"),
    "division by x - x": (["/", "g", ["-", "m", "m"]], "always zero"),
    "division by a product with 0": (["reciprocal", ["sqrt", ["*", "g", ["-", 2, 2]]]], "always zero"),
    "division by a mean of 0": (["/", "g", ["mean", ["clip", ["*", 0, "g"], 1], 0.9]], "always zero"),
    "infinite constant": (["*", "g", ["exp", 1000]], "computes inf"),
    "infinite depth": (endless(), f"deeper than {MAX_DEPTH}"),
    "too deep": (deep(MAX_DEPTH + 1), f"deeper than {MAX_DEPTH}"),
    "too deep by blocks": (chained(MAX_DEPTH + 1), f"deeper than {MAX_DEPTH}"),
    "too deep for JSON": ("[" * 100_000, "deeper than|not JSON"),
    "too large": (balanced([["*", i, "g"] for i in range(1, MAX_NODES)]), "too large"),
    "too much state": (balanced([["mean", "g", i / 10] for i in range(MAX_MEANS + 1)]), "running means"),
    "broken JSON": ('{"update": ', "not JSON"),
}


@pytest.mark.parametrize("case", BAD)
def test_one_clear_sentence(case):
    value, said = BAD[case]
    with pytest.raises(BadInput, match=said) as caught:
        parse(value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_shared_parts_are_one_node_however_they_are_written():
    nested = parse(["*", ["exp", ["sign", "g"]], ["sign", "g"]])
    blocks = parse({"blocks": {"s": ["sign", "g"]}, "update": ["*", ["exp", "s"], "s"]})
    assert nested.graph == blocks.graph and len(nested.graph) == 4
    assert parse(["left", ["identity", "m"], "v"]).graph == parse("m").graph


def test_many_uses_of_one_block_cost_nothing():
    blocks = {"b0": "g"} | {f"b{i}": ["+", f"b{i - 1}", ["*", f"b{i - 1}", f"b{i - 1}"]] for i in range(1, 15)}
    assert len(parse({"blocks": blocks, "update": "b14"}).graph) == 29


@pytest.mark.parametrize("name", KNOWN)
def test_json_round_trip(name):
    rule = KNOWN[name]
    again = parse(rule.to_json())
    assert again == rule and again.digest == rule.digest and hash(again) == hash(rule)


def test_says_what_it_keeps_and_reads():
    assert [memory for _, memory in parse("adam").means] == [0.9, 0.999]
    assert parse(["+", "m", ["previous_mean", "g", 0.9]]).means == ((0, 0.9),)
    assert parse("g").means == () and parse(["*", 0, "m"]).means == ()
    assert parse(["noise", 0.1]).random and not parse("adam").random
    assert parse(["cosine_decay", 2]).scheduled and parse(["*", 2, "w"]).weighted


def test_recipes_take_rules():
    assert GradientRecipe(rule="lion").rule == KNOWN["lion"]
    assert GradientRecipe(rule=["sign", "g"]).rule == Expression(update=["sign", "g"])
    recipe = GradientRecipe(rule={"blocks": {"s": ["sign", "g"]}, "update": "s"})
    assert GradientRecipe.from_json(recipe.to_json()) == recipe
    assert GradientRecipe(rule="adamw").rule == "adamw"
    with pytest.raises(ValueError, match="no update rule has this name"):
        GradientRecipe(rule="adamv")
