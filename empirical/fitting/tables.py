"""What `stopping fit` prints: one table for each question, and a dry summary."""

from collections import Counter
from dataclasses import replace

from rich.text import Text

from empirical.fitting.bounds import Bound
from empirical.fitting.compare import Candidate, Comparison
from empirical.fitting.fit import Fit
from empirical.fitting.predictive import Agreement, Prediction
from empirical.fitting.views import disagreement
from empirical.traces.window import headline
from stopping.changepoint.inference import Status
from stopping.support.results import Report
from stopping.support.statistics import Interval
from stopping.support.tables import estimate, number, span, status_text, table

FORMATS = {"share": ".1%", "nats": "+.3f", "layers": ".2f", "correlation": "+.2f"}


def report(result: Fit, file: str) -> Report:
    """Everything about one fit."""
    name = f"{result.name}, {result.lens} lens, {result.mode} mode"
    yield headline(file, name, result.tokens, result.prompts, result.K)
    yield misfit(result)
    if result.comparison is not None:
        yield from comparison(result.comparison)
    yield from layers(result)
    yield statuses(result)
    yield from views(result)
    yield from predictions(result)
    yield from bounds(result)
    yield summary(result)


def misfit(result: Fit) -> str:
    """Whether the model fits, and whether anything turns: what to know before any parameter."""
    found, gain = result.misfit, result.evidence.gain
    tests = ", ".join(f"{name} p = {p:.2g}" for name, p in found.p_values.items())
    said = (
        f"The model does NOT fit: {', '.join(found.named)}. Its parameters describe the best such "
        "model, not what made these entropies."
        if found.found
        else f"No misfit found at {found.level:.0%} for all tests together."
    )
    turns = (
        "it beats the noisy walk"
        if result.evidence.turns
        else "it does not beat the noisy walk: turning points, falls and rises are not identified"
    )
    return (
        f"{said} ({tests}.) On held-out prompts {turns} "
        f"({estimate(gain, '+.3f')} nats per token). Noise is what neighbouring layers do not "
        "share: an error that they share counts as a change of entropy."
    )


def comparison(found: Comparison) -> Report:
    """Treatments, then models, by held-out log-density."""
    for title, candidates in (
        ("Treatment of skewed entropies", found.treatments),
        (f"Models, all on {found.chosen.name}", found.models),
    ):
        rows = table(
            f"{title}: held-out log-density, nats per token",
            *("", "parameters", "log-density", "minus chosen", "95%"),
            caption=f"{found.tokens:,} tokens of {found.prompts} held-out prompts",
        )
        for candidate in candidates:
            rows.add_row(*_candidate_cells(candidate, candidate.minus_chosen.estimate == 0))
        yield rows


def _candidate_cells(candidate: Candidate, chosen: bool) -> tuple[str, ...]:
    difference = candidate.minus_chosen
    return (
        ("change point: " if chosen else "") + candidate.name + (" (chosen)" if chosen else ""),
        str(candidate.parameters),
        number(candidate.log_likelihood, ".3f"),
        "–" if chosen else number(difference.estimate, "+.3f"),
        "–" if chosen else span(difference, "+.3f"),
    )


def layers(result: Fit) -> Report:
    """Profile by layer."""
    rows = table(
        f"Fitted profile ({result.treatment}); steps onto the layer, nats",
        *("layer", "turn here", "95%", "noise", "95%", "bootstrap", "fall", "rise", "wrong way"),
        caption="turn here: share of tokens with V* at this layer, – where not identified; wrong "
        "way: falls that rise and rises that fall; noise: what neighbouring layers do not share, "
        f"the final layer's by convention ({result.final_noise})",
    )
    turns = result.evidence.turns
    for column, row in enumerate(result.layers):
        status = result.turning_status(column)
        turning = row.turning
        if status is Status.MAY_BE_ZERO:
            turning = replace(turning, low=0.0)
        unknown = status is Status.NOT_IDENTIFIED
        wrong = (
            "–"
            if not turns or (row.fall is None and row.rise is None)
            else (f"{number(row.fall_wrong, '.0%')} {number(row.rise_wrong, '.0%')}")
        )
        rows.add_row(
            str(row.layer),
            "–" if unknown else number(turning.estimate, ".1%"),
            "–" if unknown else span(turning, ".1%"),
            number(row.noise.estimate, ".3f"),
            span(row.noise, ".2f"),
            span(row.bootstrap_noise, ".2f"),
            _maybe(row.fall if turns else None, "+.2f"),
            _maybe(row.rise if turns else None, "+.2f"),
            wrong,
        )
    yield rows


def _maybe(interval: Interval | None, pattern: str) -> str:
    return "–" if interval is None else number(interval.estimate, pattern)


def statuses(result: Fit) -> str:
    """How the optimisation went, and which parameters may be read."""
    optimisation = result.optimisation
    found = ", ".join(f"{s}: {result.count(s)}" for s in Status if result.count(s))
    unread = Counter(
        p.name for p in result.parameters if p.status not in (Status.IDENTIFIED, Status.CONVENTION)
    )
    listed = ", ".join(f"{name} ({n})" for name, n in unread.most_common())
    word = "converged" if optimisation.converged else "has NOT converged"
    flat = "" if optimisation.information_positive else " The likelihood is flat in some direction."
    return (
        f"Log-density {number(optimisation.log_likelihood, '.3f')} nats per token; the "
        f"optimisation {word} (a "
        f"further step promises {optimisation.promised_gain:.2g} nats over all tokens). The best "
        "start "
        f"leads the next "
        f"by {result.tokens * optimisation.lead:,.0f} nats.{flat} Parameters: {found}."
        + (f" Not to be read as estimates: {listed}." if listed else "")
    )


def views(result: Fit) -> Report:
    """The noise, seen independently."""
    views = result.views
    measured = views.calibrated_lens is not None
    columns = ["layer", "fit", "moments", "variance", "95%"]
    columns += ["measured", "bias", "correlation with next"] if measured else []
    low, high = views.bounded
    rows = table(
        "Projection noise, nats",
        *columns,
        caption="moments: root of minus the lag-one autocovariance of increments (variance); – "
        f"where that is negative. T9, per token: half need eps_max ≥ {low:.2f}, a tenth "
        f"≥ {high:.2f}",
    )
    for row in views.layers:
        moment = row.autocovariance
        cells = [
            str(row.layer),
            number(row.by_fit.estimate, ".3f"),
            number(row.by_moments, ".3f"),
            _maybe(moment, "+.3f"),
            span(moment, "+.2f"),
        ]
        if measured:
            cells += [_maybe(row.measured, ".3f"), _maybe(row.bias, "+.2f")]
            cells.append(_maybe(row.correlation, ".2f"))
        rows.add_row(*cells)
    yield rows
    yield disagreement(result.views)


def predictions(result: Fit) -> Report:
    """Predicted before looking, against measured."""
    rows = table(
        f"Predicted before looking, and measured on {result.held_out_tokens:,} held-out tokens",
        *("", "predicted", "measured", "95%", ""),
    )
    group = ""
    for prediction in result.predictive.predictions:
        if prediction.group != group:
            group = prediction.group
            rows.add_row(group + ":", "", "", "", "")
        rows.add_row(*_prediction_cells(prediction))
    yield rows


def _prediction_cells(prediction: Prediction) -> tuple[str | Text, ...]:
    pattern = FORMATS[prediction.kind]
    return (
        "  " + prediction.name,
        number(prediction.predicted, pattern),
        number(prediction.measured.estimate, pattern),
        span(prediction.measured, pattern),
        status_text("holds" if prediction.agreement is Agreement.AGREES else "fails"),
    )


def bounds(result: Fit) -> Report:
    """T2 and T14 at the fitted parameters."""
    alike = result.bounds.correlation
    noise = (
        "independent noise"
        if alike is None
        else f"the measured correlation of neighbours, {min(alike):.2f} to {max(alike):.2f}"
    )
    rows = table(
        "Bounds at the fitted parameters, on the model's own tokens",
        *("", "", "bound", "found", "times", "tokens", ""),
        caption=f"T2 at eps_max = {result.bounds.eps_max:.2f} nats, which 90% of simulated tokens "
        f"respect at every layer; T14 with {noise}",
    )
    rows.columns[1].justify = "left"
    for bound in result.bounds.bounds:
        rows.add_row(bound.theorem, bound.statement, *_bound_cells(bound))
    yield rows
    excess = result.bounds.excess
    yield (
        f"Latent excess over V* ({result.excess.status}), nats: the search "
        f"{number(excess.simulated_search, '+.3f')} simulated, "
        f"{estimate(excess.believed_search, '+.3f')} believed of the held-out tokens; the final "
        f"layer {number(excess.simulated_final, '+.3f')} and "
        f"{estimate(excess.believed_final, '+.3f')}, {estimate(result.excess.final, '+.3f')} of "
        "all tokens; the Bayes layer (S3) "
        f"{estimate(excess.believed_bayes, '+.3f')}."
    )


def _bound_cells(bound: Bound) -> tuple[str | Text, ...]:
    held = {True: "holds", False: "fails", None: None}[bound.holds]
    times = number(bound.looseness, ".1f") if 0 < bound.looseness < 1e4 else "–"
    return (
        number(bound.bound, ".3f"),
        number(bound.found, "+.3f"),
        times,
        f"{bound.draws:,}",
        status_text(held),
    )


def summary(result: Fit) -> str:
    """Whether to believe it."""
    predictive = result.predictive
    groups = Counter(p.group for p in predictive.failures)
    total = Counter(p.group for p in predictive.predictions)
    where = ", ".join(f"{group} {groups[group]}/{n}" for group, n in total.items() if groups[group])
    moved = predictive["share moved"]
    beaten = ""
    if result.comparison is not None:
        ahead = [m.name for m in result.comparison.models if m.minus_chosen.low > 0]
        beaten = (
            f" On held-out prompts the change-point model loses to: {', '.join(ahead)}."
            if ahead
            else " On held-out prompts no simpler model predicts the entropies better."
        )
    return (
        f"{len(predictive.predictions) - len(predictive.failures)} of "
        f"{len(predictive.predictions)} predictions stand; all together, p = "
        f"{predictive.p_value:.2g}."
        + (f" Failures: {where}." if where else "")
        + f" Share moved: {moved.predicted:.1%} predicted, {moved.measured.estimate:.1%} measured."
        + beaten
    )
