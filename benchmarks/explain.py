"""How faithful explanations are: deletion and insertion curves of times and places: minutes. By name only.

    python benchmarks/bench.py --only explain --data DIR

Three models are trained as `marey train` does it: a linear head and a recurrent one on the features of a grid, and a
network on frames. The answers for the held-out clips are explained. Then the parts of a clip are taken away, those with
the largest contribution first, or put back (Petsiuk et al. 2018); the area under the curve of the probability is
compared with that of random orders of the same parts. In the place of a part stands nothing (the mask of a head on
features), or the mean frame of the clip, which for places is the same part of the mean frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.commands import train
from marey.data import Clip
from marey.encoders import FeatureCache
from marey.evaluation import Faithfulness, faithfulness, read_predictions
from marey.models.attribution import Pair
from marey.prediction import Explanation, Predictor, explain_clip
from marey.prediction.left_out import MaskedFeatures, StillFrames, mean_image
from marey.progress import SILENT
from measure import Line, Setting

Kept = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

MODELS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "linear head": ("chronophotograph", ("sampling.count=8", "training.inner_folds=3")),
    "recurrent head": (
        "bilstm",
        ("sampling.count=8", "streams={difference: {kind: difference}}", "encoder.grid=[3, 2]", "training.epochs=40"),
    ),
    "network on frames": (
        "c3d-lstm-gru",
        ("head.options.filters=8", "training.min_steps=0", "training.epochs=40"),
    ),
}
"""Name of a model -> its recipe, and what is changed of it."""

TEST: Final = "test=0.34"
MOST_CLIPS: Final = 8
ORDERS: Final = 16
FEW_ORDERS: Final = 4  # where each subset of the parts is a pass of the encoder or the network
MOST_IN_PLACE: Final = 4  # clips, likewise


@dataclass(frozen=True)
class Case:
    """A clip with its explanation, and its images.

    Attributes:
        found: the explanation.
        model: the model.
        features: of the clip.
        still: the clip with still parts.
        known: probabilities for the cells that were kept so far.
    """

    found: Explanation
    model: Predictor
    features: Mapping[str, Tensor]
    still: StillFrames
    known: dict[bytes, float] = field(default_factory=dict)

    @property
    def answer(self) -> int:
        """Number of the explained class."""
        return self.found.labels.index(self.found.explained)

    def masked(self, kept: Kept) -> Floats:
        """Return the probability where the head is not shown some parts in time."""
        owner = self.still.owner
        versions = MaskedFeatures(self.model.model, self.features, self.still.pair, owner, owner)
        return versions.answers(kept).probabilities[:, self.answer]

    def without_times(self, kept: Kept) -> Floats:
        """Return the probability where some parts in time are the mean frame."""
        if self.found.when_by == "still":
            return self.still.answers(kept).probabilities[:, self.answer]
        images = self.still.images
        mean = self.still.encode({name: mean_image(values)[None].expand_as(values) for name, values in images.items()})
        rows = torch.from_numpy(kept[:, self.still.owner])[..., None]
        versions = [
            {name: torch.where(row, values, mean[name]) for name, values in self.features.items()} for row in rows
        ]
        return np.asarray(self.model.model.batch_probabilities(versions)[:, self.answer])

    def without_places(self, kept: Kept) -> Floats:
        """Return the probability where some cells of all images are those of the mean frame."""
        for row in np.unique(kept, axis=0):
            if row.tobytes() not in self.known:
                self.known[row.tobytes()] = self._with_cells(row)
        return np.array([self.known[row.tobytes()] for row in kept])

    def places(self) -> Floats:
        """Return the contributions of the cells, over all times."""
        assert self.found.where is not None  # noqa: S101 - these models have places
        return np.asarray(self.found.where.sum(0).reshape(-1))

    def covered(self) -> Floats:
        """Return what the probability loses where each cell alone is that of the mean frame."""
        count = len(self.places())
        found = self.without_places(~np.eye(count + 1, count, dtype=bool))
        losses: Floats = found[-1] - found[:-1]
        return losses

    def _with_cells(self, kept: Kept) -> float:
        assert self.found.where is not None  # noqa: S101 - these models have places
        cells = torch.from_numpy(kept).view(1, 1, *self.found.where.shape[1:]).float()
        changed = {}
        for name, images in self.still.images.items():
            mask = torch.nn.functional.interpolate(cells, images.shape[-2:], mode="nearest")[0] > 0.5
            changed[name] = torch.where(mask, images, mean_image(images))
        features = self.still.encode(changed)
        return float(self.model.model.probabilities(features)[self.answer])


def measure(setting: Setting) -> list[Line]:
    """Train the models, explain their answers for the clips that they have not seen, and measure the explanations."""
    lines: list[Line] = []
    for name, (recipe, changes) in MODELS.items():
        run = setting.work / f"explain-{recipe}"
        train(setting.data, recipe=recipe, out=run, set=[*changes, TEST], reporter=SILENT)
        lines += _measure(name, list(_cases(run)))
    return lines


def _cases(run: Path) -> Iterator[Case]:
    model = Predictor(run, cache=FeatureCache())
    _, rows = read_predictions(run / "predictions.csv")
    for row in rows[:: max(1, -(-len(rows) // MOST_CLIPS))]:
        clip = Clip(Path(row.path))
        features: list[Mapping[str, Tensor]] = []

        def keep(_: Clip, each: Mapping[str, Tensor], kept: list[Mapping[str, Tensor]] = features) -> None:
            kept.append(each)

        model.predict(clip, on_features=keep)
        found = explain_clip(model, clip)
        view = model.pipeline.views[0]
        images = {stream: each for (seen, stream), each in model.pipeline.decode(clip).items() if seen == view}
        pair = Pair(found.labels.index(found.explained), found.labels.index(found.rival))
        count = model.model.config.contract.sampling.count
        owner = np.arange(count) * len(found.when) // count
        assert model.pipeline.encoder is not None  # noqa: S101 - the predictor has loaded it
        yield Case(found, model, features[0], StillFrames(model.model, model.pipeline.encoder, images, pair, owner))


def _measure(name: str, cases: list[Case]) -> list[Line]:
    lines = []
    masked = cases[0].found.when_by == "left out"
    orders = ORDERS if masked else FEW_ORDERS
    if masked:
        lines += _lines(
            f"{name}, times left out",
            cases,
            lambda case: faithfulness(case.masked, case.found.when, orders=ORDERS),
        )
    lines += _lines(
        f"{name}, times replaced by the mean frame",
        cases,
        lambda case: faithfulness(case.without_times, case.found.when, orders=orders),
    )
    some = cases[:: max(1, -(-len(cases) // MOST_IN_PLACE))]
    for way, places in ((cases[0].found.where_by, Case.places), ("occlusion", Case.covered)):
        lines += _lines(
            f"{name}, places by {way}",
            some,
            lambda case, places=places: faithfulness(  # type: ignore[misc]
                case.without_places, places(case), orders=FEW_ORDERS
            ),
        )
    return lines


def _lines(name: str, cases: list[Case], test: Callable[[Case], Faithfulness]) -> list[Line]:
    found = [test(case) for case in cases]
    gains = np.array([each.gain for each in found])
    note = f"{(gains > 0).sum()} of {len(gains)} clips gain; standard error {gains.std(ddof=1) / len(gains) ** 0.5:.3f}"

    def mean(values: list[float]) -> tuple[float]:
        return (float(np.mean(values)),)

    return [
        Line(f"{name}: deletion", mean([each.deletion_area for each in found]), ""),
        Line(f"{name}: deletion, random", mean([each.random_deletion_area for each in found]), ""),
        Line(f"{name}: insertion", mean([each.insertion_area for each in found]), ""),
        Line(f"{name}: insertion, random", mean([each.random_insertion_area for each in found]), ""),
        Line(f"{name}: gain", mean([each.gain for each in found]), "", note=note),
    ]
