"""The linear classifier learns scale and weights from the support alone."""

import numpy as np

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
