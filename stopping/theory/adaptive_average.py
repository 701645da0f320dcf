r"""T13 for any distribution: an upper bound of the average case with every error bounded.

`C` is a supremum over sequences of falls that are fixed beforehand. Let the adversary choose each
fall after the first with the value in sight: what he gains in addition only raises the supremum.

**Theorem (adaptive adversary).** Let the noise be i.i.d. with density `f` and distribution function
`F`. Where the search stands at a layer whose noise is `e`, a fall `e - z` below it is passed if
the next noise lies below `z`. If `v >= 0` satisfies, for all `e`,

    v(e) >= sup over z <= e of (e - z) F(z) + integral up to z of v f,                    (*)

then the excess still to come from `e` is at most `v(e)` in expectation, for any number of layers,
and

    C <= U = sup over gamma >= 0 of  integral of f(e) (1 - F(e + gamma)) (gamma + v(e)) de.

*Proof.* With no layer left nothing comes; with one more, the adversary gets the right side of (*)
at most, for the `v` of fewer layers. The first fall `gamma` is fixed beforehand: it is passed with
the noise `e` next if that of `V*` was above `e + gamma`.  QED

**Numbers that prove.** The noise's density is log-concave and symmetric about 0, which is then a
node of an even grid `e_0 .. e_N` of step `h`; so in each cell `f` is monotone, and the change of
`f` over a cell is known from its ends. Three inequalities bound what lies between the nodes.
*Grüss*: over an interval of length `h` the integral of a product differs from `1/h` times the
product of the integrals by at most `h/4` times the two oscillations. *Chebyshev*: with respect to a
measure of mass `m`, the integral of a falling times a rising function is at most `1/m` times the
product of their integrals. *Chord*: a function with slopes in `[a, b]` lies at most `h (b - a) / 4`
above its chord, and its mean at most `h (b - a) / 8` above the chord's.

`v` is linear between its nodes, constant below `e_0`, of slope 1 above `e_N`. In (*) `z` is let
run over all numbers: more for the adversary, and the right side becomes convex in `e`, with slopes
in `[0, 1]`, so that (*) at the nodes is (*) everywhere. Outside the grid lies a mass of `1e-12`
at most; it, and rounding, are charged with allowances far above what they can be.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from stopping.errors import UserError
from stopping.model.densities import Density
from stopping.types import FloatArray

OUTSIDE = 1e-12
"""Mass that the grid may leave on either side."""
ROUNDING = 1e-10
"""Allowance as a share of the grid's width: far above the rounding of sums of thousands."""
SLACK = 1e-6
"""The fixed point of the iteration is raised by this share, so that (*) holds with room."""
_BLOCK = 256


@dataclass(frozen=True)
class _Grid:
    """Nodes, and per cell what the inequalities ask for."""

    e: FloatArray
    h: float
    F: FloatArray
    f: FloatArray
    mass: FloatArray
    change: FloatArray  # of f over the cell
    outside: float  # mass on either side


@lru_cache(maxsize=16)  # a constant of a law, which every table of averages asks for
def adaptive_bound(density: Density, cells: int = 2000) -> float:
    """Bound the largest expected excess over all falls from above: T13's `C <= U`.

    Parameters
    ----------
    density : Density
        Log-concave and symmetric about 0.
    cells : int
        Even. The bound's error falls with its square.

    Raises
    ------
    UserError
        If `cells` is odd or below 100, the grid too coarse for a proof, or the density not
        symmetric about 0 and falling from there.
    """
    grid = _grid(density, cells)
    v = _majorant(grid)
    h, m, change = grid.h, grid.mass, grid.change
    n = len(m)
    # Mean of v in each cell under the noise: Grüss; v is linear there.
    mean = (v[1:] + v[:-1]) / 2 + h / 4 * change * np.diff(v) / m
    # Beyond the grid: no more density than at its end, which a bounded law leaves by a jump.
    q, ahead = (np.append(inside, np.full(n + 2, grid.outside)) for inside in (1.0 - grid.F, m))
    steep = np.append(change, np.full(n + 2, grid.f[-1] if grid.outside > 0 else 0.0))
    steep[n] = grid.f[-1]
    value, between = np.zeros(n + 1), np.zeros(n + 1)
    for s in range(n + 1):
        here, next_ = slice(s, s + n), slice(s + 1, s + n + 1)
        gamma = s * h
        # Chord and Grüss: the integral of f (1 - F(. + gamma)) over each cell; Chebyshev: times v.
        passed = m * ((q[here] + q[next_]) / 2 + h / 8 * steep[here]) + h / 4 * change * ahead[here]
        value[s] = passed @ (gamma + mean)
        # Falls up to the next node: the product of two chords lies above its own by the first, and
        # 1 - F(. + gamma) above its chord by the second.
        between[s] = h / 4 * (m @ (ahead[here] + ahead[next_]))
        between[s] += h / 4 * ((m * (steep[here] + steep[next_])) @ (gamma + h + mean))
    best = float((np.maximum(value[1:], value[:-1]) + between[:-1]).max())
    end = float(grid.e[-1])
    return best + 10 * grid.outside * (end + float(v[-1])) + ROUNDING * end


def _majorant(grid: _Grid) -> FloatArray:
    """Return node values of a `v` that satisfies (*)."""
    v = np.zeros(len(grid.e))
    for _ in range(100):
        previous, v = v, _adversary(grid, v)
        if np.abs(v - previous).max() <= SLACK * 1e-2 * v.max():
            break
    v = (1.0 + SLACK) * v
    slopes = np.diff(v) / grid.h
    proved = (
        (_adversary(grid, v) <= v).all()
        and (slopes >= 0).all()
        and (slopes <= 1).all()
        # Beyond the grid a greater z gains nothing.
        and (grid.outside == 0 or grid.f[-1] * v[-1] <= grid.F[-1])
    )
    if not proved:
        raise UserError("adaptive_bound: no majorant was found on this grid; take more cells")
    return v


def _adversary(grid: _Grid, v: FloatArray) -> FloatArray:
    """Right side of (*) at the nodes, from above, for `z` of any size."""
    e, h, F, f, change = grid.e, grid.h, grid.F, grid.f, grid.change
    cell = grid.mass * (v[1:] + v[:-1]) / 2 + h / 4 * change * np.diff(v)
    B = np.concatenate([[0.0], np.cumsum(cell)]) + v[0] * grid.outside
    high = np.maximum(f[1:], f[:-1])
    # Slopes of the objective within a cell differ by at most the mass, the change of f times the
    # distance, and f times the change of the distance.
    flat = h / 4 * (grid.mass + change * (h + v[-1]) + high * h)
    best = np.empty(len(e))
    for start in range(0, len(e), _BLOCK):
        away = e[start : start + _BLOCK, None] - e
        value = away * F + B
        inside = np.maximum(value[:, 1:], value[:, :-1]) + flat
        inside += h / 4 * change * np.maximum(np.abs(away[:, 1:]), np.abs(away[:, :-1]))
        best[start : start + _BLOCK] = inside.max(axis=1)
    # z below the grid: a log-concave law's (e_0 - z) F(z) is at most e_N times the mass there.
    below = grid.outside * ((e - e[0]) + 2 * e[-1] + v[0])
    rising: FloatArray = np.maximum.accumulate(np.maximum(best, below)) + ROUNDING * 1e-2 * e[-1]
    return rising


def _grid(density: Density, cells: int) -> _Grid:
    if cells < 100 or cells % 2:
        raise UserError(f"cells: needs an even number from 100 on, got {cells}")
    end = _end(density)
    e = np.linspace(-1.0, 1.0, cells + 1) * end
    F, f = density.cdf(e), density.pdf(e)
    half = cells // 2
    shape = np.diff(f[: half + 1])
    if (shape < 0).any() or not np.allclose(f, f[::-1], atol=1e-12):
        raise UserError("the bound needs a density that is symmetric about 0 and falls from there")
    return _Grid(
        e=e,
        h=2.0 * end / cells,
        F=F,
        f=f,
        mass=np.diff(F),
        change=np.abs(np.diff(f)),
        outside=float(F[0]),
    )


def _end(density: Density) -> float:
    """Half the width of the grid: the support's, or where no more than `OUTSIDE` is left."""
    low = density.edges[0]
    if density.cdf(np.array([low]))[0] == 0.0:
        return -low
    ends = np.linspace(low, 0.0, 4001)
    return float(-ends[np.searchsorted(density.cdf(ends), OUTSIDE, side="right") - 1])


def distribution_free_bound(deviation: float = math.inf, eps_max: float = math.inf) -> float:
    """`min(eps_max / 2, deviation / sqrt 3)`: T13 for i.i.d. noise of any distribution.

    *Proof.* By the difference bound `C <= E (eps - eps')+`, the integral of `F (1 - F)`. Noise
    within `eps_max` makes that at most `2 eps_max / 4`. With the quantile function `Q` it is the
    integral of `(2u - 1) Q(u)` over `[0, 1]`, twice the covariance of `Q(U)` with a uniform `U`, at
    most `2 deviation / sqrt 12` (Cauchy and Schwarz).  QED

    The first is sharp: noise of `+eps_max` or `-eps_max` with probability one half each, and one
    fall just below `2 eps_max`, lose `eps_max / 2`. The second bounds the mean difference sharply
    (uniform noise) and the excess not; nothing above `deviation / 2` is known.

    Raises
    ------
    UserError
        If a scale is negative or NaN, or neither is finite.
    """
    if not (deviation >= 0 and eps_max >= 0) or math.isinf(min(deviation, eps_max)):
        raise UserError(
            f"needs a standard deviation or a noise bound, finite and >= 0, got {deviation} and "
            f"{eps_max}"
        )
    return min(eps_max / 2.0, deviation / math.sqrt(3.0))
