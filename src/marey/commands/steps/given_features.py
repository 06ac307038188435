"""Precomputed features: a folder of feature files in place of an encoder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from pydantic import ValidationError

from marey.data import Clip, FeatureTable, Manifest, feature_folder, read_feature_folder
from marey.data.hashing import values_hash
from marey.encoders import PRECOMPUTED, Contract, EncoderSpec, Features, MultiView, Stream
from marey.errors import DatasetError, VideoError, inner_sentence
from marey.models import ActionModel
from marey.prediction import Answer, ClipPipeline
from marey.training import Recipe
from marey.training.settings import Views
from marey.video import Sampling


def given_features(
    root: Path, manifest: Manifest, recipe: Recipe
) -> tuple[Recipe, Contract, list[list[Features | VideoError]]]:
    """Return the recipe as it can be followed with the features of a folder, their contract, and the features.

    Sampling, streams, fit, photometric, conversion and encoder are those that the features were made with, whatever the
    recipe says; a clip has one view. With a contract beside the features, the model also labels video.

    Raises:
        DatasetError: clips differ in size, or the contract is invalid, or belongs to other features.
    """
    root = feature_folder(root)
    table = read_feature_folder(root)
    found = list(_read(root, table, manifest.clips))
    usable = [features for features in found if not isinstance(features, VideoError)]
    if not usable:
        raise DatasetError(f"{table.source}: none of its {len(found)} clips can be used: {found[0]}")
    contract = _contract(table, *_sizes(table, usable))
    followed = recipe.model_copy(
        update={
            "sampling": contract.sampling,
            "streams": contract.streams,
            "fit": contract.fit,
            "photometric": contract.photometric,
            "conversion": contract.conversion,
            "testing": MultiView(),
            "encoder": contract.encoder,
            "views": Views(),
        }
    )
    return followed, contract, [found]


def given_probabilities(root: Path, clips: Sequence[Clip], model: ActionModel) -> list[list[Answer] | VideoError]:
    """Predict clips whose features are in a folder; one clip is in memory at a time.

    Args:
        root: the folder.
        clips: of its manifest.
        model: one that was trained on features that were made in the same way.

    Returns:
        For each clip the answer for its one view, or why there are none.

    Raises:
        DatasetError: the features were made in another way than those that the model was trained on.
    """
    root = feature_folder(root)
    table = read_feature_folder(root)
    pipeline = ClipPipeline(model)
    results: list[list[Answer] | VideoError] = []
    for clip, features in zip(clips, _read(root, table, clips), strict=True):
        if isinstance(features, VideoError):
            results.append(features)
            continue
        length, dims = _sizes(table, [features])
        _require_same(clip.path, _contract(table, length, dims), model.config.contract)
        results.append(pipeline.answers([features], members=True))
    return results


def _read(root: Path, table: FeatureTable, clips: Sequence[Clip]) -> Iterator[Features | VideoError]:
    """Yield the features of some clips of a folder, in their order."""
    by_name = {given.name: given for given in table.clips}
    for clip in clips:
        given = by_name[clip.path.relative_to(root / table.streams[0]).with_suffix("").as_posix()]
        try:
            found = {stream: torch.from_numpy(given.read(stream).copy()) for stream in table.streams}
        except VideoError as error:
            yield error
            continue
        wrong = [stream for stream, values in found.items() if not values.isfinite().all()]
        yield VideoError(clip.path, "corrupt", f"{wrong[0]} holds values that are NaN or infinite") if wrong else found


def _sizes(table: FeatureTable, found: Sequence[Features]) -> tuple[int, dict[str, int]]:
    """Return T and, for each stream, D, which all clips share.

    Raises:
        DatasetError: they differ.
    """
    shapes = {stream: {tuple(features[stream].shape) for features in found} for stream in table.streams}
    lengths = {length for of_stream in shapes.values() for length, _ in of_stream}
    if len(lengths) != 1 or any(len(of_stream) > 1 for of_stream in shapes.values()):
        raise DatasetError(f"{table.source}: clips have features of different sizes, {shapes}; a head needs one size")
    return lengths.pop(), {stream: dim for stream, ((_, dim),) in shapes.items()}


def _contract(table: FeatureTable, length: int, dims: Mapping[str, int]) -> Contract:
    """Return the contract of the folder, or one that holds what can be seen of the features."""
    if table.contract is not None:
        return _stated(table, dims)
    if len(set(dims.values())) > 1:
        raise DatasetError(f"{table.source}: streams of different sizes, {dims}, need the contract that made them")
    return Contract(
        sampling=Sampling(count=length),
        streams={stream: Stream(kind="appearance") for stream in table.streams},
        fit="stretch",
        encoder=EncoderSpec(name=PRECOMPUTED, weights="given"),
        encoder_hash=values_hash([length, dims]),
        size=(1, 1),
        interpolation="bilinear",
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        dim=next(iter(dims.values())),
    )


def _stated(table: FeatureTable, dims: Mapping[str, int]) -> Contract:
    try:
        contract = Contract.model_validate(table.contract)
    except ValidationError as error:
        raise DatasetError(f"{table.source} has a contract that cannot be read: {inner_sentence(error)}") from error
    stated = {} if contract.gives_images else {name: contract.shape_of(name)[0] for name in contract.streams}
    if contract.gives_images or stated != dims:
        raise DatasetError(
            f"{table.source} has a contract of other features than those that are there: {stated} numbers a frame, "
            f"and there are {dict(dims)}"
        )
    return contract


def _require_same(path: Path, made: Contract, wanted: Contract) -> None:
    """Refuse features that were made in another way than those that a model was trained on; more streams do no harm."""
    if set(wanted.streams) <= set(made.streams):
        made = made.model_copy(update={"streams": {name: made.streams[name] for name in wanted.streams}})
    if made == wanted:
        return
    different = [
        name.replace("_", " ") for name in Contract.model_fields if getattr(made, name) != getattr(wanted, name)
    ]
    raise DatasetError(
        f"{path} holds other features than those that the model was trained on: {_words(made)} here, and "
        f"{_words(wanted)} there; they differ in {', '.join(different)}: evaluate the model on features that were made "
        "as its own were, or on the videos"
    )


def _words(contract: Contract) -> str:
    maker = "an unknown encoder" if contract.encoder.name == PRECOMPUTED else contract.encoder.name
    return f"{', '.join(contract.streams)} by {maker}, {contract.sampling.count} x {contract.dim}"
