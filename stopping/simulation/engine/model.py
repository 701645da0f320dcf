"""The model that the engine simulates: what is fixed for each turning point, and what is drawn."""

from dataclasses import dataclass

import numpy as np

from stopping.errors import UserError
from stopping.model.noise import GaussianNoise, UniformNoise, per_layer
from stopping.model.process import Process
from stopping.simulation.engine.scans import Rows
from stopping.types import FloatArray, IntArray

GROUP = 1 << 17
"""Values drawn together, so that they stay in the cache until they are whole."""


@dataclass(frozen=True, eq=False)
class Model:
    """A `Process` as tables; make it with `Model.of`.

    Attributes
    ----------
    layers : int
    turning : ndarray of int, shape (t,)
        The turning points that occur.
    weight : ndarray, shape (t,)
        Their probabilities.
    latent : ndarray, shape (t, layers)
        `G` without the random part of the rises, for each turning point.
    random_rise : ndarray, shape (layers,)
        Mean of the exponential part of the rise.
    scale : ndarray, shape (layers,)
        `eps_max` or `sigma` of each layer.
    gaussian : bool
    """

    layers: int
    turning: IntArray
    weight: FloatArray
    latent: FloatArray
    random_rise: FloatArray
    scale: FloatArray
    gaussian: bool

    @classmethod
    def of(cls, process: Process) -> "Model":
        """Prepare the tables.

        Raises
        ------
        UserError
            If the drifts are random, or the noise is neither uniform nor Gaussian.
        """
        layers = process.layers
        if process.drift_spread > 0:
            raise UserError(
                f"drift_spread = {process.drift_spread}: the engine simulates constant drifts; "
                "use Process.sample for random ones"
            )
        match process.noise:
            case UniformNoise(eps_max):
                scale, gaussian = per_layer(eps_max, layers, "eps_max"), False
            case GaussianNoise(sigma):
                scale, gaussian = per_layer(sigma, layers, "scale"), True
            case other:
                raise UserError(
                    f"{type(other).__name__}: the engine draws uniform and Gaussian noise; use "
                    "Process.sample for other laws"
                )
        law = process.turning_distribution()
        turning = np.flatnonzero(law)
        drift = per_layer(process.drift, layers, "drift").copy()
        drift[0] = 0.0
        rise = per_layer(process.rise, layers, "rise")
        beyond = np.arange(layers) > turning[:, None]
        latent = process.start + np.cumsum(np.where(beyond, rise, -drift), axis=1)
        random_rise = per_layer(process.rise_excess, layers, "rise_excess")
        return cls(layers, turning, law[turning], latent, random_rise, scale, gaussian)

    @property
    def origin(self) -> float:
        """What values are counted from: near them, so that float32 resolves them well."""
        return float(self.latent[-1, -1])

    def excess(self) -> FloatArray:
        """`G[l] - G[V*]` without the random part of the rises, shape (t, layers)."""
        at = np.take_along_axis(self.latent, self.turning[:, None], axis=1)
        return self.latent - at

    def random_from(self) -> IntArray:
        """First layer whose excess is random, for each turning point; `layers` for none, (t,)."""
        beyond = np.arange(self.layers) > self.turning[:, None]
        random = beyond & (self.random_rise > 0)
        return np.where(random.any(axis=1), random.argmax(axis=1), self.layers)


class Sampler:
    """Draws pieces of up to `columns` tokens with one turning point, into its own buffers.

    Attributes
    ----------
    excess : ndarray, shape (rows, columns)
        After a piece whose excess is random somewhere: the excess of each token at layer `L - j`,
        in row `j`.
    """

    def __init__(self, model: Model, values: int, rows: int, columns: int) -> None:
        self.model = model
        self.values = values
        self.random_from = model.random_from()
        # Random rises are summed from the first random layer on, which may lie beyond what is read.
        deepest = int((model.layers - self.random_from).max())
        self._x = np.empty((values, columns), dtype=np.float32)
        self.excess = np.empty((max(rows, deepest) if deepest else 0, columns), dtype=np.float32)
        self._latent = model.latent - model.origin
        unit = 1.0 if model.gaussian else 2.0**-31
        self._scale = (model.scale[::-1, None] * unit).astype(np.float32)
        self._fixed = model.excess()

    def draw(self, rng: np.random.Generator, which: int, c: int) -> Rows:
        """Draw `c` tokens with turning point number `which`.

        Returns
        -------
        ndarray, shape (values, c)
            Values minus `model.origin`; row `j` is layer `L - j`.
        """
        x = self._x[:, :c]
        latent = self._latent[which, ::-1, None].astype(np.float32)
        together = max(1, GROUP // c)
        for j in range(0, self.values, together):
            rows = slice(j, min(j + together, self.values))
            self._noise(rng, x[rows])
            x[rows] *= self._scale[rows]
            x[rows] += latent[rows]
        random = self.model.layers - int(self.random_from[which])
        if random:
            self._rise(rng, which, random, c)
            fixed = self._fixed[which, ::-1, None].astype(np.float32)
            rises, rest = self.excess[:random, :c], self.excess[random:, :c]
            x[:random] += rises[: self.values]
            rises += fixed[:random]
            rest[:] = fixed[random : random + len(rest)]
        return x

    def _rise(self, rng: np.random.Generator, which: int, random: int, c: int) -> None:
        """Sum the random parts of the rises up to the final layer, in row 0."""
        for j in range(random - 1, -1, -1):
            row = self.excess[j, :c]
            mean = self.model.random_rise[self.model.layers - 1 - j]
            if mean > 0:
                rng.standard_exponential(out=row, dtype=np.float32)
                row *= np.float32(mean)
            else:
                row[:] = 0.0
            if j < random - 1:
                row += self.excess[j + 1, :c]

    def _noise(self, rng: np.random.Generator, out: Rows) -> None:
        """Fill rows with noise of unit scale: normal, or raw bits as whole numbers.

        The bits taken as signed integers are uniform and centred already, at half the cost of
        floats in [0, 1).
        """
        if self.model.gaussian:
            for row in out:
                rng.standard_normal(out=row, dtype=np.float32)
        else:
            raw = np.asarray(rng.bit_generator.random_raw((out.size + 1) // 2))
            out[:] = raw.view(np.int32)[: out.size].reshape(out.shape)
