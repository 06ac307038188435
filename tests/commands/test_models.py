"""`marey models`: what recipes build, counted."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console

from marey import commands
from marey.cli.screen import Screen
from marey.commands.models import Counts, ModelRow, ModelTable
from marey.encoders import VIDEO_TRANSFORMERS, EncoderSpec, embedded_path, family_of, weights_origin
from marey.encoders.timm_encoder import pretrained_size
from marey.errors import UnknownNameError, UsageError
from marey.extras import install_command
from marey.training import load_recipe, recipe_names
from small_transformers import small_network


@pytest.fixture(scope="module")
def table() -> ModelTable:
    """All recipes, as they are listed where the package transformers is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "transformers", None)
        return commands.list_models()


def counts_of(row: ModelRow) -> Counts:
    assert row.counts is not None
    return row.counts


@pytest.mark.long
def test_every_recipe_is_listed_and_counted_unless_its_extra_is_missing(table: ModelTable) -> None:
    rows = json.loads(json.dumps(table.as_dict()))
    untrained = {"clip-zeroshot", "siglip2-zeroshot", "xclip-zeroshot"}
    assert [row["name"] for row in rows] == list(recipe_names())
    assert {row["name"] for row in rows if row["weights"]["extra"] == "transformers"} == set(
        VIDEO_TRANSFORMERS
    ) | untrained
    for row in rows:
        assert row["description"]
        assert row["weights"]["origin"] in ("marey", "download", "none")
        if row["weights"]["extra"] is None:
            assert row["fault"] is None
            assert row["parameters"] == row["trained"] + row["frozen"] + row["statistics"]
            assert row["trained"] > 0
            if row["name"] != "pose":  # which has no images to encode
                assert row["flops"] > 1e6
                assert len(row["input"]) == 4
        else:
            assert row["weights"]["size"] > 1e8
            uncounted = ("parameters", "trained", "frozen", "statistics", "flops", "input")
            assert all(row[name] is None for name in uncounted)
            assert row["fault"].endswith(install_command("transformers"))


@pytest.mark.long
def test_the_tables_are_read_in_80_columns_and_in_120(table: ModelTable) -> None:
    for width in (80, 120):
        screen = Screen(quiet=True)
        screen._out = Console(width=width, force_terminal=True, highlight=False, color_system=None)
        with screen._out.capture() as captured:
            screen.show(commands.COMMANDS["models"].show(table))
        lines = captured.get().splitlines()
        assert max(len(line) for line in lines if line[0] in "│┃") <= width
        for row in table.rows:
            assert sum(line.startswith(f"│ {row.name} ") for line in lines) == 2  # in one piece, in both tables
        assert "needs the extra" in captured.get()
        needing = [name for name in recipe_names() if family_of(load_recipe(name).encoder).extra == "transformers"]
        assert sum(line.endswith(install_command("transformers")) for line in lines) == len(needing)


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(VIDEO_TRANSFORMERS))
def test_a_recipe_whose_extra_is_there_is_counted(name: str) -> None:
    small_network(name)  # skips where the library does not have it
    (row,) = commands.list_models(name).rows
    assert counts_of(row).frozen > 8e7 > counts_of(row).trained > 0
    assert row.fault is None


def test_the_one_that_is_asked_for_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match="needs the package transformers") as said:
        commands.list_models("vjepa2")
    assert str(said.value).endswith(install_command("transformers"))


@pytest.mark.parametrize(
    ("name", "origin", "megabytes"),
    [
        ("auto", "marey", None),
        ("cnn-lstm", "none", None),
        ("s3d", "download", 33.5),
        ("s3d-frozen", "download", 33.5),
        ("vgg16-lstm", "download", 553.4),
        ("resnet50-lstm", "download", 102.4),
        ("vjepa2", "download", 1304.0),
        ("finetune", "download", 88.2),
    ],
)
def test_where_weights_come_from_is_told_without_a_network(name: str, origin: str, megabytes: float | None) -> None:
    recipe = load_recipe(name)
    backbone = None if recipe.head.backbone is None else recipe.head.backbone.name
    weights = weights_origin(recipe.encoder, head=recipe.head.name, weights=recipe.head.weights, backbone=backbone)
    assert weights.origin == origin
    assert weights.size == (None if megabytes is None else pytest.approx(megabytes * 1e6, rel=0.01))
    assert ("download" in str(weights)) == (origin == "download")


def test_weights_that_are_named_or_random_are_no_download(tmp_path: Path) -> None:
    for name in ("resnet50", "r2plus1d-18", "videomae"):
        for weights, origin in (("random", "none"), (str(tmp_path), "file")):
            found = weights_origin(EncoderSpec(name=name, weights=weights), head="mean", weights="random")
            assert (found.origin, found.size) == (origin, None)
            assert found.extra == ("transformers" if name == "videomae" else None)
    file = weights_origin(EncoderSpec(name="pixels"), head="s3d", weights="kept.safetensors")
    assert str(file) == "kept.safetensors"


@pytest.mark.long
def test_sizes_of_downloads_are_those_of_the_networks_numbers() -> None:
    assert pretrained_size("efficientnet-lite0") == pytest.approx(embedded_path().stat().st_size, rel=0.01)
    library = pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")
    with torch.device("meta"):
        for name, about in VIDEO_TRANSFORMERS.items():
            published = {"videomae": "VideoMAEForPreTraining", "timesformer": "TimesformerForVideoClassification"}
            kind = getattr(library, published.get(name, about.model), None)
            if kind is None:  # an older version
                continue
            network = kind(getattr(library, about.config)())
            size = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
            assert about.download == pytest.approx(size, rel=0.01)


@pytest.mark.parametrize(
    ("name", "parameters", "frozen", "statistics", "shape"),
    [
        ("vgg16-lstm", 36_461_062, 14_714_688, 0, (10, 3, 96, 64)),
        ("cnn-lstm", 4_547_014, 0, 1_152, (10, 1, 80, 80)),
    ],
)
def test_counts_are_those_of_the_published_tables(
    name: str, parameters: int, frozen: int, statistics: int, shape: tuple[int, ...]
) -> None:
    table = commands.list_models(name)
    (row,) = table.rows
    counts = counts_of(row)
    assert (counts.parameters, counts.frozen, counts.statistics) == (parameters, frozen, statistics)
    assert counts.input == shape
    assert sum(layer.parameters for layer in table.layers) == parameters
    assert table.as_dict()[0]["layers"]


def test_the_layers_of_a_model_are_shown_with_totals_and_without_activations(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = commands.list_models("cnn-lstm")
    Screen(quiet=True).show(commands.COMMANDS["models"].show(table))
    out = capsys.readouterr().out
    # 4,547,014 numbers of 4 bytes, as the table that Keras prints of this model
    assert re.search(r"parameters +4,547,014  \(17\.35 MB\)", out)
    assert re.search(r"\ntrainable +4,545,862  \(17\.34 MB\)", out)
    assert re.search(r"non-trainable +1,152  \(0\.00 MB\): 0 frozen and 1,152 statistics", out)
    assert not {layer.kind for layer in table.layers} & {"ReLU", "ReLU6", "Tanh", "Sigmoid", "Softmax", "Identity"}


def test_the_layers_of_an_encoder_add_up_with_its_normalisations() -> None:
    table = commands.list_models("default-0.1")
    (row,) = table.rows
    counts = counts_of(row)
    assert sum(layer.parameters for layer in table.layers) == counts.parameters
    normalised = [layer for layer in table.layers if layer.kind.startswith("BatchNorm")]
    assert normalised[0].output == (1, 32, 112, 112)
    assert sum(layer.parameters for layer in normalised) == 2 * counts.statistics
    assert not any("act" in layer.name.split(".") for layer in table.layers)


def test_operations_are_those_of_the_published_tables() -> None:
    (vgg,) = commands.list_models("vgg16-bilstm").rows
    per_image = counts_of(vgg).flops / 30
    assert per_image == pytest.approx(2 * 15.35e9, rel=0.01)  # Simonyan and Zisserman: 15.3 G multiply-adds
    (swin,) = commands.list_models("swin3d-t").rows
    assert counts_of(swin).flops == pytest.approx(2 * 43.88e9, rel=0.01)  # torchvision's table


@pytest.mark.long
def test_changes_of_a_recipe_are_counted() -> None:
    (one,), (two,) = (commands.list_models("lrcn", set=[f"sampling.count={count}"]).rows for count in (8, 16))
    assert counts_of(two).flops == pytest.approx(2 * counts_of(one).flops)
    assert counts_of(two).parameters == counts_of(one).parameters


def test_what_cannot_be_listed_is_said() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'cnn-lstm'"):
        commands.list_models("cnn-lsmt")
    with pytest.raises(UsageError, match="--classes 1"):
        commands.list_models(classes=1)
