"""Two regressions of the layers' log-losses: one nearly linear, one not.

Both predict all layers of the window at once, `(n, p)` to `(n, K)`. The targets are differences of
log-losses, whose tails are heavy (a confident wrong layer costs ten nats), so they are clipped for
training; what the rule wins is always measured unclipped.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from stopping.errors import missing_extra
from stopping.support.threads import one_thread
from stopping.types import FloatArray

CLIP = 5.0
"""Nats, either way."""


class Regressor(Protocol):
    """Learns and predicts."""

    @property
    def name(self) -> str:
        """For tables."""

    def fit_predict(self, train: FloatArray, target: FloatArray, *rest: FloatArray) -> list[Any]:
        """Fit to `train`, (n, p), and `target`, (n, K); predict each of `rest`, (m, p)."""


@dataclass(frozen=True)
class Ridge:
    """Ridge regression on features and their squares; penalty by generalised cross-validation."""

    penalties: tuple[float, ...] = (1e1, 1e2, 1e3, 1e4, 1e5)

    @property
    def name(self) -> str:
        """For tables."""
        return "ridge"

    def fit_predict(self, train: FloatArray, target: FloatArray, *rest: FloatArray) -> list[Any]:
        """Fit one penalty for each layer."""
        require_sklearn()
        from sklearn.linear_model import RidgeCV

        centre, scale = train.mean(axis=0), train.std(axis=0)
        scale[scale == 0] = 1.0

        def expanded(features: FloatArray) -> FloatArray:
            z = np.clip((features - centre) / scale, -4, 4)
            return np.column_stack([z, z**2])

        model = RidgeCV(np.array(self.penalties), alpha_per_target=True)
        model.fit(expanded(train), np.clip(target, -CLIP, CLIP))
        return [model.predict(expanded(features)) for features in rest]


@dataclass(frozen=True)
class Boosting:
    """Gradient boosting of shallow trees, one model for each layer."""

    iterations: int = 60
    seed: int = 0

    @property
    def name(self) -> str:
        """For tables."""
        return "boosting"

    def fit_predict(self, train: FloatArray, target: FloatArray, *rest: FloatArray) -> list[Any]:
        """Fit the layers one after the other."""
        require_sklearn()
        from sklearn.ensemble import HistGradientBoostingRegressor

        predictions = []
        # Its libraries are loaded by now, which they were not when the job began.
        with one_thread():
            for layer in range(target.shape[1]):
                model = HistGradientBoostingRegressor(
                    learning_rate=0.08,
                    max_iter=self.iterations,
                    max_leaf_nodes=8,
                    min_samples_leaf=60,
                    l2_regularization=10.0,
                    max_features=0.5,
                    max_bins=63,
                    random_state=self.seed,
                )
                model.fit(train, np.clip(target[:, layer], -CLIP, CLIP))
                predictions.append([model.predict(features) for features in rest])
        return [np.column_stack(columns) for columns in zip(*predictions, strict=True)]


def require_sklearn() -> None:
    """Raise `UserError` if the extra is missing."""
    try:
        import sklearn  # noqa: F401  # whether it is there is all that is asked
    except ImportError:
        raise missing_extra("learning needs scikit-learn", "learn") from None
