"""The explorers: the same rules as the package's, moved by keyboard."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from stopping.model.noise import UniformNoise
from stopping.model.process import Process
from stopping.rules import ForwardExit, Guarded, Patience, Search, Tolerance, WindowMinimum
from stopping.theory.bounds import excess_bound, tolerance_bound
from stopping.theory.certificates import certify
from stopping.theory.guarded import hedged_search
from stopping.theory.identification import identify
from stopping.types import FloatArray
from tests.book.browser import PATIENCE, View

VIEWS = (
    View("http", "desktop", "light"),
    View("http", "phone", "dark"),
    View("file", "desktop", "dark"),
)


@pytest.fixture(scope="module", params=VIEWS, ids=str)
def page(
    request: pytest.FixtureRequest, browser: Browser, site: Path, address: str
) -> Iterator[Page]:
    base = address if request.param.scheme == "http" else site.as_uri() + "/"
    context = browser.new_context(**request.param.options)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(base + "pages/explorer.html")
    yield page
    context.close()


@pytest.fixture
def simulated(page: Page) -> Locator:
    page.reload()
    return page.locator(".explorer[data-kind=simulated]")


@pytest.fixture
def real(page: Page) -> Locator:
    page.reload()
    return page.locator(".explorer[data-kind=real]")


def data(box: Locator, name: str) -> Any:
    return json.loads(str(box.get_attribute(f"data-{name}")))


def press(page: Page, setting: Locator, key: str, times: int) -> None:
    setting.focus()
    for _ in range(times):
        page.keyboard.press(key)


def traces() -> FloatArray:
    """Random windows: of the model's own worlds, of noise alone, with ties, falling, rising."""
    rng = np.random.default_rng(7)
    process = Process(layers=9, noise=UniformNoise(0.3), drift=0.2, rise=0.7, perturbed=0.5, K=8)
    noise = rng.uniform(0, 1, (200, 9))
    return np.concatenate(
        [
            process.sample(rng, 300).x,
            noise,
            np.round(4 * noise) / 4,
            np.sort(noise, axis=1)[:20],
            np.sort(noise, axis=1)[:20, ::-1],
        ]
    )


RULES = {
    "search(x, 5, 0)": Search(K=5),
    "search(x, 20, 0)": Search(K=20),
    "search(x, 8, 0.1)": Tolerance(0.1, K=8),
    "guarded(x, 8, 0.2)": Guarded(0.2, K=8),
    "patience(x, 8, 1)": Patience(1, K=8),
    "patience(x, 4, 2)": Patience(2, K=4),
    "minimum(x, 6)": WindowMinimum(K=6),
    "forward(x, 6, 0.4)": ForwardExit(0.4, K=6),
}


@pytest.mark.parametrize("call", RULES)
def test_the_rules_are_those_of_the_package(page: Page, call: str) -> None:
    x = traces()
    chosen = page.evaluate(f"(all) => all.map((x) => layerStopping.{call})", x.tolist())
    np.testing.assert_array_equal(chosen, RULES[call].choose(x))


def test_a_rule_off_by_a_tie_would_be_noticed(page: Page) -> None:
    x = traces()
    loose = "(x) => { let l = x.length - 1; while (l > 0 && x[l - 1] <= x[l]) l--; return l; }"
    chosen = page.evaluate(f"(all) => all.map({loose})", x.tolist())
    assert (chosen != Search(K=8).choose(x)).any()


@pytest.mark.parametrize("eps_max", [0.0, 0.1, 0.3, 1.0])
def test_the_certificate_is_that_of_the_package(page: Page, eps_max: float) -> None:
    x = traces()
    code = """([all, eps]) => all.map((x) =>
        [layerStopping.turningPoints(x, eps), layerStopping.certificate(x, eps)])"""
    points, proofs = zip(*page.evaluate(code, [x.tolist(), eps_max]), strict=True)
    consistent = identify(x).consistent(eps_max)
    assert [list(np.flatnonzero(row)) for row in consistent] == list(points)
    expected = certify(x, eps_max)
    assert [proof is not None for proof in proofs] == expected.explained.tolist()
    found = np.array([proof for proof in proofs if proof is not None])
    # Sums of a few numbers below ten: the order of additions may differ.
    np.testing.assert_allclose(found, expected.excess[expected.explained], atol=1e-12)


def test_it_starts_where_the_package_says(simulated: Locator, real: Locator) -> None:
    for box in (simulated, real):
        assert data(box, "stop") == data(box, "python-stop")
    assert data(simulated, "certificate") == pytest.approx(data(simulated, "python-certificate"))
    assert data(simulated, "excess") <= data(simulated, "certificate")


def test_settings_move_by_keyboard(page: Page, simulated: Locator) -> None:
    before = data(simulated, "stop")
    press(page, simulated.get_by_role("slider", name="window"), "ArrowLeft", 9)
    assert data(simulated, "stop") == 18, "a window of one step"
    press(page, simulated.get_by_role("slider", name="window"), "End", 1)
    press(page, simulated.get_by_role("slider", name="noise"), "Home", 1)
    assert data(simulated, "stop") == 16, "without noise it stops at the turning point"
    assert data(simulated, "excess") == 0
    press(page, simulated.get_by_role("slider", name="perturbation"), "Home", 1)
    assert data(simulated, "stop") == 19, "without a rise there is nothing to step down from"
    assert before < 18


def test_a_new_token_is_another_one_and_is_read_out(page: Page, simulated: Locator) -> None:
    readout = simulated.locator("[aria-live]")
    seen = {readout.inner_text()}
    for _ in range(5):
        simulated.get_by_role("button", name="New token").focus()
        page.keyboard.press("Enter")
        seen.add(readout.inner_text())
        assert simulated.locator("svg").get_attribute("aria-label").endswith(readout.inner_text())
    assert len(seen) > 3


def test_the_walk_goes_step_by_step_and_ends(page: Page, simulated: Locator) -> None:
    readout = simulated.locator("[aria-live]")
    whole = readout.inner_text()
    simulated.get_by_role("button", name="Search step by step").press("Enter")
    steps = 19 - data(simulated, "stop")
    for _ in range(steps):
        assert "go on" in readout.inner_text()
        simulated.get_by_role("button", name="Next step").press("Enter")
    assert readout.inner_text().endswith("stop.")
    simulated.get_by_role("button", name="Next step").press("Enter")
    assert readout.inner_text() == whole


def test_every_real_token_stops_where_the_rules_say(page: Page, real: Locator) -> None:
    embedded = json.loads(real.locator("script").inner_text())
    rules = {
        "search": Search(K=10),
        "guarded 0.5": Guarded(0.5, K=10),
        "patience 1": Patience(1, K=10),
        "window minimum": WindowMinimum(K=10),
        "forward exit 0.1": ForwardExit(0.1, K=10),
    }
    for model, found in embedded["models"].items():
        real.get_by_label("model").select_option(model)
        x = np.array([token["x"] for token in found["tokens"]])
        expected = {name: rule.choose(x) for name, rule in rules.items()}
        loss = -np.array([token["logp"] for token in found["tokens"]])[:, -11:]
        expected["hindsight"] = x.shape[1] - 1 - loss[:, ::-1].argmin(axis=1)
        for i in range(len(x)):
            real.get_by_label("token", exact=True).select_option(str(i))
            stops = data(real, "stops")
            assert {name: stops[name] for name in expected} == {
                n: s[i] for n, s in expected.items()
            }


def test_real_tokens_by_keyboard(page: Page, real: Locator) -> None:
    shown = real.locator(".explorer-context")
    first = shown.inner_text()
    real.get_by_role("button", name="Next token").press("Enter")
    assert shown.inner_text() != first
    real.get_by_role("button", name="Previous token").press("Enter")
    assert shown.inner_text() == first
    press(page, real.get_by_role("slider", name="tolerance"), "End", 1)
    expect(real.locator("table")).to_contain_text("tolerance 1.00")


def test_without_javascript_a_sentence_says_what_would_be_seen(
    browser: Browser, address: str
) -> None:
    context = browser.new_context(java_script_enabled=False)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(address + "pages/explorer.html")
    for box in page.locator(".explorer-fallback").all():
        assert "the search stops at layer" in box.inner_text()
        assert "Turn on JavaScript" in box.inner_text()
    assert page.locator(".explorer-fallback").count() == 2
    context.close()


@pytest.mark.parametrize("tau", [0.0, 0.3, 0.6])
def test_the_bound_is_that_of_the_package_where_its_premise_holds(page: Page, tau: float) -> None:
    code = "([eps, tau, rises, inside]) => layerStopping.bound(eps, tau, rises, inside)"
    eps, large = 0.25, 2 * 0.25 + tau + 0.01
    expected = float(tolerance_bound(eps, tau, 1)) if tau else float(excess_bound(eps))
    assert page.evaluate(code, [eps, tau, large, True]) == pytest.approx(max(0.0, expected))
    assert page.evaluate(code, [eps, tau, 2 * eps + tau, True]) is None, "A3, with the tolerance"
    assert page.evaluate(code, [eps, tau, large, False]) is None, "A4"


def test_no_bound_stands_below_what_is_lost(page: Page, simulated: Locator) -> None:
    """With tolerance 0.60 and rises of 0.55 T5 does not apply: there is no bound to show."""
    press(page, simulated.get_by_role("slider", name="tolerance"), "ArrowRight", 12)
    assert simulated.get_attribute("data-bound") == "none"
    expect(simulated.locator(".explorer-readout")).to_contain_text("T5 does not apply")


@pytest.mark.parametrize(("where", "presets"), [("bounds", 3), ("game", 1)])
def test_presets_start_where_the_package_says(
    browser: Browser, address: str, where: str, presets: int
) -> None:
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(f"{address}pages/{where}.html")
    boxes = page.locator(".explorer[data-stop]").all()
    assert len(boxes) == presets
    for box in boxes:
        assert data(box, "stop") == data(box, "python-stop")
        for name in ("certificate", "hedged"):
            expected = box.get_attribute(f"data-python-{name}")
            if expected not in (None, "none"):
                assert data(box, name) == pytest.approx(float(expected))
            elif expected == "none":
                assert box.get_attribute(f"data-{name}") == "none"
    context.close()


def test_the_hedge_is_that_of_the_package(page: Page) -> None:
    x = traces()
    code = "(all) => all.map((x) => layerStopping.hedged(x, 8, 0.3))"
    found = np.zeros_like(x)
    for row, pairs in enumerate(page.evaluate(code, x.tolist())):
        for layer, weight in pairs:
            found[row, layer] += weight
    np.testing.assert_allclose(found, hedged_search(x, 0.3), atol=1e-12)
