from __future__ import annotations

import pytest

from marey.encoders import Contract, EncoderSpec, Stream
from marey.errors import UsageError
from marey.prediction.windows import plan_grid
from marey.video import Sampling


def test_a_model_on_key_frames_has_no_windows() -> None:
    contract = Contract(
        sampling=Sampling(frames="keyframes"),
        streams={"frame": Stream(kind="appearance")},
        fit="stretch",
        encoder=EncoderSpec(),
        encoder_hash="0" * 32,
        size=(32, 32),
        interpolation="bicubic",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        dim=8,
    )
    with pytest.raises(UsageError, match=r"label whole clips with it, or train with sampling.frames=exact"):
        plan_grid(contract, window=None, typical=None, stride=None, whole=False)
