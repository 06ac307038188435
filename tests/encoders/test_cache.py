from __future__ import annotations

import json
import os
import threading
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from marey.data import Clip
from marey.encoders import Contract, EncoderSpec, FeatureCache, FrameOrder, Stream, View, cache_entry, cache_home
from marey.encoders.cache_entry import Expected
from marey.encoders.timm_encoder import load_frame_encoder
from marey.errors import UsageError
from marey.video import Sampling

KEY = "ab" + "0" * 38


def contract(**changes: Any) -> Contract:
    values: dict[str, Any] = {
        "sampling": Sampling(count=4),
        "streams": {"change": Stream(kind="difference"), "colours": Stream(kind="triplet")},
        "fit": "stretch",
        "encoder": EncoderSpec(),
        "encoder_hash": "0" * 32,
        "size": (48, 80),
        "interpolation": "bilinear",
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "dim": 8,
    }
    return Contract(**{**values, **changes})


def key(
    how: Contract | None = None,
    *,
    clip: Clip = Clip(Path("a.mp4"), start=0.0, end=2.0),  # noqa: B008 - frozen
    stream: str = "change",
    content: str = "f" * 32,
    view: View = View(),  # noqa: B008 - frozen
    order: FrameOrder = "given",
) -> str:
    cache = FeatureCache("nowhere")
    return cache.key(clip, how or contract(), stream, content=content, view=view, order=order)


def test_the_key_changes_with_all_that_features_depend_on() -> None:
    path = Path("a.mp4")
    keys = {
        "plain": key(),
        "content": key(content="e" * 32),
        "start": key(clip=Clip(path, start=0.5, end=2.0)),
        "end": key(clip=Clip(path, start=0.0, end=1.5)),
        "whole file": key(clip=Clip(path)),
        "count": key(contract(sampling=Sampling(count=5))),
        "dense": key(contract(sampling=Sampling(kind="dense", count=4, rate=8.0))),
        "rate": key(contract(sampling=Sampling(kind="dense", count=4, rate=9.0))),
        "short": key(contract(sampling=Sampling(kind="dense", count=4, rate=8.0, short="wrap"))),
        "decoder": key(contract(sampling=Sampling(count=4, decoder="torchcodec"))),
        "kind": key(stream="colours"),
        "span": key(contract(streams={"change": Stream(kind="difference", span=0.3)})),
        "gain": key(contract(streams={"change": Stream(kind="difference", gain=2)})),
        "size": key(contract(size=(48, 81))),
        "fit": key(contract(fit="crop")),
        "photometric": key(contract(photometric="auto")),
        "interpolation": key(contract(interpolation="bicubic")),
        "mean": key(contract(mean=(0.5, 0.5, 0.4))),
        "std": key(contract(std=(0.5, 0.5, 0.4))),
        "weights": key(contract(encoder_hash="1" * 32)),
        "network": key(contract(encoder=EncoderSpec(name="resnet18"))),
        "precision": key(contract(encoder=EncoderSpec(precision="bfloat16"))),
        "grid": key(contract(encoder=EncoderSpec(grid=(3, 2)))),
        "grid turned": key(contract(encoder=EncoderSpec(grid=(2, 3)))),
        "view": key(view=View(1)),
        "second view": key(view=View(2)),
        "mirrored": key(view=View(0, mirrored=True)),
        "reversed": key(order="reversed"),
        "shuffled": key(order="shuffled"),
    }
    for left, right in combinations(keys, 2):
        assert keys[left] != keys[right], (left, right)


def test_the_key_does_not_change_with_names_and_places() -> None:
    plain = key()
    assert key(clip=Clip(Path("/elsewhere/b.avi"), label="run", group="7", start=0.0, end=2.0, split="test")) == plain
    renamed = contract(streams={"motion": Stream(kind="difference"), "colours": Stream(kind="triplet")})
    assert key(renamed, stream="motion") == plain
    assert key(contract(encoder=EncoderSpec(weights="weights/here.safetensors"))) == plain
    assert key(contract(streams={"change": Stream(kind="difference")})) == plain  # the other streams do not matter


def test_key_frames_have_features_of_their_own() -> None:
    streams = {"change": Stream(kind="appearance")}
    exact, keyframes = (
        contract(streams=streams, sampling=Sampling(frames=frames)) for frames in ("exact", "keyframes")
    )
    assert key(exact) != key(keyframes)


def test_features_from_before_frames_and_decoders_could_be_chosen_are_found() -> None:
    assert key() == "f3f2936359aee5b4b088b4ddb110a88fa213b893"


def test_keys_of_shuffled_frames_depend_on_the_other_streams_and_not_on_their_names() -> None:
    for order in ("reversed", "shuffled"):
        plain = key(order=order)
        renamed = contract(streams={"z": Stream(kind="triplet"), "a": Stream(kind="difference")})
        assert key(renamed, stream="a", order=order) == plain
        alone = contract(streams={"change": Stream(kind="difference")})
        wider = contract(streams={"change": Stream(kind="difference"), "colours": Stream(kind="triplet", span=0.6)})
        assert len({plain, key(alone, order=order), key(wider, order=order)}) == 3


def test_networks_that_share_their_weights_do_not_share_features() -> None:
    names = ("efficientnet_lite0", "tf_efficientnet_lite0")  # padded alike on all sides, and as TensorFlow does
    one, other = (load_frame_encoder(EncoderSpec(name=name, weights="random")) for name in names)
    images = torch.arange(3 * 224 * 224).to(torch.uint8).view(1, 3, 224, 224)
    assert one.hash == other.hash
    assert not torch.allclose(one.encode(images), other.encode(images))
    streams = {"change": Stream(kind="difference")}
    keys = {key(encoder.contract(sampling=Sampling(), streams=streams, fit="stretch")) for encoder in (one, other)}
    assert len(keys) == 2


def test_features_come_back_bit_by_bit(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    features = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    features[0, 0], features[0, 1] = 1e-42, -0.0
    assert cache.get(KEY) is None
    for written in (features, features.t(), features[::2], torch.empty(0, 5)):
        cache.put(KEY, written)
        read = cache.get(KEY)
        assert read is not None
        assert read.dtype == torch.float32
        assert torch.equal(read.view(torch.int32), written.contiguous().view(torch.int32))
    assert FeatureCache(tmp_path).get(KEY) is not None
    assert cache.get("ab" + "1" * 38) is None


def test_a_damaged_entry_counts_as_absent(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.put(KEY, torch.ones(4, 4))
    (path,) = tmp_path.rglob("*.safetensors")
    whole = path.read_bytes()
    for damaged in (b"", whole[:5], whole[:20], whole[:-1], whole + b"0", b"\xff" * len(whole), b"{}" * 40):
        path.write_bytes(damaged)
        assert cache.get(KEY) is None
    path.write_bytes(save({"other": torch.ones(4, 4)}))
    assert cache.get(KEY) is None
    path.write_bytes(save({"features": torch.full((4, 4), torch.nan)}))
    assert cache.get(KEY) is None
    path.unlink()
    path.mkdir()
    assert cache.get(KEY) is None
    path.rmdir()
    cache.put(KEY, torch.ones(4, 4))
    assert path.read_bytes() == whole


def test_the_cache_holds_nothing_but_entries(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    for number in range(5):
        cache.put(f"{number:040x}", torch.ones(2, 2))
    (tmp_path / "features" / KEY[:2]).mkdir()
    (tmp_path / "features" / KEY[:2] / f"{KEY}.safetensors").mkdir()  # in the way of the entry
    with pytest.raises(UsageError, match="MAREY_CACHE"):
        cache.put(KEY, torch.ones(2, 2))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(path.name for path in files) == [f"{number:040x}.safetensors" for number in range(5)]


def test_a_reader_never_sees_half_an_entry(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.put(KEY, torch.zeros(200, 200))
    over = threading.Event()

    def write() -> None:
        for number in range(60):
            cache.put(KEY, torch.full((200, 200), float(number)))
        over.set()

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    while not over.is_set():
        read = cache.get(KEY)
        assert read is not None
        assert read.unique().numel() == 1
    for writer in writers:
        writer.join()
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_a_cache_that_cannot_be_written_to_says_where_it_is_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"features cannot be kept in .*file: .*; make room there, or let MAREY_CACHE"):
        FeatureCache(tmp_path / "file").put(KEY, torch.ones(1, 1))


def test_the_cache_lies_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "mine"))
    assert cache_home() == FeatureCache().root == tmp_path / "mine"
    FeatureCache().put(KEY, torch.ones(1, 1))
    assert list((tmp_path / "mine").rglob("*.safetensors"))
    monkeypatch.setenv("MAREY_CACHE", "~/mine")
    assert cache_home() == Path.home() / "mine"
    monkeypatch.delenv("MAREY_CACHE")
    assert cache_home().name == "marey"
    assert FeatureCache(tmp_path).root == tmp_path


def test_a_clip_has_its_key_whether_its_times_are_whole_numbers_or_not() -> None:
    assert key(clip=Clip(Path("a"), start=1, end=2)) == key(clip=Clip(Path("a"), start=1.0, end=2.0))


def test_an_entry_is_plain_safetensors(tmp_path: Path) -> None:
    FeatureCache(tmp_path).put(KEY, torch.ones(3, 2))
    (path,) = tmp_path.rglob("*.safetensors")
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert header["features"]["shape"] == [3, 2]
    assert os.fspath(path).endswith(f"features/{KEY[:2]}/{KEY}.safetensors")


@pytest.mark.parametrize("mapped", [False, True])
def test_no_bit_that_changes_is_read_silently(tmp_path: Path, mapped: bool, caplog: pytest.LogCaptureFixture) -> None:
    cache = FeatureCache(tmp_path)
    written = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    cache.put(KEY, written)
    (path,) = tmp_path.rglob("*.safetensors")
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.unlink()
        path.write_bytes(damaged)
        cache_entry._checked.clear()  # a time stamp is too coarse for 2,000 files
        read = cache.get(KEY, mapped=mapped)
        assert read is None or torch.equal(read, written), bit
    assert f"{path} is damaged" in caplog.text


@pytest.mark.parametrize("mapped", [False, True])
def test_an_entry_of_another_shape_or_type_than_the_contract_gives_counts_as_absent(
    tmp_path: Path, mapped: bool
) -> None:
    cache = FeatureCache(tmp_path)
    cache.put(KEY, torch.ones(4, 8))
    whole = Expected(torch.float32, (8,))
    assert cache.get(KEY, mapped=mapped, expected=whole) is not None
    for other in (Expected(torch.float32, (9,)), Expected(torch.uint8, (8,)), Expected(torch.float32, (2, 4, 8))):
        assert cache.get(KEY, mapped=mapped, expected=other) is None


@pytest.mark.parametrize("mapped", [False, True])
def test_an_entry_from_before_there_were_checksums_is_read(tmp_path: Path, mapped: bool) -> None:
    cache = FeatureCache(tmp_path)
    cache.put(KEY, torch.zeros(1, 1))
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(save({"features": torch.ones(4, 4)}))
    read = cache.get(KEY, mapped=mapped)
    assert read is not None
    assert torch.equal(read, torch.ones(4, 4))


def test_a_mapped_entry_is_checked_once_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = FeatureCache(tmp_path)
    cache.put(KEY, torch.arange(24, dtype=torch.uint8).view(2, 3, 2, 2))
    sums: list[int] = []
    checksum = cache_entry._checksum

    def count(*given: Any) -> str:
        sums.append(1)
        return checksum(*given)

    monkeypatch.setattr(cache_entry, "_checksum", count)
    for _ in range(5):
        assert cache.get(KEY, mapped=True) is not None
    assert len(sums) == 1


def test_a_cache_that_cannot_be_written_to_is_no_error_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    cache = FeatureCache(tmp_path / "file" / "cache")
    lock = cache.lock(KEY)
    assert lock is not None
    lock.release()
    for _ in range(3):
        cache.keep(KEY, torch.ones(1, 1))
    assert caplog.text.count("features cannot be kept") == 1
    assert isinstance(cache.fault, UsageError)
    assert cache.free > 0
