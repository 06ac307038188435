"""Disks that fail at the n-th write: never a traceback or half a file, and a later call goes on."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch

from marey import commands
from marey.cli import app
from marey.encoders.cache_entry import DamagedEntryError, pack_entry, read_entry
from marey.errors import MareyError
from marey.models import load_model
from marey.training.checkpoint import CHECKPOINT, read_checkpoint, write_checkpoint

LINEAR: Final = ["training.inner_folds=1", "test=0.25"]
KINDS: Final = ("open", "write", "fsync")
CODES: Final = (errno.ENOSPC, errno.EIO, errno.EROFS)
_WRITING: Final = os.O_WRONLY | os.O_RDWR


class Faults:
    """Counts what is opened to be written, written or waited for below a folder, and lets the n-th fail.

    Attributes:
        seen: how many there were.
    """

    def __init__(self, folder: Path, kind: str, number: int, code: int) -> None:
        self._folder, self._kind, self._number, self._code = str(folder), kind, number, code
        self.seen = 0

    def meet(self, kind: str, place: str | None) -> None:
        if kind != self._kind or (place is not None and not place.startswith(self._folder)):
            return
        self.seen += 1
        if self.seen == self._number:
            raise OSError(self._code, os.strerror(self._code), place)


_faults: Faults | None = None


def _hear(event: str, given: tuple[Any, ...]) -> None:
    if _faults is not None and event == "open" and isinstance(given[2], int) and given[2] & _WRITING:
        _faults.meet("open", os.fsdecode(given[0]) if isinstance(given[0], str | bytes | os.PathLike) else "")


sys.addaudithook(_hear)


@contextmanager
def failing(folder: Path, kind: str, number: int, code: int) -> Iterator[Faults]:
    """Let the n-th call of a kind below a folder fail; 0 for none."""
    global _faults
    fsync, write_bytes = os.fsync, Path.write_bytes

    def wait(descriptor: int) -> None:
        faults.meet("fsync", None)
        fsync(descriptor)

    def write(path: Path, data: Any) -> int:
        try:
            faults.meet("write", str(path))
        except OSError:
            write_bytes(path, bytes(data)[: len(data) // 2])
            raise
        return write_bytes(path, data)

    faults = _faults = Faults(folder, kind, number, code)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", wait)
        patch.setattr(Path, "write_bytes", write)
        try:
            yield faults
        finally:
            _faults = None


def run(*words: str | Path) -> int:
    """Run the command line in this process, and return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["marey", *map(str, words)])
        try:
            app.main()
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


def check_whole(folder: Path) -> None:
    """Read every file that has its final name."""
    for path in folder.rglob("*"):
        if path.name.startswith(".") or ".part" in str(path) or not path.is_file():
            continue
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.name == "model.safetensors":
            load_model(path.parent)
        elif path.suffix == ".safetensors":
            read_entry(path, mapped=False, expected=None)
        elif path.suffix == ".html":
            assert "</html>" in path.read_text(encoding="utf-8")
        elif path.suffix == ".csv":
            assert path.read_text(encoding="utf-8").endswith("\n")


def go_through(
    place: Path, call: Callable[[Path], int], kind: str, *, fine: Callable[[Path], None], least: int, step: int = 1
) -> None:
    """Let each write of a call, or each of every `step`, fail in turn, and repeat the call on what that left."""
    with failing(place, kind, 0, 0) as counted:
        assert call(place / "whole") == 0
    assert counted.seen >= least
    for number in range(1 + KINDS.index(kind) % step, counted.seen + 1, step):
        out = place / str(number)
        with failing(place, kind, number, CODES[number % len(CODES)]) as faults:
            code = call(out)
        assert faults.seen >= number
        assert code in (0, 2, 3), (kind, number)
        check_whole(place)
        assert call(out) == 0, (kind, number)
        fine(out)
        shutil.rmtree(out, ignore_errors=True)


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """Features of 16 clips of two classes."""
    source, rng = tmp_path / "theirs", np.random.default_rng(0)
    source.mkdir()
    lines = ["path,label"]
    for number in range(16):
        label = ("wave", "clap")[number % 2]
        np.save(source / f"{number:02d}.npy", (rng.normal(size=(4, 6)) + 3 * (number % 2)).astype(np.float32))
        lines.append(f"{number:02d}.npy,{label}")
    (source / "meta.csv").write_text("\n".join(lines) + "\n")
    commands.exchange.import_data(source, out=tmp_path / "ours")
    return tmp_path / "ours"


@pytest.fixture
def quiet(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """No traceback is written."""
    yield
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.long
@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("kind", KINDS)
def test_a_training_goes_on_whichever_write_fails(features: Path, tmp_path: Path, kind: str) -> None:
    place = tmp_path / "runs"
    place.mkdir()

    def call(out: Path) -> int:
        return run("train", features, "--out", out, *(f"--set={each}" for each in LINEAR))

    def fine(out: Path) -> None:
        for name in ("metrics.json", "predictions.csv"):
            assert (out / name).read_bytes() == (place / "whole" / name).read_bytes()

    go_through(place, call, kind, fine=fine, least=8, step=4)  # a training takes a second


@pytest.mark.long
@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("kind", KINDS)
def test_an_extraction_goes_on_whichever_write_fails(
    small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    clips, place = tmp_path / "clips", tmp_path / "caches"
    place.mkdir()
    for path in sorted(small_set.rglob("*person01*")):
        (clips / path.parent.name).mkdir(parents=True)
        shutil.copy(path, clips / path.parent.name)

    def call(cache: Path) -> int:
        monkeypatch.setenv("MAREY_CACHE", str(cache))
        changes = ("sampling.count=3", "encoder.size=64", "views.mirrored=none")
        return run("extract", clips, "--engine=pytorch", *(f"--set={each}" for each in changes))

    def fine(cache: Path) -> None:
        entries = {path.name: path.read_bytes() for path in (cache / "features").rglob("*.safetensors")}
        assert entries == {path.name: path.read_bytes() for path in (place / "whole").rglob("*.safetensors")}

    go_through(place, call, kind, fine=fine, least=0 if kind == "fsync" else 2)


@pytest.mark.long
@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("kind", KINDS)
def test_a_prediction_is_given_whichever_write_fails(
    small_run: Path, small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    place = tmp_path / "outs"
    place.mkdir()
    clip = min(small_set.rglob("*person01*"))

    def call(out: Path) -> int:
        monkeypatch.setenv("MAREY_CACHE", str(out / "cache"))
        out.mkdir(exist_ok=True)
        return run("predict", small_run, clip, "--engine=pytorch", "--csv", out / "labels.csv")

    def fine(out: Path) -> None:
        assert (out / "labels.csv").read_bytes() == (place / "whole" / "labels.csv").read_bytes()

    go_through(place, call, kind, fine=fine, least=1)


@pytest.mark.long
def test_of_a_thousand_flipped_bits_none_is_used_silently(small_run: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    model, entry = Path(shutil.copytree(small_run / "model", tmp_path / "model")), tmp_path / "entry.safetensors"
    values = torch.from_numpy(rng.normal(size=(16, 24)).astype(np.float32))
    entry.write_bytes(pack_entry(values))
    state = {"of": 1, "values": values}
    write_checkpoint(state, tmp_path / CHECKPOINT)
    features = {name: torch.ones(3, load_model(model).config.contract.dim) for name in _streams(model)}
    expected = load_model(model).probabilities(features)

    def cached() -> bool:
        return torch.equal(read_entry(entry, mapped=False, expected=None), values)

    def trained() -> bool:
        found = read_checkpoint(tmp_path / CHECKPOINT, of=1)
        return found is None or torch.equal(found["values"], values)

    def predicted() -> bool:
        return torch.equal(load_model(model).probabilities(features), expected)

    readers: dict[Path, Callable[[], bool]] = {
        entry: cached,
        tmp_path / CHECKPOINT: trained,
        model / "config.json": predicted,
        model / "model.safetensors": predicted,
    }
    used = 0
    for path, reads_the_same in readers.items():
        whole = path.read_bytes()
        for bit in rng.integers(8 * len(whole), size=250).tolist():
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            with suppress(MareyError, DamagedEntryError):
                used += not reads_the_same()
        path.write_bytes(whole)
        assert reads_the_same()
    assert used == 0


def _streams(model: Path) -> list[str]:
    return list(load_model(model).config.contract.streams)
