"""What a positive control prints: what the instruments said, and what the decoder won."""

from empirical.analysis.audit import Status
from empirical.report.verdict import Answer
from empirical.studies.control.design import Shape
from empirical.studies.control.results import PLAIN, Control, Step
from stopping.support.results import Report
from stopping.support.tables import count, estimate, number, percent, table


def report(control: Control) -> Report:
    """Tables and a summary."""
    origin, first = control.provenance, control.steps[0]
    yield (
        f"{origin.model}, perturbed on purpose: {count(first.tokens, 'token')} traced and "
        f"{count(len(control.unperturbed), 'sum')} solved at each turn of the dial. The model "
        f"itself solves {sum(control.unperturbed)}."
    )
    said = table(
        "What the instruments say, of the window that the writes span and of a wider one",
        *("shape", "dial", "rise, nats", "V*, fitted", "window", "A3", "late rise"),
        *("search − final, nats", "switch on?"),
        caption="rise: mean entropy of the final layer minus that below the writes; V*: the layer "
        "that the fit takes for it most often, from L; late rise: tokens that noise does not "
        "explain and a late perturbation does",
    )
    for step in control.steps:
        for i, look in enumerate(step.looks):
            first_cells = (
                step.design.shape.value,
                f"{step.dial:g}",
                number(step.rises, "+.2f"),
                f"L − {step.layers[-1] - step.found}" if step.found != step.layers[-1] else "L",
            )
            said.add_row(
                *(first_cells if i == 0 else ("",) * 4),
                str(look.K),
                look.dominance.value,
                number(look.late_rise.estimate, ".0%"),
                estimate(look.log_loss, "+.2f"),
                look.answer.brief,
            )
    yield said
    won = table(
        "Sums solved",
        *("shape", "dial", "decoder", "solved %", "minus plain (points)", "minus unperturbed"),
        "kept of L",
        caption=f"kept of L: least share of the final layer certified at {control.alpha:g} nats",
    )
    for step in control.steps:
        for i, solved in enumerate(control.solved(step)):
            share = "none" if step.certified is None else number(step.certified, ".0%")
            won.add_row(
                *((step.design.shape.value, f"{step.dial:g}") if i == 0 else ("", "")),
                solved.decoder.partition(",")[0],
                number(100 * solved.against_plain.accuracy.estimate, ".0f"),
                "" if i == 0 else estimate(percent(solved.against_plain.difference), "+.0f"),
                estimate(percent(solved.against_unperturbed.difference), "+.0f"),
                share if i == 1 else "",
            )
    yield won
    yield summary(control)


def summary(control: Control) -> str:
    """Say at which dials each instrument answers, shape by shape."""
    sentences = []
    for shape in dict.fromkeys(step.design.shape for step in control.steps):
        steps = [step for step in control.steps if step.design.shape is shape]
        yes = [step for step in steps if step.looks[0].answer is Answer.YES]
        wide = [step for step in steps if step.looks[-1].answer is Answer.YES]
        holds = [step for step in steps if step.looks[0].dominance is Status.HOLDS]
        back = [step for step in steps if step.dial > 0 and wins_back(control, step)]
        sentences.append(
            f"{shape.value}: A3 holds at {_dials(holds)}; switched on at {_dials(yes)} "
            f"(with the wider window at {_dials(wide)}); the search solves significantly more than "
            f"plain decoding at {_dials(back)}."
        )
    return " ".join(sentences)


def wins_back(control: Control, step: Step) -> bool:
    """Whether the search of the first window solves more sums than plain decoding (p < 0.05)."""
    search = next(s for s in control.solved(step) if s.decoder != PLAIN)
    plain = search.against_plain
    return plain.fixed > plain.regressed and plain.p_value < 0.05


def cured(control: Control) -> bool:
    """Whether the control does its work: the cure is seen, and nothing else is called one.

    Some turn of `after` is answered yes and won back; at dial 0 none is either, and of `sharp` the
    search wins nothing back. A yes there is no error: the layers below the writes are whole, and a
    rule that knows how far to step back, which a search for low entropy does not, gets them.
    """
    after = [s for s in control.steps if s.design.shape is Shape.AFTER and s.dial > 0]
    off = [s for s in control.steps if s.dial == 0]
    sharp = [s for s in control.steps if s.design.shape is Shape.SHARP]
    return (
        any(s.looks[0].answer is Answer.YES and wins_back(control, s) for s in after)
        and not any(s.looks[0].answer is Answer.YES for s in off)
        and not any(wins_back(control, s) for s in (*off, *sharp))
    )


def _dials(steps: list[Step]) -> str:
    dials = ", ".join(f"{step.dial:g}" for step in steps)
    return f"dial {dials}" if dials else "no dial"
