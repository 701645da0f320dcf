"""What `verify` prints in place of the claims: averages, robustness, figures."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from stopping.cli.main import main
from stopping.cli.verify_robustness import TOKENS, select, summary
from stopping.model.densities import LAWS
from stopping.model.scenarios import Bound, scenarios
from stopping.simulation.montecarlo import Estimate, Moments, summarise
from stopping.simulation.robustness import Basis, Outcome, Row, robustness_table
from stopping.support.documents import plain
from stopping.theory.averages import average_table

Captured = pytest.CaptureFixture[str]


def run(capsys: Captured, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    text = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return end.value.code, text.out, text.err


def cells(line: str) -> list[str]:
    """What stands in a table's line: columns are two spaces apart, words one."""
    return re.split(r" {2,}", line.strip())


@pytest.mark.slow
def test_averages_json_is_the_table(capsys: Captured) -> None:
    code, out, _ = run(capsys, "verify", "averages", "--layers", "1", "--seed", "3", "--json")
    assert code == 0
    found = json.loads(out)
    expected = average_table(np.random.default_rng(3), max_layers=1)
    assert found["cases"] == json.loads(json.dumps(plain(expected)))
    assert found["cases"][0]["constant"] == pytest.approx(4.0 / 27.0, abs=1e-9)


def test_averages_text_has_every_law_bound_and_unit(capsys: Captured) -> None:
    code, out, _ = run(capsys, "verify", "averages", "--layers", "1")
    assert code == 0
    lines = {name: rest for name, *rest in map(cells, out.splitlines())}
    assert lines["unit"] == [law.unit for law in LAWS]
    assert lines["T2: 2 eps_max"] == ["2.0000", "2.0000", "-", "-"]
    assert lines["T10: sigma sqrt(pi)"] == ["1.0233", "0.8862", "1.7725", "-"]
    assert "0.148148" in lines["at least"]
    # The proof covers all windows, whatever was searched, and is rounded upwards.
    assert "0.155829" in lines["at most"]
    # Brackets must not be taken for markup.
    assert "E[excess; V^ <= V*]" in out
    assert "not converged: none; seed 0" in out


def test_robustness_json_is_one_call_of_the_table(capsys: Captured) -> None:
    code, out, _ = run(
        capsys, "verify", "robustness", "--effort", str(2000 / TOKENS), "--seed", "5", "A4",
        "*rho = 0.9, flat", "--json",
    )  # fmt: skip
    assert code == 0
    chosen = tuple(
        scenario
        for scenario in scenarios()
        if scenario.broken == "A4"
        or (scenario.parameter.endswith("rho = 0.9") and scenario.shape == "flat")
    )
    assert len(chosen) == 4
    assert json.loads(out)["rows"] == json.loads(
        json.dumps(plain(robustness_table(5, 2000, chosen, 1e-3)))
    )


def test_the_rows_share_one_error_level(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = []

    def spy(moments: Moments, level: float, seed: int) -> Estimate:
        levels.append(level)
        return summarise(moments, level, seed)

    monkeypatch.setattr("stopping.simulation.robustness.summarise", spy)
    few = ("--effort", str(100 / TOKENS), "--error", "0.01", "--jobs", "1")
    code, out, _ = run(capsys, "verify", "robustness", "A4", "nothing", *few, "--json")
    assert code == 0
    rows = len(json.loads(out)["rows"])
    assert len(levels) == rows > 4
    assert [1.0 - level for level in levels] == pytest.approx([0.01 / rows] * rows, rel=1e-9)


def test_robustness_text_groups_by_assumption(capsys: Captured) -> None:
    code, out, _ = run(
        capsys, "verify", "robustness", "--effort", str(2000 / TOKENS), "nothing", "A4"
    )
    assert code == 0
    assert out.index("No assumption broken") < out.index("Broken: A4")
    assert out.count("V* 1 below the window, valley") == 1
    assert "2,000 tokens per world" in out
    assert ["T1", "0", "0", "2", "0", "100% of tokens"] in map(cells, out.splitlines())
    assert max(map(len, out.splitlines())) <= 100


def test_selection_by_name_and_pattern() -> None:
    assert select(()) == scenarios()
    assert {scenario.broken for scenario in select(("A3",))} == {"A3"}
    flat = select(("*, flat",))
    assert {scenario.shape for scenario in flat} == {"flat"}
    assert select(("A4", "A3")) == select(("A3", "A4"))


def test_summary_counts_failures_and_bases() -> None:
    def row(outcome: Outcome, basis: Basis, estimate: float, broken: str = "A3") -> Row:
        return Row(
            broken=broken, parameter="", shape="flat", bound=Bound.MEAN, quantity="", limit=0.5,
            estimate=estimate, stderr=0.0, greatest=1.0, outcome=outcome, basis=basis, n=2, seed=0,
        )  # fmt: skip

    counted = summary(
        [
            row(Outcome.SURVIVES, Basis.THEOREM, 0.1, broken="nothing"),
            row(Outcome.SURVIVES, Basis.THEOREM, 0.1),
            row(Outcome.SURVIVES, Basis.SIMULATION, 0.1),
            row(Outcome.SURVIVES, Basis.SIMULATION, 0.1),
            row(Outcome.FAILS, Basis.SIMULATION, 0.75),
            row(Outcome.FAILS, Basis.SIMULATION, 1.5),
            row(Outcome.FAILS, Basis.SIMULATION, 1.0),
            row(Outcome.UNDECIDED, Basis.SIMULATION, 0.5),
        ]
    )
    console = Console(width=100)
    with console.capture() as caught:
        console.print(counted)
    lines = map(cells, caught.get().splitlines())
    assert ["T10 mean", "1", "2", "3", "1", "3 times the bound"] in lines


@pytest.mark.slow
def test_figures_writes_what_is_asked_and_lists_it(capsys: Captured, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    code, out, _ = run(
        capsys, "verify", "figures", "--out", str(folder), "values", "tolerance",
        "--format", "png", "--quick",
    )  # fmt: skip
    assert code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["tolerance.png", "values.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.iterdir())
    assert [line.split()[0] for line in out.splitlines()] == [
        str(folder / "tolerance.png"),
        str(folder / "values.png"),
    ]


def test_figures_json(capsys: Captured, tmp_path: Path) -> None:
    code, out, _ = run(
        capsys, "verify", "figures", "--out", str(tmp_path), "tolerance", "--json", "--seed", "2"
    )
    assert code == 0
    path = str(tmp_path / "tolerance.svg")
    assert json.loads(out) == {
        "seed": 2,
        "quick": False,
        "figures": [{"name": "tolerance", "label": "T5", "path": path}],
    }
    assert Path(path).read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("averages", "--layers", "0"), "--layers"),
        (("averages", "--seed", "-1"), "--seed"),
        (("averages", "T13"), "unexpected extra argument"),
        (("--layers", "3"), "No such option"),
        (("robustness", "--effort", "0"), "--effort"),
        (("robustness", "--effort", "9999", "--thorough"), "with --thorough"),
        (("robustness", "A9"), "fits no world"),
        (("figures", "nonsense"), "no such figure"),
        (("figures", "--format", "bmp"), "--format"),
        (("figures", "tolerance", "--out", "/dev/null/x"), "cannot write"),
    ],
)
def test_bad_input_exits_2_and_says_why(
    capsys: Captured, arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = run(capsys, "verify", *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert out == ""
