"""The table of theorems: the registry's labels, functions that exist, formulas that parse."""

import re
from importlib import import_module

import pytest

import stopping.theory
from stopping.claims import CLAIMS, THEOREMS, Claim, Status, Theorem

FORMULA = re.compile(r"\$([^$]+)\$")
ASCII = re.compile(r"V\^|<=|>=|eps_|\bsigma\b|sqrt|\btau\b|l_min|V\*")


COMMANDS = {
    *("delta", "gamma", "kappa", "pi", "rho", "sigma", "tau", "varepsilon"),
    *("exp", "ge", "hat", "le", "mathbb", "mathrm", "max", "min", "operatorname", "sqrt", "sum"),
}


def well_formed(formula: str) -> bool:
    """Whether braces close and every command is one that MathJax knows (and the book uses)."""
    depth = 0
    for sign in formula:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth < 0:
            return False
    return depth == 0 and set(re.findall(r"\\([A-Za-z]+)", formula)) <= COMMANDS


def test_theorems_are_those_of_which_something_is_claimed() -> None:
    assert {theorem.label for theorem in THEOREMS} == {claim.label for claim in CLAIMS}
    assert len({theorem.label for theorem in THEOREMS}) == len(THEOREMS)


@pytest.mark.parametrize("theorem", THEOREMS, ids=lambda theorem: theorem.label)
def test_its_functions_exist(theorem: Theorem) -> None:
    for name in theorem.functions:
        module, _, function = f"stopping.{name}".rpartition(".")
        assert hasattr(import_module(module), function), name


def test_the_room_of_theory_names_the_same_functions() -> None:
    table = stopping.theory.__doc__ or ""
    for theorem in THEOREMS:
        if theorem.label.startswith("S"):
            continue
        rows = [line for line in table.splitlines() if line.startswith("| ")]
        row = next(row for row in rows if theorem.label in re.findall(r"\w+", row.split("|")[1]))
        for name in theorem.functions:
            assert name.split(".")[1] in row, name


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_a_formula_is_written_as_one(claim: Claim) -> None:
    assert not ASCII.search(FORMULA.sub("", claim.printed)), "mathematics outside dollar signs"
    for formula in FORMULA.findall(claim.tex):
        assert well_formed(formula), formula


def test_a_formula_that_is_none_is_noticed() -> None:
    assert ASCII.search(FORMULA.sub("", "the search stops at V* or V* - 1"))
    assert not well_formed(r"\sqrt{1")
    assert not well_formed(r"\epsmax")


def test_a_tight_bound_has_a_check_that_would_notice_a_smaller_one() -> None:
    """Of the theorems that are called tight most have a claim that must come near its bound."""
    tight = {theorem.label for theorem in THEOREMS if theorem.status is Status.TIGHT}
    near = {claim.label for claim in CLAIMS if claim.attained is not None}
    assert {"T1", "T2", "T4", "T6", "T7", "T15"} <= tight
    assert {"T1", "T2", "T4"} <= near & tight
