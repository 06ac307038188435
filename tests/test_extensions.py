"""Extensions: modules outside marey, from entry points and MAREY_PLUGINS, and what happens where one fails."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import marey
from marey import extensions
from marey.cli.app import build, main
from marey.commands import registry as commands
from marey.encoders import Contract, EncoderSpec, Stream, encoder_names, load_encoder, stream_kinds, streams
from marey.encoders import registry as encoders
from marey.errors import ModelFormatError, UnknownNameError
from marey.evaluation import METRICS, ScoredClips, compute_metrics, register_metric
from marey.extensions import Extension, ExtensionWarning, blamed_extension, extension_of, load_extensions
from marey.models import (
    ActionModel,
    HeadSpec,
    ModelConfig,
    create_head,
    head_names,
    load_model,
    new_classifier,
    registry,
    save_model,
)
from marey.training import load_recipe

HEAD = """
from marey.models import FeatureHead, register_head
from marey.models.heads import MeanHead

@register_head("{name}")
class OwnHead(MeanHead):
    pass
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, with nothing loaded so far and registries that forget what a test adds."""
    monkeypatch.setattr(extensions, "_EXTENSIONS", {})
    monkeypatch.setattr(extensions, "_WARNED", set())
    monkeypatch.setattr(registry, "_HEADS", dict(registry._HEADS))
    monkeypatch.setattr(encoders, "_BY_NAME", dict(encoders._BY_NAME))
    monkeypatch.setattr(streams, "_KINDS", dict(streams._KINDS))
    monkeypatch.setattr(commands, "COMMANDS", dict(commands.COMMANDS))
    monkeypatch.setattr("marey.cli.app.COMMANDS", commands.COMMANDS)
    monkeypatch.setattr("marey.commands.COMMANDS", commands.COMMANDS)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for module in [
        key for key, each in list(sys.modules.items()) if str(tmp_path) in str(getattr(each, "__file__", ""))
    ]:
        del sys.modules[module]


@pytest.fixture
def name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Return the means to name extensions."""
    extensions._entry_points.cache_clear()
    return monkeypatch


def model(head: str) -> ActionModel:
    recipe = load_recipe("default-0.1", changes=["encoder.name=pixels", "encoder.grid=null", "encoder.size=2"])
    contract = Contract.from_recipe(recipe, load_encoder(recipe.encoder))
    stored = {**contract.model_dump(), "encoder": EncoderSpec(), "encoder_hash": "0"}
    config = ModelConfig(
        contract=Contract.model_validate(stored), head=HeadSpec(name=head, options={}), labels=("a", "b")
    )
    return ActionModel(config, new_classifier(config.contract, config.head, 2))


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return path.name


def test_a_file_that_the_variable_names_is_imported_when_a_name_is_unknown(
    folder: Path, name: pytest.MonkeyPatch
) -> None:
    name.setenv("MAREY_PLUGINS", write(folder / "own_head.py", HEAD.format(name="own")))
    create_head("mean", (4,), 2)
    assert "own_head" not in sys.modules
    head = create_head("own", (4,), 2)
    assert type(head).__name__ == "OwnHead"
    assert extension_of(type(head)) == "own_head.py"
    assert extension_of(type(create_head("mean", (4,), 2))) is None
    assert "own" in head_names()


def test_a_module_of_an_entry_point_is_imported_with_the_name_of_its_package(
    folder: Path, name: pytest.MonkeyPatch
) -> None:
    write(folder / "pointed_head.py", HEAD.format(name="pointed"))
    info = folder / "marey_pointed-1.2.dist-info"
    info.mkdir()
    write(info / "METADATA", "Metadata-Version: 2.1\nName: marey-pointed\nVersion: 1.2\n")
    write(info / "entry_points.txt", "[marey.plugins]\npointed = pointed_head\n")
    name.syspath_prepend(folder)
    extensions._entry_points.cache_clear()
    assert extension_of(type(create_head("pointed", (4,), 2))) == "pointed of the package marey-pointed 1.2"
    extensions._entry_points.cache_clear()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module' (bad.py, line 1)"),
        ("x = 1\ndef f(:\n", "SyntaxError: invalid syntax (bad.py, line 2)"),
        ("raise SystemExit(3)\n", "SystemExit: 3 (bad.py, line 1)"),
        (HEAD.format(name="mean"), "ValueError: two heads are called 'mean'"),
        (None, "there is no file"),
    ],
)
def test_one_that_fails_is_named_with_its_line_and_costs_no_other(
    folder: Path, name: pytest.MonkeyPatch, text: str | None, why: str
) -> None:
    if text is not None:
        write(folder / "bad.py", text)
    good = write(folder / "good_head.py", HEAD.format(name="good"))
    name.setenv("MAREY_PLUGINS", f"bad.py, {good}")
    assert create_head("good", (4,), 2).classes == 2
    for call, kind in (
        (lambda: create_head("godo", (4,), 2), "head"),
        (lambda: load_encoder(EncoderSpec(name="nothing-like-it")), "encoder"),
        (lambda: Stream(kind="godo"), "kind of stream"),
    ):
        with pytest.raises(UnknownNameError, match=f"no {kind} is called") as caught:
            call()
        assert "the extension bad.py cannot be used: " in str(caught.value)
        assert why in str(caught.value)
    with pytest.warns(ExtensionWarning, match="the extension bad.py cannot be used"):
        assert "good" in head_names()
    assert "mean" in head_names()  # and no second warning
    assert encoder_names()
    assert stream_kinds()


def test_a_file_with_the_name_of_a_module_is_refused(folder: Path, name: pytest.MonkeyPatch) -> None:
    name.setenv("MAREY_PLUGINS", write(folder / "json.py", ""))
    (found,) = load_extensions()
    assert found.failure == "a module is called json already; rename the file"


def test_a_model_says_which_extension_it_lacks(folder: Path, name: pytest.MonkeyPatch) -> None:
    name.setenv("MAREY_PLUGINS", write(folder / "own_head.py", HEAD.format(name="own")))
    save_model(model("own"), folder / "model")
    config = json.loads((folder / "model" / "config.json").read_text(encoding="utf-8"))
    assert config["made_with"]["extensions"] == {"head own": "own_head.py"}
    assert load_model(folder / "model").config.head.name == "own"
    name.delenv("MAREY_PLUGINS")
    del registry._HEADS["own"]
    extensions._EXTENSIONS.clear()
    with pytest.raises(ModelFormatError, match=r"needs the head 'own' of the extension own_head\.py, which is not"):
        load_model(folder / "model")


def test_a_model_without_extensions_names_none(folder: Path) -> None:
    save_model(model("mean"), folder / "model")
    config = json.loads((folder / "model" / "config.json").read_text(encoding="utf-8"))
    assert "extensions" not in config["made_with"]


COMMAND = """
from marey.commands.registry import command

@command("{name}")
def own({parameter}) -> None:
    '''Do something of its own.'''
    1 / 0
"""


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["marey", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    found = capsys.readouterr()
    return int(ended.value.code or 0), found.out + found.err


def test_the_program_has_the_command_of_an_extension_and_names_it_where_it_fails(
    folder: Path, name: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name.setenv("MAREY_PLUGINS", write(folder / "own_command.py", COMMAND.format(name="own", parameter="")))
    assert run(capsys, name, "--version")[0] == 0
    assert run(capsys, name, "recipes", "show", "auto")[0] == 0
    assert "own_command" not in sys.modules
    assert "Do something of its own." in run(capsys, name, "--help")[1]
    code, text = run(capsys, name, "own")
    assert code == 1
    assert text.endswith("this is a fault of the extension own_command.py; report it to its author\n")
    assert callable(marey.own)
    assert blamed_extension(ValueError()) is None


def test_a_command_that_cannot_be_read_costs_no_other(
    folder: Path, name: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parameter = "given: list[list[int]]"
    name.setenv("MAREY_PLUGINS", write(folder / "odd_command.py", COMMAND.format(name="odd", parameter=parameter)))
    load_extensions()
    with pytest.warns(ExtensionWarning, match="the command 'odd' of the extension odd_command.py cannot be used"):
        build()


def test_two_commands_and_two_panels_cannot_be_mixed_up(folder: Path, name: pytest.MonkeyPatch) -> None:
    taken = COMMAND.format(name="train", parameter="")
    nowhere = COMMAND.format(name='own", panel="Predictions', parameter="")
    name.setenv("MAREY_PLUGINS", f"{write(folder / 'taken.py', taken)},{write(folder / 'nowhere.py', nowhere)}")
    one, other = (str(extension.failure) for extension in load_extensions())
    assert "two commands are called 'train'" in one
    assert "no panel is called 'Predictions'; did you mean 'Predict'?" in other


def test_a_metric_of_an_extension_that_fails_costs_no_other(folder: Path) -> None:
    clips = ScoredClips.of(torch.tensor([0, 1]).numpy(), torch.eye(2).double().numpy())

    @register_metric("broken", title="broken", meaning="nothing")
    def broken(clips: ScoredClips) -> float:
        return 1 / 0

    @register_metric("endless", title="endless", meaning="nothing")
    def endless(clips: ScoredClips) -> float:
        return float("inf")

    try:
        with pytest.warns(ExtensionWarning, match="the metric 'broken' of the extension test_extensions failed: Zero"):
            found = compute_metrics(clips)
    finally:
        del METRICS["broken"], METRICS["endless"]
    assert (found["accuracy"], found["broken"], found["endless"]) == (1.0, None, None)
    for taken in ("clips", "kappa_interval"):
        with pytest.raises(ValueError, match="has a key"):
            register_metric(taken, title="", meaning="")(broken)


def test_an_extension_is_named_with_its_package() -> None:
    assert str(Extension("gait", "marey_gait", "marey-gait 0.3")) == "gait of the package marey-gait 0.3"


@pytest.mark.long
def test_the_doctor_lists_extensions_and_the_fault_of_one_that_fails(folder: Path, name: pytest.MonkeyPatch) -> None:
    write(folder / "good.py", HEAD.format(name="mine"))
    write(folder / "bad.py", "import no_such_package\n")
    name.setenv("MAREY_PLUGINS", "good.py,bad.py")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtensionWarning)
        found = {finding.name: finding for finding in marey.doctor().findings}
    assert found["extension good.py"].state == "ok"
    assert found["extension bad.py"].state == "fault"
    assert "no_such_package" in found["extension bad.py"].detail
