"""A Keras model on features of VGG16, which has a file of its own, beside torchvision and an LSTM of PyTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import vgg16

from marey import commands
from marey.errors import ModelFormatError
from marey.models import load_model

h5py: Any = pytest.importorskip("h5py", reason="h5py is not installed: the extra keras")

BLOCKS = (2, 2, 3, 3, 3)


def write_legacy(path: Path, layers: Mapping[str, Mapping[str, Tensor]], config: Any = None) -> None:
    """Write weights as `model.save_weights` of Keras 2 does; with a configuration, a whole model."""
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if config else file
        root.attrs["layer_names"] = [name.encode() for name in layers]
        file.attrs["keras_version"] = b"2.15.0"
        if config:
            file.attrs["model_config"] = json.dumps(config)
        for name, weights in layers.items():
            group = root.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{each}:0".encode() for each in weights]
            for each, values in weights.items():
                group[f"{name}/{each}:0"] = values.detach().numpy()


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """VGG16's convolutions with random weights."""
    torch.manual_seed(0)
    found: nn.Module = vgg16(weights=None).features.eval()
    return found


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory, network: nn.Module) -> Path:
    """The same as a file of Keras."""
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    names = [f"block{block}_conv{number}" for block, count in enumerate(BLOCKS, 1) for number in range(1, count + 1)]
    layers: dict[str, dict[str, Tensor]] = {"input_1": {}}
    for name, layer in zip(names, convolutions, strict=True):
        assert layer.bias is not None
        layers[name] = {"kernel": layer.weight.permute(2, 3, 1, 0), "bias": layer.bias}
    path = tmp_path_factory.mktemp("vgg") / "vgg16_notop.h5"
    write_legacy(path, layers)
    return path


def keras_weights(lstm: nn.LSTM) -> dict[str, Tensor]:
    """Return the weights of an LSTM as Keras keeps them: its gates stand in the same order, with one bias."""
    kept = lstm.state_dict()
    bias = kept["bias_ih_l0"] + kept["bias_hh_l0"]
    return {"kernel": kept["weight_ih_l0"].T, "recurrent_kernel": kept["weight_hh_l0"].T, "bias": bias}


def layer(kind: str, name: str, **settings: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name, **settings}}


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "weights"])
def test_a_model_on_features_answers_as_vgg16_and_an_lstm_do(
    whole: bool, backbone: Path, network: nn.Module, tmp_path: Path
) -> None:
    lstm, dense, last = nn.LSTM(512, 6, batch_first=True), nn.Linear(6, 5), nn.Linear(5, 3)
    layers = {
        "lstm": keras_weights(lstm),
        "dense": {"kernel": dense.weight.T, "bias": dense.bias},
        "dense_1": {"kernel": last.weight.T, "bias": last.bias},
    }
    config = {
        "class_name": "Sequential",
        "config": {
            "name": "head",
            "layers": [
                layer("InputLayer", "input_1", batch_input_shape=[None, 4, 512]),
                layer("LSTM", "lstm", units=6),
                layer("Dense", "dense", units=5, activation="relu"),
                layer("Dense", "dense_1", units=3, activation="softmax"),
            ],
        },
    }
    write_legacy(tmp_path / "head.h5", layers, config if whole else None)
    commands.import_keras(
        tmp_path / "head.h5",
        recipe="vgg16-lstm",
        labels=["a", "b", "c"],
        out=tmp_path / "model",
        backbone=backbone,
        set=["sampling.count=4", "encoder.size=32", "encoder.grid=[1, 1]"],
    )
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), np.uint8))
    mean = torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1)
    with torch.no_grad():
        features = network(frames.float().flip(1) - mean).flatten(1)
        expected = last(dense(lstm(features[None])[0][:, -1]).relu()).softmax(-1)[0]
    found = load_model(tmp_path / "model").probabilities({"appearance": frames})
    torch.testing.assert_close(found.float(), expected, atol=1e-5, rtol=0)


def test_a_backbone_whose_features_have_another_size_is_refused(backbone: Path, tmp_path: Path) -> None:
    lstm, last = nn.LSTM(3072, 2), nn.Linear(2, 2)
    write_legacy(
        tmp_path / "head.h5",
        {"lstm": keras_weights(lstm), "dense": {"kernel": last.weight.T, "bias": last.bias}},
        {
            "class_name": "Sequential",
            "config": {
                "name": "head",
                "layers": [
                    layer("InputLayer", "input_1", batch_input_shape=[None, 4, 3072]),
                    layer("LSTM", "lstm", units=2),
                    layer("Dense", "dense", units=2, activation="softmax"),
                ],
            },
        },
    )
    with pytest.raises(ModelFormatError, match=r"reads 3072 features a frame, and .* gives \(1, 1, 512\) for 32 x 32"):
        commands.import_keras(
            tmp_path / "head.h5",
            recipe="vgg16-lstm",
            labels="a,b",
            out=tmp_path / "model",
            backbone=backbone,
            set=["encoder.size=32", "encoder.grid=[1, 1]"],
        )
