"""Kinds of streams: what earlier versions stored stays valid, and a new kind goes from a recipe to features."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
import torch
from pydantic import Field, ValidationError
from torch import Tensor

from conftest import MakeVideo
from marey.data import Clip
from marey.encoders import (
    Contract,
    EncoderSpec,
    FeatureCache,
    Stream,
    View,
    extract,
    load_encoder,
    read_clip,
    register_stream,
    stream_class,
    stream_kinds,
    streams,
)
from marey.errors import RecipeError, UnknownNameError, VideoError
from marey.training import load_recipe


class Brightest(Stream):
    """The brightest gray of each pixel over the span, less a floor."""

    gray: ClassVar[bool] = True
    span: Annotated[float, Field(gt=0)] = 0.4
    floor: Annotated[int, Field(ge=0, le=255)] = 0

    @property
    def offsets(self) -> tuple[float, ...]:
        return (-self.span / 2, 0.0, self.span / 2)

    def combine(self, frames: Tensor) -> Tensor:
        return (frames.amax(1).int() - self.floor).clamp(0).to(torch.uint8).expand(-1, 3, -1, -1)


@pytest.fixture
def brightest(monkeypatch: pytest.MonkeyPatch) -> str:
    """Register the toy kind for one test."""
    monkeypatch.setattr(streams, "_KINDS", dict(streams._KINDS))
    register_stream("brightest", meaning="the brightest gray over the span")(Brightest)
    return "brightest"


@pytest.mark.usefixtures("brightest")
def test_a_kind_of_ones_own_goes_from_a_recipe_to_features(make_video: MakeVideo, tmp_path: Path) -> None:
    changes = ["streams={light: {kind: brightest, floor: 7}}", "sampling.count=3", "encoder.name=test_efficientnet"]
    recipe = load_recipe("default-0.1", changes=[*changes, "encoder.weights=random", "encoder.grid=null"])
    encoder = load_encoder(recipe.encoder, frames=3)
    contract = Contract.from_recipe(recipe, encoder)
    clip = Clip(make_video(tmp_path / "a.mp4", seconds=1.0))
    (found,) = extract([clip], encoder, contract, cache=FeatureCache(tmp_path / "cache"))
    assert not isinstance(found, VideoError)
    triplet = contract.model_copy(update={"streams": {"light": Stream(kind="triplet", span=0.4)}})
    images = (read_clip(clip, triplet)["light"].amax(1, keepdim=True).int() - 7).clamp(0).to(torch.uint8)
    expected = encoder.encode_clips(images.expand(-1, 3, -1, -1)[None])[0]
    torch.testing.assert_close(found["light"], expected)


def test_a_kind_that_is_not_symmetric_is_combined_from_mirrored_frames(
    make_video: MakeVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class LeftOf(Stream):
        """Each pixel less the one on its left."""

        @property
        def offsets(self) -> tuple[float, ...]:
            return (0.0,)

        def combine(self, frames: Tensor) -> Tensor:
            return frames[:, 0] - frames[:, 0].roll(1, -1)

    monkeypatch.setattr(streams, "_KINDS", dict(streams._KINDS))
    register_stream("left-of", meaning="the change from left to right")(LeftOf)
    recipe = load_recipe("default-0.1", changes=["streams={a: {kind: left-of}, b: {kind: appearance}}"])
    contract = Contract.from_recipe(recipe, load_encoder(EncoderSpec(name="test_efficientnet", weights="random")))
    clip = Clip(make_video(tmp_path / "a.mp4", seconds=1.0))
    mirrored = read_clip(clip, contract, view=View(mirrored=True))
    assert torch.equal(mirrored["b"], read_clip(clip, contract)["b"].flip(-1))
    assert torch.equal(mirrored["a"], LeftOf(kind="left-of").combine(mirrored["b"][:, None]))


@pytest.mark.usefixtures("brightest")
def test_the_options_of_a_kind_survive_json_yaml_and_copies(tmp_path: Path) -> None:
    stream = Stream(kind="brightest", floor=7)
    assert isinstance(stream, Brightest)
    recipe = load_recipe("default-0.1", changes=["streams={light: {kind: brightest, floor: 7}}"])
    (tmp_path / "again.yaml").write_text(recipe.to_yaml())
    assert load_recipe(tmp_path / "again.yaml").streams == recipe.streams == {"light": stream}
    assert Stream.model_validate_json(stream.model_dump_json()) == stream
    for again in (pickle.loads(pickle.dumps(stream)), copy.deepcopy(stream), stream.model_copy()):  # noqa: S301
        assert (again, type(again)) == (stream, Brightest)


def test_existing_kinds_are_stored_as_they_always_were() -> None:
    for kind in ("appearance", "difference", "triplet"):
        assert Stream(kind=kind).model_dump_json() == json.dumps(
            {"kind": kind, "span": 0.2, "gain": 1.0}, separators=(",", ":")
        )
    contract = example(Stream(kind="difference", span=0.5))
    stored = contract.model_dump(mode="json")["streams"]
    assert stored == {"a": {"kind": "difference", "span": 0.5, "gain": 1.0}}


def test_features_that_an_earlier_version_cached_are_found() -> None:
    """Keys as version 0.1 made them."""
    contract = example(Stream(kind="difference", span=0.5))
    key = FeatureCache("unused").key(Clip(Path("a.mp4")), contract, "a", content="0", view=View(), order="given")
    assert key == "ec7f845a26769224dcf37072b72f5247716add4e"
    key = FeatureCache("unused").key(Clip(Path("a.mp4")), contract, "a", content="0", view=View(), order="shuffled")
    assert key == "96cfffd8bf49a481a3ec50200a7c916500d3f537"


def test_an_unknown_kind_answers_with_what_was_probably_meant() -> None:
    message = "no kind of stream is called 'diference'; did you mean 'difference'"
    for call in (lambda: Stream(kind="diference"), lambda: stream_class("diference")):
        with pytest.raises(UnknownNameError, match=message):
            call()
    with pytest.raises(ValidationError, match=message):
        Stream.model_validate({"kind": "diference"})
    with pytest.raises(RecipeError, match=message):
        load_recipe("default-0.1", changes=["streams.difference.kind=diference"])


@pytest.mark.usefixtures("brightest")
def test_an_unknown_option_answers_with_those_of_its_kind() -> None:
    for kind, meant in (("brightest", "did you mean 'floor'"), ("triplet", "choose one of: gain, kind, span")):
        with pytest.raises(RecipeError, match=rf"no key is called 'streams\.a\.flor'; {meant}"):
            load_recipe("default-0.1", changes=[f"streams={{a: {{kind: {kind}, flor: 1}}}}"])


@pytest.mark.parametrize("wrong", [{}, {"kind": 3}, {"kind": ["difference"]}, "difference", None])
def test_a_stream_without_a_kind_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        Stream.model_validate(wrong)


def test_a_name_belongs_to_one_kind(brightest: str) -> None:
    with pytest.raises(ValueError, match="two kinds of streams are called 'brightest'"):
        register_stream(brightest, meaning="another")(Brightest)
    with pytest.raises(ValidationError, match="no Brightest stream is called 'triplet'"):
        Brightest(kind="triplet")
    assert brightest in stream_kinds()


def example(stream: Stream) -> Contract:
    load = load_recipe("default-0.1")
    return Contract(
        sampling=load.sampling,
        streams={"a": stream},
        fit="stretch",
        encoder=EncoderSpec(),
        encoder_hash="0" * 32,
        size=(224, 224),
        interpolation="bicubic",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        dim=8,
    )
