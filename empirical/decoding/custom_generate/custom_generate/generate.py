"""What transformers calls in the place of its own `generate`."""

from pathlib import Path
from typing import Any

from empirical.decoding import ConfidentDecoding
from empirical.decoding.rivals import decoder_of
from empirical.lenses import load_lens, require_lens
from empirical.model.anatomy import Anatomy


def generate(
    model: Any,
    *args: Any,
    rule: str = "search",
    window: int | None = None,
    p: float | None = None,
    norm: str | bool | None = None,
    lens: str | None = None,
    seed: int = 0,
    plan: Any = "fixed",
    **kwargs: Any,
) -> Any:
    """Generate with a rule or rival; everything else goes to `generate`.

    Parameters
    ----------
    rule : str
        Such as "search", "tolerance:tau=0.5", "dola:layers=high".
    window, p, norm
        `K` of a rule with a window, `p` of the search, and whether DoLa and SLED read earlier
        layers through the final norm ("on" or "off").
    lens : str
        A lens file; default the raw lens.
    seed : int
        Of randomised rules.
    plan : str
        "fixed", or "measured": how many layers are projected together (`empirical.decoding.plan`).

    Raises
    ------
    UserError
        If a setting is not understood, or the model's layers cannot be read.
    """
    decoder = decoder_of(rule, window, p, norm)
    if lens is not None:
        require_lens(Path(lens))
    anatomy = Anatomy.of(model)
    reader = load_lens(Path(lens), anatomy) if lens is not None else None
    with ConfidentDecoding(model, decoder, reader, seed, anatomy=anatomy, plan=plan):
        return model.generate(*args, **kwargs)
