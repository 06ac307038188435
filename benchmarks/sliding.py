"""A window of 16 frames that moves by one frame: what was seen is kept, beside running the whole window each time."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from labels import make_predictor
from marey.encoders import Contract, Encoder, FeatureCache, load_encoder
from marey.prediction import Predictor, Segmentation
from marey.training import load_recipe
from marey.video import Sampling, decode
from measure import Line, Setting, seconds
from samples import FRAME_RATE, film

RATIOS: Final = ("sliding",)

_TARGET: Final = 12.0
_WINDOW: Final = 16  # frames
_SECONDS: Final = 4
_AGREEMENT: Final = 1e-4
_RAW: Final = Segmentation(smooth=0.0)

Answers = npt.NDArray[np.float64]


def measure(setting: Setting) -> list[Line]:
    """Frames a second of both ways by turns, from the file to the probabilities; they have to agree."""
    video = film(setting.work / "sliding.mp4", width=320, height=240, duration=_SECONDS)
    frames = round(_SECONDS * FRAME_RATE)
    recipe = load_recipe("frame-average")
    encoder = load_encoder(recipe.encoder, frames=_WINDOW)
    dense = Sampling(kind="dense", count=_WINDOW, rate=FRAME_RATE)
    contract = encoder.contract(sampling=dense, streams=recipe.streams, fit=recipe.fit)
    predictor = make_predictor(encoder, contract, load_recipe("chronophotograph").head)(
        FeatureCache(setting.work / "sliding")
    )
    ours, theirs, offline = [], [], []
    for _ in range(setting.repeat):
        kept: list[Answers] = []
        anew: list[Answers] = []
        ours.append(frames / seconds(lambda: kept.append(slide(predictor, video))))  # noqa: B023
        offline.append(frames / seconds(lambda: predictor.timeline(video, segmentation=_RAW)))
        theirs.append(frames / seconds(lambda: anew.append(run_again(predictor, encoder, contract, video))))  # noqa: B023
        difference = float(np.abs(kept[0] - anew[0]).max())
        if kept[0].shape != (frames - _WINDOW + 1, len(predictor.labels)) or difference > _AGREEMENT:
            raise SystemExit(f"the two ways disagree: shape {kept[0].shape}, largest difference {difference:.2g}")
    return [
        Line("sliding, the whole window each time", tuple(theirs), "frames/s"),
        Line("sliding, marey as a stream", tuple(ours), "frames/s"),
        Line("sliding, marey's timeline of a file", tuple(offline), "frames/s"),
        Line("sliding, largest difference", (difference,), ""),
        Line("sliding", tuple(our / their for our, their in zip(ours, theirs, strict=True)), "x", at_least=_TARGET),
    ]


def slide(predictor: Predictor, video: Path) -> Answers:
    """Return the probabilities of a stream for each window, (windows, classes)."""
    answers = []
    for answer in predictor.stream(video, segmentation=_RAW, inference="window"):
        said = dict(zip(answer.labels, answer.probabilities, strict=True))
        answers.append([said[label] for label in predictor.labels])
    return np.asarray(answers)


def run_again(predictor: Predictor, encoder: Encoder, contract: Contract, video: Path) -> Answers:
    """Return the same with each window through the encoder and the head by itself; the frames are decoded once."""
    instants = np.asarray((np.arange(round(_SECONDS * FRAME_RATE)) + 0.5) / FRAME_RATE, dtype=np.float64)
    assert contract.fit != "motion"  # noqa: S101 - the recipe's is another
    pictures = decode(video, instants, size=contract.size, fit=contract.fit, interpolation=contract.interpolation).data
    answers = []
    for first in range(len(pictures) - _WINDOW + 1):
        features = encoder.encode_clips(pictures[None, first : first + _WINDOW])[0]
        answers.append(predictor.of_features({"appearance": features}))
    return np.asarray(answers)
