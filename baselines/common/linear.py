"""The one linear classifier of the suite: standardise by the support, then logistic regression with C = 1."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

Matrix = NDArray[np.float64]


class LinearClassifier:
    """Nothing is tuned: with 4 to 8 clips there is nothing to tune on."""

    def fit(self, features: NDArray[np.floating], labels: NDArray[np.int64]) -> Self:
        """Fit on features (N, D) and labels (N,) of the support alone.

        The best weights are a sum of the rows, and turning the axes changes no length. So with more features than rows
        the regression is solved in the N dimensions that the rows span: the same optimum, found in less time.
        """
        rows = np.asarray(features, dtype=np.float64)
        self._mean, self._spread = rows.mean(axis=0), spread_of(rows)
        rows = (rows - self._mean) / self._spread
        axes = np.linalg.qr(rows.T)[0] if rows.shape[1] > len(rows) else np.eye(rows.shape[1])
        # Newton's method goes to the optimum itself; lbfgs stops near it, by default up to 0.001 away in probability.
        model = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-10).fit(rows @ axes, labels)
        self._weights, self._intercept = axes @ model.coef_[0], model.intercept_[0]
        return self

    def predict(self, features: NDArray[np.floating]) -> Matrix:
        """P(label 1) of each row, (N,)."""
        rows = (np.asarray(features, dtype=np.float64) - self._mean) / self._spread
        return np.asarray(expit(rows @ self._weights + self._intercept))


def spread_of(rows: Matrix) -> Matrix:
    """Standard deviation of each feature, (D,); 1 where a feature is constant but for rounding, and so says nothing."""
    spread, rounding = rows.std(axis=0), 10 * np.finfo(np.float64).eps * np.abs(rows).max(axis=0)
    return np.where(spread > rounding, spread, 1.0)
