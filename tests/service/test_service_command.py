from __future__ import annotations

import builtins
import re
import socket
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from marey.client import Client
from marey.errors import ModelFormatError, UsageError
from marey.extras import install_command
from marey.service import find_models
from marey.service.command import serve as serve_verb

pytest_plugins = ["service_fixtures"]


def test_a_model_that_is_none_ends_the_program_with_its_reason(call_marey: Any, tmp_path: Path) -> None:
    outcome = call_marey("serve", tmp_path, "--jobs", tmp_path / "jobs")
    assert outcome.code == 3
    assert "is neither a model nor a run, and there is none in it" in outcome.err


def test_a_model_that_is_damaged_ends_the_program_with_its_reason(
    call_marey: Any, tmp_path: Path, small_run: Path
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_bytes((small_run / "model" / "config.json").read_bytes())
    (model / "model.safetensors").write_bytes(b"damaged")
    outcome = call_marey("serve", model, "--jobs", tmp_path / "jobs", "--port", "0")
    assert outcome.code == 3
    assert "copy the model again" in outcome.err


def test_a_port_that_is_taken_is_named(call_marey: Any, small_run: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = call_marey("serve", small_run, "--jobs", tmp_path / "jobs", "--port", str(port))
    assert outcome.code == 2
    assert f"nothing can listen at 127.0.0.1, port {port}" in outcome.err
    assert "choose another --port" in outcome.err


def test_what_is_not_installed_is_named(small_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("marey.service", "fastapi"))]:
        monkeypatch.delitem(sys.modules, name)
    plain = builtins.__import__

    def without(name: str, *further: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "fastapi":
            raise ModuleNotFoundError("No module named 'fastapi'", name="fastapi")
        return plain(name, *further, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=re.escape(f"the service needs fastapi: {install_command('serve')}")):
        serve_verb([small_run])


def test_models_are_called_as_their_runs(tmp_path: Path, small_run: Path) -> None:
    for place in ("a/first/model", "b/first/model", "b/second"):
        folder = tmp_path / place
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    assert find_models([tmp_path / "b"]) == {"first": tmp_path / "b/first", "second": tmp_path / "b/second"}
    assert list(find_models([tmp_path / "a/first/model", tmp_path / "b/second"])) == ["first", "second"]
    assert list(find_models([tmp_path / "a/first", tmp_path / "a/first/model"])) == ["first"]
    with pytest.raises(UsageError, match="are both called 'first': rename one of them"):
        find_models([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(ModelFormatError, match="nothing is neither"):
        find_models([tmp_path / "nothing"])


@pytest.mark.long
def test_the_program_serves_with_the_token_of_its_environment(
    start_program: Any, small_run: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAREY_TOKEN", "sesame")
    program = start_program(small_run, "--jobs", tmp_path / "jobs", "--max-upload-mb", "1")
    assert httpx.get(f"{program.url}/models").status_code == 401
    with Client(program.url) as client:  # which takes it from there as well
        assert client.predict(clip).label == "boxing"
        assert client.health().status == "ready"
    said = program.log.read_text(encoding="utf-8")
    assert f"described at {program.url}/docs" in said
    assert "sesame" not in said
