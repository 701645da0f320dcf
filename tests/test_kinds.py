"""Every kind of rule or decoder, asked of every command that takes `--rule`.

A kind is read by one registry, so each command either takes it or says why not; and a window that
is stated in a rule's text wins over the command's.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from empirical.decoding.rivals import decoder_of
from empirical.traces.files import write_traces
from stopping.changepoint import write_model
from stopping.cli import main
from stopping.optimal import LayerProblem, Snell, fit_policy, save_rule
from stopping.optimal.bases import Polynomial
from stopping.rules import AbstractRule, has_window, kinds, parse, parse_rule
from tests.empirical.synthetic import calibrated
from tests.empirical.tiny_models import save_tiny_folder
from tests.stopping.changepoint.models import one_class

NEEDED = {
    "offset": "k=1",
    "shifted": "shift=1",
    "tolerance": "tau=0.5",
    "forward": "threshold=0.1",
    "guarded": "guard=0.5",
    "hedged": "eps_max=0.5",
    "minimax": "eps_max=0.5",
    "hedged-minimax": "eps_max=0.5",
    "hedged-minimum": "eps_max=0.5",
}
"""Settings of the kinds that have one without a default."""
W = 3
"""Layers of the tiny model, and of the solved rules' window."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kinds")
    model = one_class(W)
    write_model(path / "fit.json", model)
    problem = LayerProblem(model, 0.02, True)
    save_rule(path / "rule.json", Snell(fit_policy(problem, Polynomial(), _rng(), 1000)))
    write_traces(path / "traces.parquet", calibrated(prompts=4, tokens=10, layers=W))
    save_tiny_folder(path / "model")
    sums = [
        {"prompt": f"1 + {k} = ", "reference": f"{1 + k}", "answer": f"{1 + k}"} for k in (1, 2)
    ]
    (path / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in sums))
    return path


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def texts(folder: Path) -> dict[str, str]:
    """A text of each kind."""
    solved = {"bayes": f"file={folder / 'fit.json'}", "snell": f"file={folder / 'rule.json'}"}
    settings = {**NEEDED, **solved}
    return {kind: f"{kind}:{settings[kind]}" if kind in settings else kind for kind in kinds()}


def rules(folder: Path) -> dict[str, str]:
    """Those that are rules on entropies."""
    return {k: t for k, t in texts(folder).items() if isinstance(parse(t), AbstractRule)}


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """Run a command that must succeed and read its JSON."""
    with pytest.raises(SystemExit) as exit:
        main([*arguments, "--json"])
    found = capsys.readouterr()
    assert exit.value.code == 0, found.err
    return json.loads(found.out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must refuse and return what it says."""
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    assert exit.value.code == 2
    return capsys.readouterr().err


def given(specs: list[str]) -> list[str]:
    return [part for spec in specs for part in ("--rule", spec)]


def test_every_kind_is_read_back_from_its_text(folder: Path) -> None:
    for kind, text in texts(folder).items():
        found = parse(text)
        assert found.kind == kind
        assert parse(found.spec()).spec() == found.spec()


def test_a_stated_window_wins_over_a_given_one(folder: Path) -> None:
    for text in texts(folder).values():
        if not has_window(parse(text)):
            assert parse(text, 3).spec() == parse(text).spec()
            continue
        stated = f"{text},K=2" if ":" in text else f"{text}:K=2"
        assert "K=3" in parse(text, 3).spec()
        assert "K=2" in parse(stated, 3).spec()
        assert "K=2" in decoder_of(stated.replace(",", ";"), 3).spec()


def test_validate_takes_every_rule(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    specs = list(rules(folder).values())
    traces = str(folder / "traces.parquet")
    found = printed(
        capsys, "validate", traces, "--window", "2", "--replicates", "100", *given(specs)
    )
    compared = {row["spec"] for row in found[0]["validation"]["rows"]}
    assert {parse_rule(spec, 2).spec() for spec in specs} <= compared


def test_certify_takes_every_rule(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    specs = list(rules(folder).values())
    traces = str(folder / "traces.parquet")
    call = ("certify", traces, "--window", "2", "--alpha", "3", "--grid", "0.5")
    found = printed(capsys, *call, *given(specs))
    certified = {row["rule"] for row in found[0]["certificate"]["settings"]}
    assert certified == {parse_rule(spec, 2).spec() for spec in specs}


def test_solve_compares_every_rule_at_the_models_window(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = [spec for kind, spec in rules(folder).items() if kind != "snell"]
    fit = str(folder / "fit.json")
    found = printed(capsys, "solve", fit, "--paths", "1000", "--cost", "0.05", *given(specs))
    compared = {row["spec"] for row in found["rules"]}
    assert {parse_rule(spec, W - 1).spec() for spec in specs} <= compared


def test_sweep_runs_rules_at_its_window_or_says_why_not(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = ["--drift", "0.1", "--rise", "1", "--perturbed", "0.2", "--tokens", "256"]
    run = ["sweep", *world, "--window", str(W - 1), "--jobs", "1"]
    slow = {"hedged", "minimax", "hedged-minimax", "hedged-minimum", "adaptive", "bayes", "snell"}
    specs = [spec for kind, spec in rules(folder).items() if kind not in slow]
    found = printed(capsys, *run, *given(specs))
    assert found["rules"] == [parse_rule(spec, W - 1).spec() for spec in specs]
    for kind in slow:
        assert "the engine has no scan for this rule" in refused(
            capsys, *run, "--rule", texts(folder)[kind]
        )


@pytest.mark.slow
def test_generate_takes_every_kind(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ["generate", "--model", str(folder / "model"), "--prompt", "1", "--max-new-tokens", "3"]
    for kind, text in texts(folder).items():
        assert printed(capsys, *run, *given([text]))["rule"].partition(":")[0] == kind


def test_evaluate_takes_every_kind(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    specs = list(texts(folder).values())
    run = ["evaluate", "--model", str(folder / "model"), "--max-new-tokens", "3"]
    found = printed(capsys, *run, "--prompts", str(folder / "prompts.jsonl"), *given(specs))
    assert {row["spec"].partition(":")[0] for row in found["rules"]} == set(kinds())


def test_the_harness_and_custom_generate_read_every_kind(folder: Path) -> None:
    for kind, text in texts(folder).items():
        assert decoder_of(text).kind == kind


def test_what_is_no_rule_on_entropies_is_refused_with_the_reason(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = set(kinds()) - set(rules(folder))
    assert others == {"dola", "sled", "calm", "mix", "released-score"}
    for command in ("validate", "solve", "sweep"):
        # A pool is validated: its log-loss follows from its layers'.
        for kind in others - ({"mix"} if command == "validate" else set()):
            assert "is no rule on entropies" in refused(capsys, command, "--rule", kind)
