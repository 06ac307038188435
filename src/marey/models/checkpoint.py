"""The model folder: contract, labels and weights, and no executable code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from marey.atomic import atomic_folder
from marey.encoders import (
    ENCODER_FILES,
    Contract,
    Encoder,
    Features,
    QuantisedEncoder,
    QuantisedNetwork,
    find_family,
    find_stream,
    load_encoder,
)
from marey.errors import ModelFormatError, UsageError
from marey.extensions import VARIABLE, extension_of, load_extensions
from marey.models.classifier import Classifier, HeadSpec, States, stack_clips
from marey.models.registry import find_head

_CONFIG: Final = "config.json"
_WEIGHTS: Final = "model.safetensors"
_EXTENSIONS: Final = "extensions"  # the key of `made_with` that says which extensions a model needs


class ModelConfig(BaseModel):
    """Content of a model's `config.json`.

    Attributes:
        format: version of this layout.
        contract: from a clip to features.
        head: from features to log-probabilities.
        labels: names of the classes, in the order of the outputs.
        temperature: the log-probabilities are divided by it (Guo et al. 2017).
        clip_seconds: median duration of the training clips; None where it is unknown.
        made_with: recipe, seed, versions, hash of the training data: for information.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    contract: Contract
    head: HeadSpec
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    clip_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    made_with: dict[str, Any] = {}


@dataclass(frozen=True)
class ActionModel:
    """A trained head with its contract and labels.

    Attributes:
        config: everything but the tensors.
        classifier: the trained head, in evaluation mode.
        network: the encoder, where it is in int8 and belongs to this model alone; others are loaded by name.
    """

    config: ModelConfig
    classifier: Classifier
    network: QuantisedNetwork | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the probabilities."""
        return self.config.labels

    def load_encoder(self, *, device: str = "cpu", engine: str | None = None) -> Encoder:
        """Load the encoder that the model was trained with.

        Args:
            device: where it runs; int8 runs on the CPU.
            engine: runtime, as for `marey.encoders.load_encoder`.

        Raises:
            ModelFormatError: an encoder in int8 is not the one that the model was made with.
            WeightsError: its weights cannot be loaded.
            UsageError: the engine is missing, or cannot run it.
        """
        contract = self.config.contract
        if self.network is not None:
            return QuantisedEncoder(self.network, contract, engine=engine)
        return load_encoder(contract.encoder, frames=contract.sampling.count, device=device, engine=engine)

    def probabilities(self, features: Features) -> Tensor:
        """Return calibrated probabilities of one clip: stream name to features, to float64 (classes,)."""
        return self.batch_probabilities([features])[0]

    @torch.inference_mode()
    def batch_probabilities(self, clips: Sequence[Features]) -> Tensor:
        """Return calibrated probabilities of several clips of one length: float64 (N, classes)."""
        batch = stack_clips(clips)
        return self._calibrated(self.classifier(batch))

    @torch.inference_mode()
    def step(self, features: Features, states: States) -> Tensor:
        """Return calibrated probabilities of a source after one more frame: float64 (classes,).

        Args:
            features: stream name to features of the frame, (D,) or (C, H, W).
            states: of the frames before, from `Classifier.initial_state`; it is updated.
        """
        return self._calibrated(
            self.classifier.step({name: values[None] for name, values in features.items()}, states)
        )[0]

    def _calibrated(self, logits: Tensor) -> Tensor:
        probabilities: Tensor = (logits.double() / self.config.temperature).softmax(-1)
        return probabilities


def new_classifier(contract: Contract, head: HeadSpec, classes: int) -> Classifier:
    """Return an untrained classifier for a contract."""
    return Classifier(head, dict.fromkeys(contract.streams, contract.shape), classes)


def save_model(model: ActionModel, folder: str | Path) -> None:
    """Write `config.json`, `model.safetensors`, and the encoder in int8 where the model has one.

    An older model in the folder is replaced atomically.

    Raises:
        UsageError: the folder holds something else, which would be lost.
    """
    folder = Path(folder)
    check_output_dir(folder)
    with atomic_folder(folder, overwrite=True) as part:
        state = {name: tensor.contiguous() for name, tensor in model.classifier.state_dict().items()}
        (part / _WEIGHTS).write_bytes(save(state))  # `save_file` has an error of its own for a full disk
        if model.network is not None:
            model.network.write(part)
        values = model.config.model_dump(mode="json")
        needed = {key: extension_of(each) for key, each in _registered(values).items() if each is not None}
        if any(needed.values()):
            values["made_with"][_EXTENSIONS] = {key: name for key, name in needed.items() if name is not None}
        text = json.dumps(values, indent=2, ensure_ascii=False)
        (part / _CONFIG).write_text(text + "\n", encoding="utf-8")


def load_model(folder: str | Path) -> ActionModel:
    """Read a model folder; a run folder with a `model` in it will do.

    Raises:
        ModelFormatError: the folder is missing, incomplete, damaged, of another version, or needs an extension that is
            not here.
    """
    folder = Path(folder)
    if not (folder / _CONFIG).is_file() and (folder / "model" / _CONFIG).is_file():
        folder = folder / "model"
    for name in (_CONFIG, _WEIGHTS):
        if not (folder / name).is_file():
            raise ModelFormatError(
                f"{folder} is not a model: it has no {name}; give RUN/model as `marey train` leaves it"
            )
    try:
        text = (folder / _CONFIG).read_text(encoding="utf-8")
        _check_extensions(text, folder)
        config = ModelConfig.model_validate_json(text)
    except (ValidationError, UnicodeDecodeError, OSError) as error:
        detail = _first(error)
        raise ModelFormatError(
            f"{folder / _CONFIG} cannot be read ({detail}); it is damaged, or was written by another version of marey"
        ) from error
    try:
        # Copied: tensors of a file are not aligned, and the last bit of a product depends on it.
        state = {name: _copied(values) for name, values in load_file(folder / _WEIGHTS).items()}
        with torch.device("meta"):  # memory is used for the tensors of the file only, whatever the config claims
            classifier = new_classifier(config.contract, config.head, len(config.labels))
        classifier.load_state_dict(state, assign=True)
    except (SafetensorError, OSError, RuntimeError, UsageError) as error:
        detail = " ".join(str(error).split())[:200]
        raise ModelFormatError(
            f"{folder / _WEIGHTS} does not fit its {_CONFIG} ({detail}); copy the model again"
        ) from error
    broken = [name for name, values in state.items() if not torch.isfinite(values).all()]
    if broken:
        raise ModelFormatError(
            f"{folder / _WEIGHTS}: {broken[0]} is not finite, so that no probability would be; its training diverged, "
            "or the file is damaged: train it again"
        )
    in_int8 = config.contract.encoder.precision == "int8"
    return ActionModel(config, classifier.eval(), QuantisedNetwork.read(folder) if in_int8 else None)


def _registered(values: Any) -> dict[str, object | None]:
    """Return what a config takes from registries: "head mean" -> its class or function; None for an unknown name."""
    contract, head = values["contract"], values["head"]["name"]
    family = find_family(contract["encoder"]["name"])
    return {
        f"head {head}": find_head(head),
        f"encoder {contract['encoder']['name']}": None if family is None else type(family),
        **{f"stream {each['kind']}": find_stream(each["kind"]) for each in contract["streams"].values()},
    }


def _check_extensions(text: str, folder: Path) -> None:
    """Refuse a model with a part of an extension that is not here; nothing is imported because a model names it.

    Raises:
        ModelFormatError: it says which one.
    """
    try:
        values = json.loads(text)
        needed = {str(key): str(name)[:200] for key, name in values["made_with"][_EXTENSIONS].items()}
        missing = [key for key, each in _registered(values).items() if each is None and key in needed]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return  # of an earlier version; or it is damaged, which is found next
    if missing:
        kind, _, name = missing[0].partition(" ")
        failed = "".join(f"; {each} failed: {each.failure}" for each in load_extensions() if each.failure is not None)
        raise ModelFormatError(
            f"{folder} needs the {kind} '{name}' of the extension {needed[missing[0]]}, which is not here: install its "
            f"package, or name its module or file in {VARIABLE}{failed}"
        )


def check_output_dir(folder: Path) -> None:
    """Refuse a folder that holds anything but a model.

    Raises:
        UsageError: writing a model there would lose it.
    """
    if not folder.exists():
        return
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else [folder.name]
    others = [name for name in found if name not in (_CONFIG, _WEIGHTS, *ENCODER_FILES) and not name.startswith(".")]
    if others:
        raise UsageError(f"a model cannot be written to {folder}, which holds '{others[0]}'; name another place")


def _copied(values: Tensor) -> Tensor:
    return values.to(torch.float32 if values.is_floating_point() else values.dtype, copy=True)


def _first(error: ValidationError | UnicodeDecodeError | OSError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])
