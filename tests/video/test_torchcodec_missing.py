"""TorchCodec that is installed but cannot read video, with each kind of failure."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import MakeVideo
from marey import commands
from marey.errors import UsageError
from marey.video import decode, require_decoder
from marey.video.torchcodec_reader import _load

WORDS = "Could not load libtorchcodec. Likely causes:\n  1. FFmpeg is not properly installed in your environment."
FAILURES = {
    "when it is imported": f"raise RuntimeError({WORDS!r})",
    "because a library is missing": "raise OSError('libavutil.so.59: cannot open shared object file')",
    "because it fits another PyTorch": "raise ImportError('undefined symbol: _ZN3c10')",
    "in a way of its own": "raise KeyError('libtorchcodec')",
    "when a video is opened": f"def VideoDecoder(*_, **__):\n    raise RuntimeError({WORDS!r})",
}


@pytest.fixture(params=list(FAILURES.values()), ids=list(FAILURES))
def broken(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a TorchCodec that cannot be used."""
    package = tmp_path / "installed" / "torchcodec"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "decoders.py").write_text(request.param, encoding="utf-8")
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchcodec"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(package.parent))
    _load.cache_clear()
    yield
    for name in ("torchcodec", "torchcodec.decoders"):
        sys.modules.pop(name, None)
    _load.cache_clear()


@pytest.mark.usefixtures("broken")
def test_errors_of_a_broken_torchcodec_name_what_to_install(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=0.2)
    for _ in range(2):
        with pytest.raises(UsageError, match=r"TorchCodec is .* cannot read video here .*FFmpeg's shared libraries"):
            require_decoder("torchcodec")
        with pytest.raises(UsageError, match="or leave decoder at 'pyav'"):  # not an error of the file
            decode(path, [0.0], decoder="torchcodec")
    require_decoder("pyav")


@pytest.mark.usefixtures("broken")
def test_commands_refuse_a_broken_decoder_before_any_work(
    call_marey: Callable[..., Any], small_set: Path, tmp_path: Path
) -> None:
    chosen = ("--set", "sampling.decoder=torchcodec")
    for call in (
        ("train", small_set, "--out", tmp_path / "run"),
        ("tune", small_set, "--out", tmp_path / "run", "--trials", "1"),
        ("extract", small_set),
    ):
        ended = call_marey(*call, *chosen)
        assert (ended.code, ended.err.count("\n")) == (2, 1), ended.err
        assert ended.err.startswith("marey: TorchCodec is installed and cannot read video here")
        assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("broken")
def test_a_model_with_a_broken_decoder_is_refused_once(small_run: Path, small_set: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(small_run / "model", tmp_path / "model"))
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    config["contract"]["sampling"]["decoder"] = "torchcodec"
    del config["config_hash"]
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UsageError, match="TorchCodec is installed and cannot read video here"):
        commands.predict(model, [str(path) for path in small_set.rglob("*.mp4")])
