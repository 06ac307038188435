from __future__ import annotations

import inspect
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from marey import commands
from marey.commands.quantize import Quantized
from marey.commands.steps.held_out import read_folds
from marey.data import Clip, content_hash, load_data
from marey.encoders import ENCODER_FILES, FeatureCache, QuantisedEncoder
from marey.errors import ModelFormatError, UsageError
from marey.models import load_model, save_model
from marey.prediction import Predictor

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not all(find_spec(name) for name in ("openvino", "nncf")), reason="openvino and nncf are not installed"
    ),
]


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory, small_run: Path, small_set: Path) -> Quantized:
    return commands.quantize(small_run, str(small_set), out=tmp_path_factory.mktemp("int8") / "model", engine="pytorch")


@pytest.fixture
def copy(tmp_path: Path, answer: Quantized) -> Path:
    """The model in int8, to be changed."""
    return Path(shutil.copytree(answer.model, tmp_path / "model"))


def clips(small_set: Path) -> list[Clip]:
    return [Clip(path) for path in sorted(small_set.glob("*/*.mp4"))]


def test_the_model_folder_holds_the_encoder_in_int8(answer: Quantized, small_run: Path) -> None:
    files = sorted(path.name for path in answer.model.iterdir())
    assert files == sorted(["config.json", "model.safetensors", *ENCODER_FILES])
    config = json.loads((answer.model / "config.json").read_text())
    before = load_model(small_run)
    assert config["contract"]["encoder"]["precision"] == "int8"
    assert config["contract"]["encoder_hash"] != before.config.contract.encoder_hash
    assert config["made_with"]["int8"]["float32_encoder"] == before.config.contract.encoder_hash
    assert config["made_with"]["int8"]["clips"] == answer.clips
    home = str(Path.home())
    assert home not in (answer.model / "encoder.xml").read_text()
    assert before.network is None


def test_the_answer_says_what_int8_costs_and_brings(answer: Quantized, small_run: Path) -> None:
    rows = (small_run / "predictions.csv").read_text().splitlines()[1:]
    assert (answer.clips, answer.folds) == (len(rows), 1)
    metrics = json.loads((small_run / "metrics.json").read_text())
    assert answer.float32.accuracy == pytest.approx(metrics["accuracy"])
    assert 0 <= answer.int8.accuracy <= 1
    assert answer.difference == pytest.approx(answer.int8.accuracy - answer.float32.accuracy)
    assert 0 <= answer.changed <= answer.clips
    assert answer.int8.clips_per_second > 0
    assert answer.int8.megabytes < 0.6 * answer.float32.megabytes
    assert (answer.float32.engine, answer.int8.engine) == ("pytorch", "openvino")
    assert 0 < answer.images <= 300
    json.dumps(answer.as_dict())


def test_the_model_in_int8_predicts_and_is_evaluated_as_any_other(
    answer: Quantized, small_run: Path, small_set: Path, tmp_path: Path
) -> None:
    files = clips(small_set)
    found = Predictor(answer.model, cache=FeatureCache(tmp_path / "a")).probabilities(files)
    again = Predictor(load_model(answer.model), cache=FeatureCache(tmp_path / "b")).probabilities(files)
    assert found == again
    exact = Predictor(small_run, cache=FeatureCache(tmp_path / "a")).probabilities(files)
    left, right = torch.tensor(found), torch.tensor(exact)
    assert not torch.equal(left, right)  # and they share no entries of the cache
    assert (left - right).abs().mean() < 0.25
    result = commands.evaluate(answer.model, str(small_set), out=tmp_path / "tested", split="all")
    labels = load_model(answer.model).labels
    hits = [labels[int(row.argmax())] == file.path.parent.name for file, row in zip(files, left, strict=True)]
    assert result.metrics.accuracy == pytest.approx(sum(hits) / len(hits))
    assert result.metrics.leaks


def test_a_model_that_was_saved_again_keeps_its_encoder(answer: Quantized, tmp_path: Path) -> None:
    before = load_model(answer.model)
    save_model(before, tmp_path / "again")
    after = load_model(tmp_path / "again")
    assert after.network == before.network
    encoder = after.load_encoder()
    assert isinstance(encoder, QuantisedEncoder)
    assert (encoder.hash, encoder.engine, encoder.cache_tag) == (after.config.contract.encoder_hash, "openvino", "")
    save_model(before, tmp_path / "again")  # a model may be replaced
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", ENCODER_FILES)
def test_an_encoder_that_was_tampered_with_is_refused(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(ModelFormatError, match="they were changed or damaged; copy the model again"):
        load_model(copy).load_encoder()


@pytest.mark.parametrize("name", ENCODER_FILES)
def test_a_missing_file_of_the_encoder_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(ModelFormatError, match=f"its {name} is not there"):
        load_model(copy)


def test_a_file_that_lies_elsewhere_is_not_read(copy: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "encoder.bin"
    (copy / "encoder.bin").replace(elsewhere)
    (copy / "encoder.bin").symlink_to(elsewhere)
    with pytest.raises(ModelFormatError, match=r"its encoder.bin is not there"):
        load_model(copy)


def test_a_file_of_any_size_is_not_read_into_memory(copy: Path) -> None:
    with (copy / "encoder.bin").open("r+b") as file:
        os.truncate(file.fileno(), 2**31 + 1)  # takes no room on the disk
    with pytest.raises(ModelFormatError, match="and no encoder is so large"):
        load_model(copy)


def with_hash(folder: Path, change: Any) -> Path:
    """The contract of a stranger, who knows how a hash is made."""
    network = load_model(folder).network
    assert network is not None
    config = json.loads((folder / "config.json").read_text())
    config["contract"]["encoder_hash"] = network.hash
    change(config["contract"])
    config.pop("config_hash", None)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_an_encoder_of_another_kind_than_the_contract_says_is_refused(copy: Path) -> None:
    (copy / "encoder.xml").write_bytes(b"<net name='x'><layers/></net>")
    with pytest.raises(ModelFormatError, match=r"encoder\.xml (cannot be read|takes and gives)"):
        load_model(with_hash(copy, lambda contract: None)).load_encoder()
    (copy / "encoder.xml").write_bytes(b"\x00\x01 no network")
    with pytest.raises(ModelFormatError, match=r"encoder\.xml cannot be read"):
        load_model(with_hash(copy, lambda contract: None)).load_encoder()


def test_an_encoder_for_another_size_is_refused(copy: Path) -> None:
    with pytest.raises(ModelFormatError, match=r"encoder\.xml takes and gives .*, and its contract says"):
        load_model(with_hash(copy, lambda contract: contract.update(size=[32, 32]))).load_encoder()


def test_a_model_in_int8_runs_on_openvino_alone(answer: Quantized, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(answer.model)
    with pytest.raises(UsageError, match="a model in int8 runs on openvino, and not on pytorch"):
        model.load_encoder(engine="pytorch")
    monkeypatch.setenv("MAREY_ENGINE", "pytorch")  # a preference for what can be chosen
    assert model.load_encoder().engine == "openvino"


def test_what_cannot_be_put_into_int8_is_said(
    answer: Quantized, small_run: Path, small_set: Path, tmp_path: Path
) -> None:
    fewer = Path(shutil.copytree(small_set, tmp_path / "fewer"))
    next(fewer.rglob("*.mp4")).unlink()
    with pytest.raises(UsageError, match="is in int8, and int8 is made of a run in float32"):
        commands.quantize(answer.model, str(small_set), out=tmp_path / "out")
    with pytest.raises(UsageError, match=r"is not what .* was trained on: name the same data"):
        commands.quantize(small_run, str(fewer), out=tmp_path / "out")
    with pytest.raises(UsageError, match="a model cannot be written to"):
        commands.quantize(small_run, str(small_set), out=small_run)
    with pytest.raises(UsageError, match="int8 is made of a trained run: `marey quantize RUN DATA`"):
        commands.train(str(small_set), out=tmp_path / "run", set=["encoder.precision=int8"])
    assert not (tmp_path / "out").exists()


def test_ranges_come_of_clips_that_were_learned_from_and_of_none_that_is_tested(
    small_run: Path, small_set: Path
) -> None:
    model, data = load_model(small_run), load_data(str(small_set)).clips

    def fold_after(learnt: Sequence[Clip]) -> Any:
        contents = [content_hash(clip.path) for clip in learnt]
        config = model.config.model_copy(update={"made_with": {"trained_on": contents}})
        (fold,) = read_folds(small_run, replace(model, config=config), data)
        return fold

    whole = fold_after(data)  # as where clips of one file lie on both sides
    learnt = whole.learnt_from(data)
    assert not {clip.id for clip in learnt} & {clip.id for clip in whole.test}
    assert len(learnt) + len(whole.test) == len(data)
    assert fold_after(learnt[1:]).learnt_from(data) == learnt[1:]


@pytest.mark.long
def test_after_cross_validation_every_fold_is_calibrated_on_its_own_training_clips(
    small_set: Path, small_changes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    commands.train(str(small_set), out=run, set=small_changes, folds="2")
    seen: list[set[str]] = []
    module = inspect.unwrap(commands.quantize).__globals__
    inner = module["_in_int8"]

    def watched(model: Any, network: Any, clips: Any) -> Any:
        seen.append({clip.id for clip in clips})
        return inner(model, network, clips)

    monkeypatch.setitem(module, "_in_int8", watched)
    answer = commands.quantize(run, str(small_set))
    assert answer.model == tmp_path / "run-int8"
    assert (answer.clips, answer.folds, len(seen)) == (12, 2, 3)
    first, second, everything = seen
    assert not first & second
    assert first | second == everything
    assert any("2 folds" in note for note in answer.notes)
    assert Predictor(answer.model).labels == ("boxing", "walking")
