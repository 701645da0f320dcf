"""Data of the explorers: one token of a known world, and a sample of the bundled traces, as HTML.

What the browser computes again, the package computes here: the sentence for those without
JavaScript, and the numbers that the browser test compares.
"""

import html
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from IPython.display import HTML

from empirical.notebook import bundled, text_before
from empirical.traces.files import Traces
from stopping.model.paths import Paths
from stopping.model.windows import window_start
from stopping.rules import Tolerance
from stopping.theory.certificates import certify
from stopping.theory.guarded import hedged_search
from stopping.types import FloatArray

LAYERS, FLOOR = 20, 0.8


@dataclass(frozen=True)
class Slider:
    """One setting of an explorer; `step` below 1 means nats."""

    name: str
    label: str
    value: float
    least: float
    most: float
    step: float
    unit: str = ""

    def as_json(self) -> dict[str, object]:
        """Return the names that an HTML slider has."""
        kept = asdict(self)
        return kept | {"min": kept.pop("least"), "max": kept.pop("most")}


WINDOW = Slider("K", "window, steps back", 10, 1, 15, 1, " steps back")
TOLERANCE = Slider("tau", "tolerance τ", 0.0, 0.0, 1.0, 0.05)
WORLD = (
    Slider("eps", "noise εₘₐₓ", 0.25, 0.0, 1.0, 0.01),
    Slider("drift", "drift, mean fall", 0.15, 0.0, 0.5, 0.01),
    Slider("rise", "perturbation, rise", 0.55, 0.0, 1.5, 0.01),
    TOLERANCE,
    WINDOW,
)


@dataclass(frozen=True)
class Preset:
    """A token of a known world, and where the sliders stand.

    Attributes
    ----------
    turning : int
        V*, a column of `LAYERS`.
    falls : FloatArray
        Of G onto each layer up to V*, in drifts, shape (LAYERS,).
    noise : FloatArray
        In `eps_max`, from -1 to 1, shape (LAYERS,).
    moved : dict of str to float
        Sliders that do not stand where they do by default.
    """

    turning: int
    falls: FloatArray
    noise: FloatArray
    moved: dict[str, float] = field(default_factory=dict)


def drawn(seed: int) -> Preset:
    """Return a random token, at the sliders' defaults."""
    rng = np.random.default_rng(seed)
    falls, noise = rng.standard_exponential(LAYERS), rng.uniform(-1, 1, LAYERS)
    return Preset(LAYERS - 4, falls, noise)


def presets() -> dict[str, Preset]:
    """Return the worlds that the proofs of T1, T3, T5 and T7 are about."""
    plain, last = drawn(8), LAYERS - 1
    held = plain.noise.copy()
    held[[last - 1, last]] = 1.0, -1.0
    turning, steps = LAYERS - 4, 4
    rising = plain.noise.copy()
    rising[turning - steps : turning + 1] = np.linspace(-1, 1, steps + 1)
    rising[turning - steps - 1] = 1.0
    even = np.ones(LAYERS)
    pair = np.zeros(LAYERS)
    pair[[last - 1, last]] = -1.0, 1.0
    steep = np.where(np.arange(LAYERS) == last, 1.0, 0.5)
    return {
        "T1": Preset(turning, plain.falls, held, {"rise": 0.5}),
        "T3": Preset(turning, even, rising, {"drift": 0.1}),
        "T5": Preset(turning, even, rising, {"drift": 0.1, "tau": 0.05, "rise": 0.6}),
        "T7": Preset(last, steep, pair, {"drift": 0.45}),
    }


def simulated(preset: Preset, hedge: bool = False) -> HTML:
    """One token whose world is known, with the sliders where a preset has them.

    With `hedge` the mean loss of T7's hedged search stands beside the search's.
    """
    sliders = [replace(s, value=preset.moved.get(s.name, s.value)) for s in WORLD]
    eps, drift, rise, tau, K = (slider.value for slider in sliders)
    turning = preset.turning
    below = np.append(np.cumsum(drift * preset.falls[turning:0:-1])[::-1], 0.0)
    G = FLOOR + np.concatenate([below, rise * np.arange(1, LAYERS - turning)])
    l_min = window_start(LAYERS, int(K))
    paths = Paths.from_latent(G[None], eps * preset.noise[None], np.array([turning]), l_min)
    stop = Tolerance(tau, int(K)).choose(paths.x)
    found = certify(paths.x[:, l_min:], eps)
    proof = float(found.excess[0, stop[0] - l_min]) if found.explained[0] else None
    data = {
        "sliders": [slider.as_json() for slider in sliders],
        "floor": FLOOR,
        "hedge": hedge,
        "token": {
            "turning": turning,
            "falls": preset.falls.tolist(),
            "noise": preset.noise.tolist(),
        },
    }
    sentence = (
        f"With εₘₐₓ = {eps:g} nats the search stops at layer {stop[0] + 1}; V* is layer "
        f"{turning + 1}. It loses {paths.excess(stop)[0]:.2f} nats."
    )
    facts: dict[str, float | None] = {"stop": int(stop[0]), "certificate": proof}
    if hedge:
        weights = hedged_search(paths.x[:, l_min:], eps)[0]
        facts["hedged"] = float(weights @ (G[l_min:] - G[turning]))
    return _explorer("simulated", data, sentence, facts)


def real(seed: int, each: int) -> HTML:
    """Tokens of the bundled traces: `each` that stay, move, go wrong → right, right → wrong."""
    models = {name: _sample(traces, seed, each) for name, traces in bundled().items()}
    data = {"sliders": [TOLERANCE.as_json(), {**WINDOW.as_json(), "max": 11}], "models": models}
    first, name = next(iter(models.values())), next(iter(models))
    token = first["tokens"][0]
    stop = int(Tolerance(0.0, 10).choose(np.array([token["x"]]))[0])
    sentence = (
        f"The first of these tokens, of {name}: after “{token['before']}” the search stops at "
        f"layer {first['first'] + stop}, which says “{token['says'][stop]}”; the final layer says "
        f"“{token['says'][-1]}”."
    )
    return _explorer("real", data, sentence, {"stop": stop})


def _sample(traces: Traces, seed: int, each: int) -> dict[str, object]:
    x = traces.entropy.astype(float)
    rows, stop = np.arange(len(x)), Tolerance(0.0, 10).choose(x)
    moved = stop < x.shape[1] - 1
    right, right_last = traces.top1[rows, stop] == traces.token, traces.top1[:, -1] == traces.token
    readable = traces.position >= 4
    groups = (
        ~moved,
        moved & (right == right_last),
        moved & right & ~right_last,
        moved & ~right & right_last,
    )
    rng = np.random.default_rng(seed)
    chosen = np.concatenate(
        [rng.choice(np.flatnonzero(group & readable), each, replace=False) for group in groups]
    )
    tokens = [_token(traces, int(row)) for row in rng.permutation(chosen)]
    return {"first": int(traces.layers[0]), "tokens": tokens}


def _token(traces: Traces, row: int) -> dict[str, object]:
    words = traces.vocabulary
    return {
        "before": text_before(traces, row, 20),
        "next": words[int(traces.token[row])],
        # As stored, so that the browser compares the very numbers that the rules of Python see.
        "x": [float(v) for v in traces.entropy[row]],
        "logp": [round(float(v), 4) for v in traces.log_prob[row]],
        "says": [words[int(t)] for t in traces.top1[row]],
        "conf": [round(float(v), 3) for v in traces.top1_prob[row]],
    }


def _explorer(
    kind: str, data: Mapping[str, object], sentence: str, python: Mapping[str, float | None]
) -> HTML:
    facts = " ".join(
        f'data-python-{name}="{"none" if value is None else repr(value)}"'
        for name, value in python.items()
    )
    # A closing tag within the data would end the script element.
    embedded = json.dumps(data, ensure_ascii=False).replace("</", "<\\/")
    return HTML(
        f'<div class="explorer" data-kind="{kind}" {facts}>'
        f'<script type="application/json">{embedded}</script>'
        f'<p class="explorer-fallback">{html.escape(sentence)} Turn on JavaScript to move the '
        "settings.</p></div>"
    )
