from __future__ import annotations

import numpy as np

from marey.evaluation import find_label_errors


def test_a_confident_prediction_of_another_class_makes_a_label_suspect() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    sure = np.array([0.9, 0.9, 0.1, 0.1, 0.1, 0.1])
    (found,) = find_label_errors(labels, np.stack([sure, 1 - sure], 1))
    assert (found.clip, found.label, found.suggested) == (2, 0, 1)
    assert (found.confidence, found.own) == (0.9, 0.1)


def test_a_class_that_is_always_in_doubt_needs_less_confidence() -> None:
    labels = np.array([0, 0, 1, 1, 0])
    rows = [[0.9, 0.1], [0.9, 0.1], [0.45, 0.55], [0.45, 0.55], [0.42, 0.58]]
    assert [one.clip for one in find_label_errors(labels, np.array(rows))] == [4]
    doubted = np.array([*rows[:2], [0.05, 0.95], [0.05, 0.95], rows[4]])
    assert find_label_errors(labels, doubted) == ()


def test_suspects_are_ranked_by_how_much_the_other_class_leads() -> None:
    labels = np.array([0] * 6 + [1] * 6)
    sure = np.array([0.9] * 4 + [0.11, 0.1] + [0.1] * 6)
    probabilities = np.stack([sure, 1 - sure], 1)
    probabilities[11] = [0.2, 0.8]
    assert [one.clip for one in find_label_errors(labels, probabilities)] == [5, 4]


def test_failed_clips_and_classes_without_clips_are_no_suspects() -> None:
    labels = np.array([0, 0, 1])
    rows = np.array([[0.8, 0.1, 0.1], [np.nan] * 3, [0.1, 0.2, 0.7]])
    assert find_label_errors(labels, rows) == ()


def test_labels_exchanged_in_separable_data_are_found() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 6, 600)
    wrong = rng.choice(600, 60, replace=False)
    given = true.copy()
    given[wrong] = (true[wrong] + rng.integers(1, 6, 60)) % 6
    scores = rng.dirichlet(np.ones(6), 600) * 0.3
    scores[np.arange(600), true] += 0.7
    found = {one.clip for one in find_label_errors(given, scores)}
    assert len(found & set(wrong.tolist())) / 60 >= 0.9
    assert len(found & set(wrong.tolist())) / len(found) >= 0.9
