"""The models of a service, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from marey.encoders import Encoder, FeatureCache, Features, feature_streams
from marey.errors import ModelFormatError, UsageError
from marey.models import load_model
from marey.prediction import Predictor, Promises
from marey.service.schema import ModelAnswer
from marey.video import Limits


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model that is loaded and warmed up.

    Attributes:
        name: its name for callers.
        predictor: its predictor.
        encoder: its encoder, which other models may share.
    """

    name: str
    predictor: Predictor
    encoder: Encoder

    def promises(self, *, risk: float | None, sets: float | None) -> Promises:
        """Return the bounds that callers ask for; what was found for a share is kept.

        Raises:
            UsageError: the model keeps no answers for held-out clips.
        """
        return _promises(self, risk, sets)

    def with_cache(self, cache: FeatureCache, limits: Limits) -> Predictor:
        """Return a predictor of the same model with its own cache and limits."""
        return Predictor(self.predictor.model, encoder=self.encoder, cache=cache, limits=limits)

    def describe(self, *, default: bool) -> ModelAnswer:
        """Return the body of an answer."""
        contract = self.predictor.model.config.contract
        return ModelAnswer(
            name=self.name,
            default=default,
            labels=list(self.predictor.labels),
            encoder=contract.encoder.name,
            streams=list(contract.streams),
            frames=contract.sampling.count,
        )


@lru_cache(maxsize=256)
def _promises(model: ServedModel, risk: float | None, sets: float | None) -> Promises:
    return Promises.of(model.predictor.model, risk=risk, sets=sets)


def find_models(paths: Sequence[Path]) -> dict[str, Path]:
    """Find model folders: those named, and those in folders of runs; returns name -> folder.

    A model is called as its run is, or as its folder.

    Raises:
        UsageError: two are called the same.
        ModelFormatError: a path where there is no model.
    """
    found: dict[str, Path] = {}
    for path in paths:
        inside = [path] if _is_model(path) else [run for run in _folders(path) if _is_model(run)]
        if not inside:
            raise ModelFormatError(f"{path} is neither a model nor a run, and there is none in it")
        for folder in inside:
            place = folder.resolve()
            name = place.parent.name if place.name == "model" else place.name
            if name in found and _model_in(found[name]) != _model_in(folder):
                raise UsageError(f"{found[name]} and {folder} are both called '{name}': rename one of them")
            found.setdefault(name, folder)
    return found


def load_models(found: dict[str, Path], *, device: str, engine: str | None = None) -> dict[str, ServedModel]:
    """Load models and run each once; those with the same encoder share it.

    Args:
        found: model folders by name.
        device: where encoders run.
        engine: what runs them, as for `marey.encoders.load_encoder`.

    Raises:
        ModelFormatError: a folder that is no model.
        WeightsError: an encoder whose weights cannot be had.
    """
    encoders: dict[tuple[object, str, int], Encoder] = {}
    loaded: dict[str, ServedModel] = {}
    for name, folder in found.items():
        model = load_model(folder)
        contract = model.config.contract
        key = (contract.encoder, contract.encoder_hash, contract.sampling.count)
        if key not in encoders:
            encoders[key] = model.load_encoder(device=device, engine=engine)
        served = ServedModel(name, Predictor(model, encoder=encoders[key]), encoders[key])
        _warm(served)
        loaded[name] = served
    return loaded


def _warm(served: ServedModel) -> None:
    """Run a model once, because the first pass is slow."""
    contract = served.predictor.model.config.contract
    own = feature_streams(contract.streams)
    warm: Features = {name: torch.zeros(contract.sampling.count, stream.dim) for name, stream in own.items()}
    if len(own) < len(contract.streams):
        black = torch.zeros(1, contract.sampling.count, 3, *contract.size, dtype=torch.uint8)
        features = served.encoder.encode_clips(black)[0]
        warm |= dict.fromkeys(contract.streams.keys() - own.keys(), features)
    served.predictor.of_features(warm)


def _model_in(folder: Path) -> Path:
    return (folder if (folder / "config.json").is_file() else folder / "model").resolve()


def _is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() or (folder / "model" / "config.json").is_file()


def _folders(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if each.is_dir()) if path.is_dir() else []
