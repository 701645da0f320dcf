"""Curves are what theory says; figures show the curves, inside the canvas, legible in grey."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from stopping.errors import UserError
from stopping.figures.data import (
    Survival,
    excess_curve,
    how_far,
    mixing_curve,
    run_curve,
    stop_curve,
    survivals,
    token_certificate,
    tolerance_curve,
    value_curve,
)
from stopping.figures.data.excess import DRIFTS
from stopping.figures.data.excess import RISES as RISE_GRID
from stopping.figures.draw import (
    FIGURES,
    draw_certificate,
    draw_excess,
    draw_mean_bounds,
    draw_runs,
    draw_stops,
    draw_sure_bounds,
    draw_token,
    draw_tolerance,
    draw_values,
)
from stopping.figures.theme import blank, mathematics, save, settings
from stopping.model.scenarios import Bound
from stopping.simulation.robustness import Basis, Outcome, Row

SEED = 11
# Fifty or so frequencies are compared: 5 standard errors leave 3e-5 of false alarm.
ERRORS = 5.0


def rng() -> np.random.Generator:
    return np.random.default_rng(SEED)


def axes() -> Axes:
    return blank().subplots()


# --- curves ---------------------------------------------------------------------------------------


def test_excess_comes_near_the_bound_and_never_reaches_it() -> None:
    data = excess_curve(rng(), 100)
    assert (data.adversarial < 1.0).all()
    for j in range(1, data.K + 1):
        just_below = np.isclose(data.drift, 2.0 / j, rtol=1e-8) & (data.drift < 2.0 / j)
        assert data.adversarial[just_below] == pytest.approx(1.0, abs=1e-8)
    assert (data.adversarial[data.drift >= 2.0] == 0.0).all()


def test_random_noise_stays_below_the_adversary() -> None:
    data = excess_curve(rng(), 300)
    assert (data.uniform <= data.adversarial).all()
    assert (data.uniform < data.adversarial).any()
    assert (data.mean <= data.uniform).all()
    # T13: no drift brings the mean near the bound.
    assert data.mean.max() < 0.1


def test_tolerance_attains_its_bound_and_its_requirement() -> None:
    data = tolerance_curve()
    assert (data.attained <= data.bound + 1e-9).all()
    assert (data.attained >= data.bound - np.diff(DRIFTS).max()).all()
    assert (data.refuted <= data.required + 1e-9).all()
    assert (data.refuted >= data.required - np.diff(RISE_GRID).max() - 1e-9).all()


def test_runs_agree_with_bound_and_exact_distribution() -> None:
    data = run_curve(rng(), 20_000)
    assert (data.falling[1:] < data.bound[1:]).all()
    for found in data.flat_simulated:
        assert_frequencies(found.frequency, data.bound, found.n)
    assert_frequencies(data.falling_simulated.frequency, data.falling, 20_000)
    with pytest.raises(AssertionError):
        assert_frequencies(data.falling_simulated.frequency, data.bound, 20_000)


def test_stops_agree_with_the_exact_distribution() -> None:
    data = stop_curve(rng(), 20_000)
    for rule in data.rules:
        assert_frequencies(rule.simulated.frequency, rule.exact.probability, 20_000)
    search, tolerant = (rule.exact for rule in data.rules)
    assert tolerant.expected_overshoot(data.turning) < search.expected_overshoot(data.turning)
    assert search.stop_above(data.turning) == pytest.approx(0.0, abs=1e-9)
    assert tolerant.stop_above(data.turning) > 0.01
    with pytest.raises(AssertionError):
        assert_frequencies(data.rules[0].simulated.frequency, tolerant.probability, 20_000)


def assert_frequencies(found: np.ndarray, exact: np.ndarray, n: int) -> None:
    exact = np.clip(exact, 0.0, 1.0)
    # A count of a rare event is Poisson: one more in n keeps the normal bound honest there.
    allowed = ERRORS * np.sqrt(exact * (1.0 - exact) / n) + ERRORS / n
    assert (np.abs(found - exact) <= allowed).all()


def test_values_are_those_of_the_programs() -> None:
    data = value_curve()
    assert data.gap < 1e-6
    closed = np.interp(data.programmed, data.rise, data.randomised)
    # Linear interpolation of 1 - d^2/4 on steps of 0.01 errs by at most 0.01^2 / 16.
    assert np.abs(data.programs - closed).max() < 1e-5
    below = data.rise < 2.0
    assert data.deterministic[below] == pytest.approx(2.0 - data.rise[below])
    assert (data.deterministic[~below & (data.rise > 2.0)] == 0.0).all()
    assert (data.randomised <= data.deterministic + 1e-12).all()
    assert data.deterministic.max() < data.deterministic_limit == 2.0
    assert data.randomised.max() < data.randomised_limit == 1.0


def test_no_constant_reaches_the_hedge() -> None:
    data = mixing_curve()
    for series in data.series:
        assert series.worst.min() > data.hedged
        assert abs(data.p[series.worst.argmin()] - series.best) <= data.p[1]
        assert series.worst[-1] == pytest.approx(data.search)


def test_token_shows_the_guard_at_work() -> None:
    data = token_certificate(rng())
    assert (np.abs(data.x - data.latent) <= data.eps_max).all()
    assert (data.excess <= data.certificate + 1e-9).all()
    assert data.turning - data.search >= 3
    assert data.turning - data.guarded == 1
    assert data.certificate[data.guarded] == data.certificate.min()


def row(bound: Bound, outcome: Outcome, basis: Basis, estimate: float, limit: float) -> Row:
    return Row(
        broken="A3", parameter="weak rise", shape="valley", bound=bound, quantity="", limit=limit,
        estimate=estimate, stderr=0.0, greatest=0.0, outcome=outcome, basis=basis, n=2, seed=0,
    )  # fmt: skip


def test_cells_keep_the_worst() -> None:
    rows = [
        row(Bound.EXCESS, Outcome.SURVIVES, Basis.THEOREM, 0.0, 0.0),
        row(Bound.EXCESS, Outcome.FAILS, Basis.SIMULATION, 0.25, 0.0),
        row(Bound.RUN_1, Outcome.SURVIVES, Basis.THEOREM, 0.25, 0.5),
        row(Bound.RUN_2, Outcome.SURVIVES, Basis.SIMULATION, 0.1, 0.4),
        row(Bound.CONTAINMENT, Outcome.UNDECIDED, Basis.SIMULATION, 0.0, 0.0),
        row(Bound.CONTAINMENT, Outcome.SURVIVES, Basis.THEOREM, 0.0, 0.0),
    ]
    cells = {cell.label: cell for cell in survivals(rows)}
    assert list(cells) == ["T2", "T11", "T1"]
    assert cells["T2"].outcome is Outcome.FAILS
    assert (cells["T2"].sure, cells["T2"].size) == (True, 0.25)
    assert cells["T11"].outcome is Outcome.SURVIVES
    assert cells["T11"].basis is Basis.SIMULATION
    assert (cells["T11"].sure, cells["T11"].size) == (False, 0.5)
    assert cells["T1"].outcome is Outcome.UNDECIDED
    assert how_far(rows[2]) == 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: excess_curve(rng(), 0), "tokens"),
        (lambda: tolerance_curve(np.array([-0.1])), "tolerances"),
        (lambda: run_curve(rng(), 1), "two draws"),
        (lambda: stop_curve(rng(), 1), "two draws"),
        (lambda: mixing_curve(1), "points"),
        (lambda: token_certificate(rng(), 1), "draw more"),
    ],
)
def test_curves_say_what_is_wrong(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(UserError, match=message):
        call()


# --- drawings -------------------------------------------------------------------------------------


def drawn(ax: Axes, values: np.ndarray) -> bool:
    """Whether some line or set of bars of the axes shows these values."""
    lines = [np.asarray(line.get_ydata(), dtype=float) for line in ax.lines]
    bars = [
        np.array([bar.get_height() for bar in container])
        for container in ax.containers
        if isinstance(container, BarContainer)
    ]
    return any(
        shown.shape == values.shape and np.array_equal(shown, values) for shown in lines + bars
    )


def test_drawings_show_the_data_and_compute_nothing() -> None:
    # Values that no theory gives: whatever is drawn can only come from the data.
    invented = np.random.default_rng(1).random((2, len(DRIFTS)))
    curve = replace(excess_curve(rng(), 2), adversarial=invented[0], mean=invented[1])
    draw_excess(ax := axes(), curve)
    for values in (curve.adversarial, curve.uniform, curve.mean):
        assert drawn(ax, values)

    tolerance = tolerance_curve(np.array([0.0, 1.0]))
    tolerance = replace(tolerance, attained=np.array([0.4, 0.9]), refuted=np.array([0.1, 0.7]))
    draw_tolerance(ax := axes(), tolerance)
    for values in (tolerance.bound, tolerance.attained, tolerance.required, tolerance.refuted):
        assert drawn(ax, values)

    runs = replace(run_curve(rng(), 10), falling=np.linspace(0.9, 0.3, 7))
    draw_runs(ax := axes(), runs)
    for values in (runs.bound, runs.falling, runs.falling_simulated.frequency):
        assert drawn(ax, values)

    stops = stop_curve(rng(), 10)
    draw_stops(ax := axes(), stops)
    for rule in stops.rules:
        assert drawn(ax, rule.exact.probability)
        assert drawn(ax, rule.simulated.frequency)

    values_curve = replace(value_curve(), randomised=np.linspace(0.2, 0.9, 240))
    draw_values(ax := axes(), values_curve)
    for values in (
        values_curve.deterministic,
        values_curve.randomised,
        *values_curve.programs,
    ):
        assert drawn(ax, values)

    token = token_certificate(rng())
    draw_token(ax := axes(), token)
    assert drawn(ax, token.x)
    assert drawn(ax, token.latent)
    draw_certificate(ax := axes(), token)
    assert drawn(ax, token.certificate)
    assert drawn(ax, token.excess)


def test_robustness_marks_tell_outcomes_apart() -> None:
    cells = [
        Survival("A3", "weak rise", "T1", True, Outcome.FAILS, Basis.SIMULATION, 0.28),
        Survival("A3", "weak rise", "T2", True, Outcome.SURVIVES, Basis.THEOREM, 0.0),
        Survival("A3", "weak rise", "T4", True, Outcome.UNDECIDED, Basis.SIMULATION, 0.0),
        Survival("A3", "weak rise", "T10 mean", False, Outcome.SURVIVES, Basis.SIMULATION, 0.5),
        Survival("A3", "weak rise", "T11", False, Outcome.FAILS, Basis.SIMULATION, 3.0),
        Survival("A4", "outside", "T10 above", False, Outcome.SURVIVES, Basis.THEOREM, 0.0),
    ]
    draw_sure_bounds(ax := axes(), cells)
    words = [text.get_text() for text in ax.texts]
    assert sorted(words) == ["28 %", "?"]
    marks = [line for line in ax.lines if line.get_marker() == "o"]
    assert [list(mark.get_xdata()) for mark in marks] == [[1]]
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "A3:  weak rise",
        "A4:  outside",
    ]

    draw_mean_bounds(ax := axes(), cells)
    marks = [line for line in ax.lines if line.get_linestyle() == "None"]
    mean, runs, above = marks
    assert mean.get_markerfacecolor() == "none"
    assert runs.get_markerfacecolor() == runs.get_color() != mean.get_color()
    assert above.get_markerfacecolor() == above.get_color() == mean.get_color()
    assert [float(np.asarray(mark.get_xdata())[0]) for mark in marks] == [0.5, 3.0, 1e-3]


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    before = dict(mpl.rcParams)
    made = {plate.name: plate.figure(SEED, quick=True) for plate in FIGURES}
    assert dict(mpl.rcParams) == before
    return made


def test_every_result_has_its_figure() -> None:
    labels = " ".join(plate.label for plate in FIGURES)
    for label in ("T2", "T5", "T6", "T7", "T8", "T10", "T11", "T12", "T13"):
        assert label in labels
    assert len({plate.name for plate in FIGURES}) == len(FIGURES)


@pytest.mark.slow
@pytest.mark.parametrize("name", [plate.name for plate in FIGURES])
def test_figures_state_a_message_and_stay_on_the_canvas(
    figures: dict[str, Figure], name: str
) -> None:
    figure = figures[name]
    for ax in figure.axes:
        assert ax.get_title(loc="left")
        below = ax.get_shared_x_axes().get_siblings(ax)
        assert any(sibling.get_xlabel() for sibling in below)
    assert fits(figure)


def fits(figure: Figure) -> bool:
    """Whether all that is drawn lies on the canvas."""
    width, height = figure.get_size_inches()
    box = figure.get_tightbbox()
    # Half a pixel of hinting.
    slack = 0.5 / figure.dpi
    return bool(
        min(box.x0, box.y0) >= -slack and box.x1 <= width + slack and box.y1 <= height + slack
    )


def test_a_clipped_title_is_caught() -> None:
    with settings():
        figure = blank(2.0, 2.0)
        figure.subplots().set_title("a message that is much longer than its figure")
        figure.draw_without_rendering()
    assert not fits(figure)


@pytest.mark.slow
@pytest.mark.parametrize("name", [plate.name for plate in FIGURES])
def test_legends_are_legible_in_grey(figures: dict[str, Figure], name: str) -> None:
    for ax in figures[name].axes:
        handles, labels = ax.get_legend_handles_labels()
        shapes = [shape(handle) for handle in handles]
        assert len(set(shapes)) == len(shapes), dict(zip(labels, shapes, strict=True))


def shape(handle: object) -> tuple[object, ...]:
    """What tells a legend's entry from another without colour."""
    if isinstance(handle, ErrorbarContainer):
        line = handle.lines[0]
        assert isinstance(line, Line2D)
        return ("bars", line.get_marker(), line.get_markerfacecolor() == "white")
    if isinstance(handle, BarContainer):
        return ("bar", handle[0].get_hatch())
    if isinstance(handle, Line2D):
        return (str(handle.get_linestyle()), str(handle.get_marker()))
    assert isinstance(handle, Patch) or hasattr(handle, "get_facecolor")
    return (type(handle).__name__,)


@pytest.mark.slow
def test_files_are_the_same_bytes_and_whole(tmp_path: Path, figures: dict[str, Figure]) -> None:
    plate = next(plate for plate in FIGURES if plate.name == "tolerance")
    for suffix in ("svg", "pdf"):
        for attempt in ("one", "two"):
            with settings():
                save(plate.figure(SEED, quick=True), tmp_path / f"{attempt}.{suffix}", suffix)
        assert (tmp_path / f"one.{suffix}").read_bytes() == (
            tmp_path / f"two.{suffix}"
        ).read_bytes()

    target = tmp_path / "one.svg"
    before = target.read_bytes()
    figure = figures["tolerance"]
    with pytest.raises(ValueError, match="not supported"):
        save(figure, target, "no-format")
    assert target.read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_symbols_are_typeset_once() -> None:
    assert mathematics("uniform, rho = -0.9") == r"uniform, $\rho$ = −0.9"
    assert mathematics("step +1 eps_max at V* = L") == (
        r"step +1 $\varepsilon_{\max}$ at $V^*$ = L"
    )


@pytest.mark.slow
def test_curves_and_commands_import_without_matplotlib() -> None:
    code = "import sys, stopping.figures.data, stopping.cli; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
