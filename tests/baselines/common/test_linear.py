"""The linear classifier learns scale and weights from the support alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from baselines.common.linear import LinearClassifier


def test_prediction_of_a_clip_does_not_depend_on_its_neighbours():
    support, labels = np.array([[0.0], [1.0], [10.0], [11.0]]), np.array([0, 0, 1, 1])
    classifier = LinearClassifier().fit(support, labels)
    query = np.array([[0.0], [5.5], [11.0]])
    whole = classifier.predict(query)
    assert whole[0] < 0.5 < whole[2]
    np.testing.assert_allclose(whole[1], 0.5, atol=1e-6)
    np.testing.assert_array_equal(classifier.predict(query[:1]), whole[:1])


def test_a_constant_feature_says_nothing():
    classifier = LinearClassifier().fit(np.array([[3.0]] * 4), np.array([0, 1, 0, 1]))
    np.testing.assert_allclose(classifier.predict(np.array([[3.0], [99.0]])), 0.5, atol=1e-6)


@pytest.mark.parametrize("shift", [0.1, 1e9])
def test_a_feature_that_is_constant_but_for_rounding_says_nothing(shift):
    constant = shift + np.array([[0.0], [1e-16 * shift], [0.0], [-1e-16 * shift]])
    support = np.hstack([constant, [[0.0], [0.0], [1.0], [1.0]]])
    alone = LinearClassifier().fit(support[:, 1:], np.array([0, 0, 1, 1])).predict(np.array([[0.7]]))
    both = LinearClassifier().fit(support, np.array([0, 0, 1, 1])).predict(np.array([[shift, 0.7]]))
    np.testing.assert_allclose(both, alone, atol=1e-9)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 8), st.sampled_from([1, 3, 16, 200]), st.sampled_from([0.0, 0.5, 3.0]), st.integers(0, 2**32 - 1))
def test_it_is_the_optimum_that_scikit_learn_finds_in_all_dimensions(shots, width, apart, seed):
    """Held against lbfgs on all features, stopped late; what is left is its own distance from the optimum."""
    rng = np.random.default_rng(seed)
    labels = np.arange(2 * shots) % 2
    support, query = rng.normal(size=(2 * shots, width)) + apart * labels[:, None], rng.normal(size=(5, width))
    whole = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, tol=1e-13, max_iter=100_000))
    chances = whole.fit(support, labels).predict_proba(query)[:, 1]
    np.testing.assert_allclose(LinearClassifier().fit(support, labels).predict(query), chances, atol=5e-5)
