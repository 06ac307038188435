from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from marey.evaluation import ClipResult, Evaluation, Metrics, reliability
from marey.reports import History, plot_confusion, plot_curves, plot_per_class, plot_reliability, save_png

STRANGE = (
    "<b>wave</b>",
    r"$\frac$",
    "拍手",
    "a\tlabel\nof several lines and far too long to be drawn whole",
)


def measured(classes: int, *, failed: int = 0, names: tuple[str, ...] | None = None) -> Metrics:
    generator = np.random.default_rng(0)
    labels = names or tuple(f"an action of number {index}" for index in range(classes))
    rows = []
    for clip in range(4 * classes):
        given = tuple(generator.dirichlet(np.ones(classes)).tolist())
        label = labels[clip % classes]
        rows.append(
            ClipResult(f"{clip}", f"{clip}.avi", label, f"p{clip % 4}", None, None, "corrupt")
            if clip < failed
            else ClipResult(f"{clip}", f"{clip}.avi", label, f"p{clip % 4}", None, given)
        )
    return Evaluation(labels, tuple(rows), (), "one split", "c0ffee", 0).metrics


def history(epochs: int) -> dict[str, list[float]]:
    fall = (1 / np.arange(1, epochs + 1)).tolist()
    return {"train_loss": fall, "val_loss": fall, "val_macro_f1": [1 - value for value in fall]}


@pytest.mark.parametrize("classes", [2, 6, pytest.param(101, marks=pytest.mark.long)])
def test_the_plots_of_few_and_of_many_classes_are_drawn_without_a_warning(classes: int, tmp_path: Path) -> None:
    metrics = measured(classes, failed=2)
    save_png(plot_confusion(metrics), tmp_path / "confusion.png")
    save_png(plot_per_class(metrics), tmp_path / "per_class.png")
    for name in ("confusion.png", "per_class.png"):
        with Image.open(tmp_path / name) as image:
            pixels = np.asarray(image.convert("L"))
        border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert border.min() == 255, f"{name}: something is cut off at the edge"
        assert pixels.min() < 128


def test_the_matrix_grows_with_its_classes_and_leaves_out_small_numbers() -> None:
    few, many = plot_confusion(measured(6)), plot_confusion(measured(101))
    assert few.get_figwidth() < 9 < many.get_figwidth() < 24
    assert len(few.axes[0].texts) == np.count_nonzero(measured(6).confusion)
    assert not many.axes[0].texts


@pytest.mark.parametrize("classes", [3, 30, pytest.param(101, marks=pytest.mark.long)])
def test_the_labels_of_the_matrix_do_not_overlap(classes: int) -> None:
    figure = plot_confusion(measured(classes))
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert all(upper.y0 >= lower.y1 - 1 for upper, lower in pairwise(boxes))
    if figure.axes[0].get_xticklabels()[0].get_rotation() != 40:
        across = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
        assert all(left.x1 <= right.x0 + 1 for left, right in pairwise(across))


def test_failed_clips_have_a_column_if_there_are_any() -> None:
    with_failed = plot_confusion(measured(3, failed=1)).axes[0].get_xticklabels()
    assert with_failed[-1].get_text() == "(failed)"
    assert len(plot_confusion(measured(3)).axes[0].get_xticklabels()) == 3


def test_untrusted_labels_are_drawn_as_they_are(tmp_path: Path) -> None:
    metrics = measured(4, names=STRANGE)
    save_png(plot_confusion(metrics), tmp_path / "confusion.png")
    save_png(plot_per_class(metrics), tmp_path / "per_class.png")
    drawn = [label.get_text() for label in plot_confusion(metrics).axes[0].get_xticklabels()]
    assert drawn[:2] == list(STRANGE[:2])
    assert drawn[3].startswith("a label of sev…")
    assert len(drawn[3]) == 28


def test_a_class_that_does_not_occur_is_named_last() -> None:
    rows = (ClipResult("1", "1.avi", "b", None, None, (0.1, 0.9)),)
    figure = plot_per_class(Evaluation(("a", "b"), rows, (), "", "", 0).metrics)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["b", "a"]


def test_the_same_plot_twice_has_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        save_png(plot_confusion(measured(3)), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as image:
        assert not image.info.keys() & {"Software", "Creation Time"}


def test_the_reliability_diagram_shows_the_calibration_error(tmp_path: Path) -> None:
    figure = plot_reliability(reliability([0.95, 0.95, 0.55], [True, False, True]))
    assert figure.axes[0].get_title(loc="left") == "Reliability: ECE 0.450"
    save_png(figure, tmp_path / "reliability.png")


@pytest.mark.parametrize(
    "histories",
    [
        [history(12)],
        [history(1)],
        [history(5), history(9), history(30)],
        [{"train_loss": [1.0, 0.5]}],
        [{"train_loss": [1.0, 0.5], "val_macro_f1": [float("nan"), float("nan")]}],
        [{"train_loss": [1.0, 0.5], "val_macro_f1": []}, history(3)],
    ],
    ids=["one", "one epoch", "folds", "no validation", "not a number", "a fold without validation"],
)
def test_curves_are_drawn_for_every_kind_of_history(histories: list[History], tmp_path: Path) -> None:
    save_png(plot_curves(histories), tmp_path / "curves.png")


def test_the_mean_of_the_folds_ends_when_fewer_than_half_still_run() -> None:
    axes = plot_curves([history(5), history(9), history(30)]).axes[0]
    mean = next(line for line in axes.get_lines() if line.get_label() == "training")
    assert len(np.asarray(mean.get_xdata())) == 9
    assert np.asarray(mean.get_ydata())[0] == pytest.approx(1.0)


def test_the_kept_epoch_is_marked() -> None:
    title = plot_curves([history(12)]).axes[-1].get_title(loc="left")
    assert title == "Validation macro F1, epoch 12 kept"


def test_of_epochs_that_tie_the_last_one_is_marked_as_kept() -> None:
    axes = plot_curves([{"train_loss": [1.0, 0.5, 0.4, 0.3], "val_macro_f1": [0.2, 0.7, 0.7, 0.6]}]).axes[-1]
    assert axes.get_title(loc="left") == "Validation macro F1, epoch 3 kept"


def test_accuracy_of_training_and_validation_is_drawn_beside_the_loss() -> None:
    both = {"train_loss": [1.0, 0.5], "train_accuracy": [0.5, 0.75], "val_accuracy": [0.25, 0.5]}
    axes = plot_curves([both]).axes[1]
    assert axes.get_ylabel() == "accuracy"
    assert [list(np.asarray(line.get_ydata())) for line in axes.get_lines()] == [[0.5, 0.75], [0.25, 0.5]]
