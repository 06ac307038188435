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
from marey.data.hashing import bytes_hash, values_hash
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
from marey.errors import ModelFormatError, UsageError, VideoError
from marey.extensions import VARIABLE, extension_of, load_extensions
from marey.models.classifier import Classifier, HeadSpec, States, stack_clips
from marey.models.familiarity import PREFIX, Familiarity, FamiliarityConfig, describe
from marey.models.held_out import PREFIX as HELD_OUT
from marey.models.held_out import HeldOutAnswers, HeldOutConfig
from marey.models.members import PREFIX as MEMBERS
from marey.models.members import LinearMembers
from marey.models.registry import find_head

_CONFIG: Final = "config.json"
_WEIGHTS: Final = "model.safetensors"
MOST_SEEDS: Final = 100
"""Heads that may be averaged into one model."""

_EXTENSIONS: Final = "extensions"  # the key of `made_with` that says which extensions a model needs


class ModelConfig(BaseModel):
    """Content of a model's `config.json`.

    Attributes:
        format: version of this layout.
        contract: from a clip to features.
        head: from features to log-probabilities.
        seeds: number of heads, trained with other seeds, whose average the head is.
        labels: names of the classes, in the order of the outputs.
        temperature: the log-probabilities are divided by it (Guo et al. 2017).
        clip_seconds: median duration of the training clips; None where it is unknown.
        familiarity: when a clip is unlike them all; None in models of earlier versions.
        held_out: counts of the clips whose answers bound the errors for new ones; likewise.
        made_with: recipe, seed, versions, hash of the training data: for information.
        weights_hash: BLAKE2b-128 of `model.safetensors`; None in models of earlier versions, and once it is checked.
        config_hash: the same of all other keys; likewise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    contract: Contract
    head: HeadSpec
    seeds: Annotated[int, Field(ge=1, le=MOST_SEEDS)] = 1
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    clip_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    familiarity: FamiliarityConfig | None = None
    held_out: HeldOutConfig | None = None
    made_with: dict[str, Any] = {}
    weights_hash: str | None = None
    config_hash: str | None = None


@dataclass(frozen=True)
class ActionModel:
    """A trained head with its contract and labels.

    Attributes:
        config: everything but the tensors.
        classifier: the trained head, in evaluation mode.
        network: the encoder, where it is in int8 and belongs to this model alone; others are loaded by name.
        familiarity: what it keeps of its training clips; None where it cannot tell unknown clips.
        held_out: answers for its training clips by models that were not trained on them; None where there are none.
        members: the linear heads that were averaged into one; None for other heads.
    """

    config: ModelConfig
    classifier: Classifier
    network: QuantisedNetwork | None = None
    familiarity: Familiarity | None = None
    held_out: HeldOutAnswers | None = None
    members: LinearMembers | None = None

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
        """Return calibrated probabilities of one clip: stream name to features, to float64 (classes,).

        Raises:
            VideoError: a probability is not finite (`not_finite`); here, in `batch_probabilities`, `batch_answers` and
                `step`.
        """
        return self.batch_probabilities([features])[0]

    @torch.inference_mode()
    def batch_probabilities(self, clips: Sequence[Features]) -> Tensor:
        """Return calibrated probabilities of several clips of one length: float64 (N, classes)."""
        batch = stack_clips(clips)
        return self._calibrated(self.classifier(batch))

    @torch.inference_mode()
    def batch_answers(self, clips: Sequence[Features]) -> tuple[Tensor, Tensor | None]:
        """Return calibrated probabilities of several clips of one length, and how unlike the training clips they are.

        Returns:
            float64 (N, classes), the same as `batch_probabilities`; and float64 (N,), above 1 for unknown clips, or
            None where the model keeps nothing of its training clips.
        """
        if self.familiarity is None:
            return self.batch_probabilities(clips), None
        logits, descriptions = describe(self.classifier, stack_clips(clips))
        probabilities = self._calibrated(logits)
        return probabilities, self.familiarity.unfamiliarity(descriptions, probabilities)

    @torch.inference_mode()
    def member_probabilities(self, features: Features) -> Tensor:
        """Return calibrated probabilities of one clip by each of the heads that are averaged: float64 (seeds, classes).

        The mean of their logarithms, normalised, gives the model's.
        """
        return self._calibrated(self.classifier.member_logits(stack_clips([features]), self.members))[:, 0]

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
        if not probabilities.isfinite().all():
            raise VideoError("clip", "not_finite", "the model gives probabilities for it that are not finite")
        return probabilities


def new_classifier(contract: Contract, head: HeadSpec, classes: int, *, members: int = 1) -> Classifier:
    """Return an untrained classifier for a contract; with several members, the average of so many."""
    return Classifier(head, {name: contract.shape_of(name) for name in contract.streams}, classes, members=members)


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
        state |= model.familiarity.state() if model.familiarity is not None else {}
        state |= model.held_out.state() if model.held_out is not None else {}
        state |= model.members.state() if model.members is not None else {}
        weights = save(state)
        (part / _WEIGHTS).write_bytes(weights)  # `save_file` has an error of its own for a full disk
        if model.network is not None:
            model.network.write(part)
        kept = {"familiarity": model.familiarity, "held_out": model.held_out}
        configs = {name: None if each is None else each.config for name, each in kept.items()}
        values = model.config.model_copy(update=configs).model_dump(mode="json")
        needed = {key: extension_of(each) for key, each in _registered(values).items() if each is not None}
        if any(needed.values()):
            values["made_with"][_EXTENSIONS] = {key: name for key, name in needed.items() if name is not None}
        values |= {"weights_hash": bytes_hash(weights), "config_hash": None}
        values["config_hash"] = values_hash(values)
        text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
        (part / _CONFIG).write_text(text + "\n", encoding="utf-8")


def load_model(folder: str | Path) -> ActionModel:
    """Read a model folder; a run folder with a `model` in it will do.

    Raises:
        ModelFormatError: the folder is missing, incomplete, damaged, of another version, or needs an extension that is
            not here.
        UsageError: it has an encoder that needs a package which is not installed.
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
        read = load_file(folder / _WEIGHTS)
        answers = {name: read.pop(name).clone() for name in list(read) if name.startswith(HELD_OUT)}
        state = {name: _copied(values) for name, values in read.items()}
        averaged = {name: state.pop(name) for name in list(state) if name.startswith(MEMBERS)}
        with torch.device("meta"):  # memory is used for the tensors of the file only, whatever the config claims
            members = 1 if averaged else config.seeds
            classifier = new_classifier(config.contract, config.head, len(config.labels), members=members)
        kept = {name: state.pop(name) for name in list(state) if name.startswith(PREFIX)}
        classifier.load_state_dict(state, assign=True)
        familiarity = None if config.familiarity is None else Familiarity.of_state(config.familiarity, kept)
        linear = (
            LinearMembers.of_state(averaged, layers=classifier.only_layers, members=config.seeds) if averaged else None
        )
        held_out = None if config.held_out is None else HeldOutAnswers.of_state(config.held_out, answers)
    except (KeyError, SafetensorError, OSError, RuntimeError, UsageError) as error:
        if isinstance(error.__cause__, ImportError):  # the model is whole, and a package is missing
            raise
        detail = " ".join(str(error).split())[:200]
        raise ModelFormatError(
            f"{folder / _WEIGHTS} does not fit its {_CONFIG} ({detail}); copy the model again"
        ) from error
    broken = [name for name, values in (state | kept | answers | averaged).items() if not torch.isfinite(values).all()]
    if broken:
        raise ModelFormatError(
            f"{folder / _WEIGHTS}: {broken[0]} is not finite, so that no probability would be; its training diverged, "
            "or the file is damaged: train it again"
        )
    _check_hashes(config, json.loads(text), folder)
    config = config.model_copy(update={"weights_hash": None, "config_hash": None})
    in_int8 = config.contract.encoder.precision == "int8"
    network = QuantisedNetwork.read(folder) if in_int8 else None
    return ActionModel(config, classifier.eval(), network, familiarity, held_out, linear)


def _check_hashes(config: ModelConfig, values: dict[str, Any], folder: Path) -> None:
    """Refuse a model whose files are not those that were written; models of earlier versions do not say.

    Raises:
        ModelFormatError: it says which file.
    """
    if config.weights_hash is not None:
        found = bytes_hash((folder / _WEIGHTS).read_bytes())
        if found != config.weights_hash:
            raise ModelFormatError(
                f"{folder / _WEIGHTS} is not the file that was written: its hash is {found}, and {_CONFIG} says "
                f"{config.weights_hash}; copy the model again, or, if you changed it yourself, remove the lines "
                '"weights_hash" and "config_hash"'
            )
    if config.config_hash not in (None, values_hash({**values, "config_hash": None})):
        raise ModelFormatError(
            f"{folder / _CONFIG} is not the file that was written; copy the model again, or, if you changed it by "
            'hand, remove the line "config_hash"'
        )


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
