"""Rules solved for a fitted model belong to the LLM and the lens that it was fitted on."""

from stopping.changepoint import FittedOn


def require_own_fit(rule: object, here: FittedOn) -> None:
    """Raise a UserError if a rule rests on a model that was fitted on another LLM or lens.

    Rules without a fitted model, or with one of a user's own parameters, go anywhere.
    """
    fitted_on = getattr(rule, "fitted_on", None)
    if isinstance(fitted_on, FittedOn):
        fitted_on.require(f"rule {getattr(rule, 'name', rule)}", here)
