r"""T14: noise that depends across layers. The search compares neighbours, so it sees increments.

The noise of a real lens is not independent over layers: what one layer's projection adds, its
neighbour's adds much of too, and between neighbours it cancels. Nothing in T10's proof needs more
than a tail of *differences* of noise, and T11's needs more than exchangeability:

**Theorem (increments).** Let A4 hold. If `eps[l-1] - eps[l]` is `s[l]`-sub-Gaussian,

    P(V^ > V*) <= sum over l > V* of exp(-delta[l]^2 / (2 s[l]^2)),

and if `eps[V*] - eps[k]` is `s`-sub-Gaussian for all `k < V*` in the window,
`P(excess(V^) > t, V^ <= V*) <= exp(-t^2 / (2 s^2))`, with mean at most `s sqrt(pi / 2)`; for
jointly normal noise, `s` the standard deviation, with mean at most `s / sqrt(2 pi)`.
*Proof.* Stopping at `l > V*` needs `eps[l-1] - eps[l] >= delta[l]`; to end with an excess above `t`
the search must read less at the first layer `k` with such an excess than at `V*` (T10). Chernoff,
and a union bound for the first. The normal mean is the integral of `P(N(0, s^2) > t)`.  QED

Independent `sigma`-sub-Gaussian noise has `s^2 = 2 sigma^2`, which is T10. Normal noise of equal
standard deviations `sigma`, neighbours correlated by `rho`, has `s^2 = 2 sigma^2 (1 - rho)`.

**Theorem (exchangeable).** T11 holds for exchangeable noise. For exchangeable normal noise with
correlation `rho` the search does what it does with independent noise of standard deviation
`sigma sqrt(1 - rho)`: T13's constants take that factor.
*Proof.* T11 uses exchangeability alone. The differences of both are centred normal with the same
covariances, and the search is a function of differences.  QED

**Theorem (law of halves).** Let A1 and A4 hold and the noise be stationary, normal, with an
autocorrelation `r(0) = 1, r(1), ...` that is convex (AR(1) with `rho >= 0` is one, and whatever
Polya's criterion admits). Then

    P(V* - V^ >= j, V^ <= V*) <= 2^-j,        E (V* - V^)+ <= 1 - 2^-K < 1.

*Proof.* Overshooting by `j` needs `j` increments in a row above zero, `G` being no help (A1). Two
increments `m >= 1` apart have covariance `2 r(m) - r(m-1) - r(m+1) <= 0` times `sigma^2`, by
convexity. By Slepian's inequality the probability that all are positive is at most that for
independent ones, `2^-j`.  QED

Sharp: as `rho` tends to 1 the increments of AR(1) noise become independent, and a flat `G` with
`V* = L` attains it in the limit.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from stopping.errors import UserError
from stopping.theory.bounds import as_non_negative, as_positive
from stopping.types import FloatArray


def increment_scales(covariance: ArrayLike) -> FloatArray:
    """Standard deviations of `eps[l-1] - eps[l]`, shape (layers - 1,), from `Cov eps`.

    Parameters
    ----------
    covariance : array_like, shape (layers, layers)
        Of the noise, nats squared.

    Raises
    ------
    UserError
        If it is no covariance.
    """
    return np.diagonal(_difference_scales(covariance), offset=1).copy()


def widest_difference(covariance: ArrayLike, turning: int) -> float:
    """Largest standard deviation of `eps[V*] - eps[k]` over `k < V*`; 0 if there is none.

    Parameters and errors as in `increment_scales`.
    """
    scales = _difference_scales(covariance)
    if not 0 <= turning < len(scales):
        raise UserError(f"turning: must be a layer of {len(scales)}, got {turning}")
    return float(scales[turning, :turning].max(initial=0.0))


def markov_covariance(deviation: ArrayLike, correlation: ArrayLike) -> FloatArray:
    """`Cov eps` of noise with these deviations whose neighbours correlate, and no more than that.

    Layers further apart correlate by the product of what lies between (a Markov chain; AR(1) if
    all are equal).

    Parameters
    ----------
    deviation : array_like, shape (layers,)
    correlation : array_like, shape (layers - 1,)

    Raises
    ------
    UserError
        If a deviation is negative, a correlation lies outside [-1, 1], or the numbers of layers
        disagree.
    """
    sd = as_non_negative(deviation, "deviation")
    rho = np.asarray(correlation, dtype=np.float64)
    if sd.ndim != 1 or rho.shape != (len(sd) - 1,) or not (np.abs(rho) <= 1).all():
        raise UserError(
            f"correlation: expected {max(len(np.atleast_1d(sd)) - 1, 0)} numbers within [-1, 1], "
            f"got {correlation!r}"
        )
    matrix = np.eye(len(sd))
    for gap in range(1, len(sd)):
        products = [float(np.prod(rho[i : i + gap])) for i in range(len(sd) - gap)]
        matrix += np.diag(products, gap) + np.diag(products, -gap)
    return matrix * np.outer(sd, sd)


def stop_above_by_increments(delta: ArrayLike, scale: ArrayLike) -> float:
    """T14: `P(V^ > V*) <= sum over l > V* of exp(-delta[l]^2 / (2 s[l]^2))`, at most 1; needs A4.

    Parameters
    ----------
    delta : array_like
        The rises, nats.
    scale : array_like, broadcast against `delta`
        `s[l]`: a sub-Gaussian parameter of `eps[l-1] - eps[l]`; 0 where neighbours' noise is equal.
    """
    rises, s = np.broadcast_arrays(as_positive(delta, "delta"), as_non_negative(scale, "scale"))
    terms = np.zeros(rises.shape)
    np.divide(rises**2, 2.0 * s**2, out=terms, where=s > 0)
    return min(1.0, float(np.where(s > 0, np.exp(-terms), 0.0).sum()))


def excess_tail_by_difference(t: ArrayLike, scale: float) -> FloatArray:
    """T14: `P(excess(V^) > t, V^ <= V*) <= exp(-t^2 / (2 s^2))`."""
    return np.exp(-(as_non_negative(t, "t") ** 2) / (2.0 * float(as_positive(scale, "scale")) ** 2))


def expected_excess_by_difference(scale: ArrayLike, normal: bool = False) -> FloatArray:
    """T14: `E[excess(V^); V^ <= V*] <= s sqrt(pi / 2)`; jointly normal noise: `s / sqrt(2 pi)`."""
    factor = 1.0 / math.sqrt(2.0 * math.pi) if normal else math.sqrt(math.pi / 2.0)
    return factor * as_non_negative(scale, "scale")


def exchangeable_factor(rho: float) -> float:
    """T14: `sqrt(1 - rho)`, what correlation `rho` between all layers does to T13's constants."""
    if not -1.0 <= rho <= 1.0:
        raise UserError(f"rho: a correlation lies in [-1, 1], got {rho}")
    return math.sqrt(1.0 - rho)


def halving_bound(j: ArrayLike) -> FloatArray:
    """T14, law of halves: `P(V* - V^ >= j, V^ <= V*) <= 2^-j` for convex autocorrelation."""
    steps = np.asarray(j, dtype=np.float64)
    if not ((steps >= 0) & (steps == np.floor(steps))).all():
        raise UserError(f"j: must be whole numbers >= 0, got {j!r}")
    return np.asarray(0.5**steps)


def expected_halving_bound(K: int) -> float:
    """T14, law of halves: `E (V* - V^)+ <= 1 - 2^-K` on a window of `K` steps."""
    return 1.0 - float(halving_bound(K))


def is_convex(autocorrelation: ArrayLike) -> bool:
    """Whether `r(0) = 1, r(1), ...` is convex, so that increments correlate at most 0.

    Raises
    ------
    UserError
        If it does not begin with 1 or leaves [-1, 1].
    """
    r = np.asarray(autocorrelation, dtype=np.float64)
    if r.ndim != 1 or len(r) == 0 or r[0] != 1.0 or not (np.abs(r) <= 1.0).all():
        raise UserError(f"autocorrelation: needs r(0) = 1 and the rest within [-1, 1], got {r}")
    return bool((np.diff(r, 2) >= -1e-12).all())


def _difference_scales(covariance: ArrayLike) -> FloatArray:
    matrix = np.asarray(covariance, dtype=np.float64)
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]
    if not (square and np.isfinite(matrix).all() and np.allclose(matrix, matrix.T)):
        raise UserError(f"covariance: expected a symmetric matrix, got shape {matrix.shape}")
    variance = np.diagonal(matrix)
    squares = variance[:, None] + variance - 2.0 * matrix
    if variance.min(initial=0.0) < 0 or squares.min(initial=0.0) < -1e-9 * variance.max(
        initial=1.0
    ):
        raise UserError("covariance: a variance is negative")
    return np.sqrt(np.maximum(squares, 0.0))
