"""The ledger: its verdicts are borne out by the bundled traces, its commands exist."""

import shlex
from pathlib import Path

import click
import pytest

from empirical.data import bundled_traces
from empirical.decoding.rivals import parse_decoder
from empirical.published import ACCURACY, FIGURES, OTHER_MODELS
from empirical.studies.ledger import LEDGER, Entry, Evidence, Topic, Verdict, gather
from empirical.traces.files import read_traces
from stopping.cli.lazy import WithMore
from stopping.cli.main import group
from stopping.errors import UserError
from tests.empirical.synthetic import calibrated

ROOT = Path(__file__).parents[3]
ON_EVIDENCE = [entry for entry in LEDGER if entry.borne_out is not None]


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    loaded = {name: read_traces(path) for name, path in bundled_traces().items()}
    kept = {
        name: traces
        for name, traces in loaded.items()
        if (traces.provenance.mode, traces.provenance.lens) == ("reference", "raw")
    }
    assert len(kept) == 4
    return gather(kept, replicates=200)


@pytest.fixture(scope="module")
def kinder() -> Evidence:
    """A world where the paper is right: layers that keep their promises, token by token."""
    return gather({"calibrated": calibrated(prompts=30, tokens=40)}, replicates=200)


def by_key(entry: Entry) -> str:
    return entry.key


@pytest.mark.slow
@pytest.mark.parametrize("entry", ON_EVIDENCE, ids=by_key)
def test_the_evidence_bears_out_the_verdict(entry: Entry, evidence: Evidence) -> None:
    assert entry.borne_out is not None
    assert entry.borne_out(evidence)


@pytest.mark.parametrize("key", ["calibration", "gain", "shifted", "fixed"])
def test_other_evidence_would_overturn_a_verdict(key: str, kinder: Evidence) -> None:
    entry = next(entry for entry in LEDGER if entry.key == key)
    assert entry.borne_out is not None
    assert not entry.borne_out(kinder)


@pytest.mark.slow
@pytest.mark.parametrize("entry", LEDGER, ids=by_key)
def test_an_entry_says_something(entry: Entry, evidence: Evidence) -> None:
    assert entry.claim
    assert entry.why
    assert entry.ours(evidence) or entry.verdict is Verdict.NOT_TESTABLE
    assert "nan" not in entry.ours(evidence)


def test_keys_are_unique_and_every_verdict_and_topic_occurs() -> None:
    assert len({entry.key for entry in LEDGER}) == len(LEDGER)
    assert {entry.verdict for entry in LEDGER} == set(Verdict)
    assert {entry.topic for entry in LEDGER} == set(Topic)


def test_no_published_statistic_or_model_is_left_out() -> None:
    keys = {entry.key for entry in LEDGER}
    assert {f"{f.key}, {f.setting}" for f in (*FIGURES, *OTHER_MODELS)} <= keys
    assert {f"accuracy, {row.model}" for row in ACCURACY} <= keys


def test_a_verdict_on_evidence_needs_a_way_to_bear_it_out() -> None:
    with pytest.raises(ValueError, match="borne out"):
        Entry("x", Topic.COST, "c", "", lambda _: "", Verdict.DERIVED, "w", "stopping verify")


@pytest.mark.parametrize("command", sorted({entry.command for entry in LEDGER}))
def test_the_command_exists(command: str) -> None:
    check_command(command)


@pytest.mark.parametrize(
    "command",
    [
        "stopping guess",
        "stopping verify --nonsense",
        "stopping evaluate --model MODEL --rule oracle",
        "pytest tests/conformance/test_wrong.py -k no_such_mistake",
        "pytest tests/nowhere.py -k x",
        "cat README.md",
    ],
)
def test_a_command_that_does_not_exist_is_noticed(command: str) -> None:
    with pytest.raises((AssertionError, click.ClickException, UserError)):
        check_command(command)


def check_command(command: str) -> None:
    """Fail unless the program, its subcommands, their options and the rules named exist."""
    program, *words = shlex.split(command)
    if program == "pytest":
        path, option, name = words
        folder = ROOT / path
        assert folder.is_file()
        assert option == "-k"
        sources = folder.parent.rglob("*.py")
        assert any(f"def {name}(" in source.read_text("utf-8") for source in sources)
        return
    assert program == "stopping"
    found: click.Command = group
    context = click.Context(group, info_name="stopping")
    while isinstance(found, click.Group) or (
        isinstance(found, WithMore) and words and words[0] in found.commands
    ):
        name, *words = words
        inner = (
            found.get_command(context, name)
            if isinstance(found, click.Group)
            else found.commands[name]
        )
        assert inner is not None, f"no command {name}"
        found, context = inner, click.Context(inner, context, info_name=name)
    values, _, _ = found.make_parser(context).parse_args(words)
    for rule in values.get("specs") or ():
        parse_decoder(rule)
