"""Features that come as files stand in for what an encoder would have said of the clips."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from pydantic import ValidationError

from marey.data import FeatureTable, Manifest, feature_manifest, read_feature_folder
from marey.encoders import GIVEN, Contract, EncoderSpec, Features, MultiView, Stream
from marey.errors import DatasetError, VideoError
from marey.training import Recipe
from marey.training.recipe import Views
from marey.video import Sampling


def given_features(
    root: Path, manifest: Manifest, recipe: Recipe
) -> tuple[Recipe, Contract, list[list[Features | VideoError]]]:
    """The features of a folder, their contract, and the recipe as it can be followed with them.

    Sampling, streams, fit and encoder are those that the features were made with, whatever the recipe asks for; there
    is one reading of a clip. A contract that came with the features makes a model that also labels video.

    Raises:
        DatasetError: clips differ in length, or the contract is none.
    """
    table = read_feature_folder(root)
    by_path = dict(zip((clip.path for clip in feature_manifest(root).clips), table.clips, strict=True))
    found: list[Features | VideoError] = []
    for clip in manifest.clips:  # fewer than the table's where some are excluded
        given = by_path[clip.path]
        try:
            found.append({stream: torch.from_numpy(given.read(stream).copy()) for stream in table.streams})
        except VideoError as error:
            found.append(error)
    contract = _contract(table, [features for features in found if not isinstance(features, VideoError)])
    followed = recipe.model_copy(
        update={
            "sampling": contract.sampling,
            "streams": contract.streams,
            "fit": contract.fit,
            "testing": MultiView(),
            "encoder": contract.encoder,
            "views": Views(),
        }
    )
    return followed, contract, [found]


def _contract(table: FeatureTable, found: list[Features]) -> Contract:
    shapes = {stream: {tuple(features[stream].shape) for features in found} for stream in table.streams}
    if {len(of_stream) for of_stream in shapes.values()} != {1}:
        raise DatasetError(f"{table.source}: clips have features of different sizes, {shapes}; a head needs one size")
    (length,) = {shape[0] for of_stream in shapes.values() for shape in of_stream}
    dims = {stream: next(iter(of_stream))[1] for stream, of_stream in shapes.items()}
    if table.contract is not None:
        try:
            return Contract.model_validate(table.contract)
        except ValidationError as error:
            raise DatasetError(f"{table.source} has a contract that cannot be read: {error}") from error
    if len(set(dims.values())) > 1:
        raise DatasetError(f"{table.source}: streams of different sizes, {dims}, need the contract that made them")
    text = json.dumps([length, dims])
    return Contract(
        sampling=Sampling(count=length),
        streams={stream: Stream(kind="appearance") for stream in table.streams},
        fit="stretch",
        encoder=EncoderSpec(name=GIVEN, weights="given"),
        encoder_hash=hashlib.blake2b(text.encode(), digest_size=16).hexdigest(),
        size=(1, 1),
        interpolation="bilinear",
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        dim=next(iter(dims.values())),
    )
