"""Features that are drawn and belong to no video: their labels, counts and contract."""

from __future__ import annotations

from marey.encoders import PRECOMPUTED, Contract, EncoderSpec, Stream
from marey.video import Sampling

LABELS = ("bend", "jump", "wave")
COUNT, LENGTH, DIM = 24, 4, 6
CONTRACT = Contract(
    sampling=Sampling(count=LENGTH),
    streams={"appearance": Stream(kind="appearance")},
    fit="stretch",
    encoder=EncoderSpec(name=PRECOMPUTED, weights="given"),
    encoder_hash="0" * 32,
    size=(1, 1),
    interpolation="bilinear",
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    dim=DIM,
)
