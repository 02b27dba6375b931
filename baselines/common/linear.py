"""The one linear classifier of the suite: standardise by the support, then logistic regression with C = 1."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


class LinearClassifier:
    """Nothing is tuned: with 4 to 8 clips there is nothing to tune on."""

    def __init__(self) -> None:
        self._pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))

    def fit(self, features: NDArray[np.floating], labels: NDArray[np.int64]) -> Self:
        """Fit on features (N, D) and labels (N,) of the support alone."""
        self._pipeline.fit(np.asarray(features, dtype=np.float64), labels)
        return self

    def predict(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """P(label 1) of each row, (N,)."""
        chances: NDArray[np.float64] = self._pipeline.predict_proba(np.asarray(features, dtype=np.float64))[:, 1]
        return chances
