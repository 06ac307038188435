"""Every recipe, end to end: it trains on drawn clips, and what it saves answers as it did when it was tested."""

from __future__ import annotations

import csv
from contextlib import suppress
from pathlib import Path

import pytest

import marey
from marey import commands
from marey.encoders import VIDEO_TRANSFORMERS, FeatureCache
from marey.training import load_recipe, recipe_names
from small_transformers import FRAMES, small_network, write_transformer

QUICK = {"auto", "default-0.1", "lrcn-small", "transformer", "videomae"}
"""One of each kind: of encoder, head and network that is trained from frames. The others are long."""

SIZES = {"pixels": 32, "grey-pixels": 32, "r2plus1d-18": 32, "swin3d-t": 32, "vgg16": None}
SIZES |= {"vit_small_patch14_dinov2.lvd142m": 56, "vit_base_patch16_clip_224.openai": 32}
SIZES |= {"vit_small_patch16_dinov3.lvd1689m": 32, "vit_base_patch16_siglip_224.v2_webli": 32}
SIZES |= {"vit_pe_core_base_patch16_224.fb": 32}


def recipes() -> list[object]:
    elsewhere = ("-zeroshot", "pose")  # see test_words.py and test_pose.py
    trained = [name for name in recipe_names() if not name.endswith(elsewhere)]
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in trained]


@pytest.fixture(scope="module")
def small_transformers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders as `transformers` writes them, of networks that take the path of the large ones."""
    folder = tmp_path_factory.mktemp("transformers")
    for name in VIDEO_TRANSFORMERS:
        with suppress(pytest.skip.Exception):  # the recipe's own test says that the library does not have it
            write_transformer(name, folder / name)
    return folder


def smaller(name: str, transformers: Path) -> list[str]:
    """What makes a recipe quick without making it another one."""
    recipe = load_recipe(name)
    changes = ["encoder.weights=random", "head.weights=random"]
    if name == "finetune":
        changes += ["encoder.name=test_vit"]
    if recipe.training.solver == "adamw":
        changes += ["training.epochs=1", "training.batch_size=4"]
    if recipe.training.inner_folds > 1:
        changes += ["training.inner_folds=1"]
    if recipe.encoder.name in VIDEO_TRANSFORMERS:
        small_network(recipe.encoder.name)
        changes += [f"encoder.weights={transformers / name}", f"sampling.count={FRAMES}", "encoder.grid=[2, 1]"]
    elif not {"mvit-v2-s", "s3d"} & {recipe.encoder.name, recipe.head.name}:
        changes += ["sampling.count=3"]
        size = SIZES.get(recipe.encoder.name, 64)
        changes += [f"encoder.size={size}"] if size else []
    if recipe.encoder.name == "efficientnet-lite0":
        changes += ["encoder.weights=pretrained"]
    return changes


@pytest.mark.parametrize("name", recipes())
def test_it_trains_and_its_saved_model_answers_the_same(
    name: str, small_set: Path, small_transformers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "cache"))
    commands.train(str(small_set), recipe=name, out=tmp_path / "run", set=smaller(name, small_transformers))
    with (tmp_path / "run" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    model = marey.Predictor(tmp_path / "run", cache=FeatureCache(tmp_path / "other"))
    for prediction, row in zip(model.predict([row["path"] for row in rows]), rows, strict=True):
        assert prediction.labels[0] == row["predicted"]  # of so few clips, one that was held out may be "unknown"
        for label, probability in zip(prediction.labels, prediction.probabilities, strict=True):
            assert probability == pytest.approx(float(row[f"p_{label}"]), abs=1e-5)
