"""The cost of a trained model: operations counted, and speed measured on its test clips."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from marey.atomic import write_atomic
from marey.commands.models import count_recipe
from marey.data import Clip, content_hash
from marey.encoders import FeatureCache
from marey.evaluation import Cost
from marey.json_text import json_text
from marey.models import ActionModel, load_model
from marey.prediction import Predictor
from marey.training import load_recipe

_MEASURED: Final = 8  # clips; enough for two digits


def kept_cost(run: Path, clips: Sequence[Clip], *, kept: Path, device: str, engine: str | None = None) -> Cost:
    """Return the cost of a run's model, from the file that keeps it for this model and device, or measured now.

    Args:
        run: the run's folder.
        clips: what it can be measured on; there is no measurement without any.
        kept: the file.
        device: "cpu" or "cuda".
        engine: what runs the encoder, as for `marey.encoders.load_encoder`.
    """
    weights = content_hash(run / "model" / "model.safetensors")
    try:
        found = json.loads(kept.read_text(encoding="utf-8"))
        if found.pop("model") == weights and found["device"] == device:
            return Cost(**found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # nothing is kept, or something else
    model = load_model(run)
    counts = count_recipe(load_recipe(str(run / "recipe.yaml")), classes=len(model.labels))
    rate = clips_per_second(model, clips, device=device, engine=engine) if clips else None
    cost = Cost(counts.trained, counts.frozen, counts.flops, rate, min(len(clips), _MEASURED), device)
    write_atomic(kept, json_text({"model": weights, **asdict(cost)}, indent=1) + "\n", single_writer=True)
    return cost


def clips_per_second(model: ActionModel, clips: Sequence[Clip], *, device: str, engine: str | None = None) -> float:
    """Measure how many clips a model labels per second, from file to probabilities, without cached features.

    The first clip warms the model up; the time is that of up to eight others, spread over all.

    Args:
        model: which.
        clips: at least one that can be read.
        device: "cpu" or "cuda".
        engine: what runs the encoder, as for `marey.encoders.load_encoder`.
    """
    encoder = model.load_encoder(device=device, engine=engine)
    others = clips[1:] or clips
    chosen = others[:: max(1, len(others) // _MEASURED)][:_MEASURED]
    with tempfile.TemporaryDirectory(prefix="marey-") as folder:
        for name, asked in (("warm", clips[:1]), ("measured", chosen)):
            predictor = Predictor(model, encoder=encoder, cache=FeatureCache(Path(folder, name)))
            began = time.perf_counter()
            predictor.probabilities(asked)
            seconds = time.perf_counter() - began
    return len(chosen) / seconds
