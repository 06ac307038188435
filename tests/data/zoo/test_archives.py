from __future__ import annotations

import os
import resource
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marey.data.zoo.archives import unpack
from marey.errors import DatasetError

pytest_plugins = ("small_archives",)

Make = Callable[[Any], bytes]

TOOLS = ("unrar", "unar", "7zz", "7z", "bsdtar")
needs_tool = pytest.mark.skipif(
    not any(shutil.which(tool) for tool in ("unrar", "unar", "bsdtar")), reason="no tool that unpacks RAR is installed"
)
FILES = {"clips/run/a.avi": os.urandom(200_000), "clips/run/Zürich (2007)!.avi": b"second", "list.txt": b"a\nb\n"}


def unpacked(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def silent(*_: object) -> None:
    """No progress is looked at."""


@pytest.fixture
def archive(tmp_path: Path, make_zip: Make, make_rar: Make) -> Callable[..., Path]:
    """Writes an archive of the given suffix into tmp_path."""

    def write(suffix: str, files: Any) -> Path:
        path = tmp_path / f"data{suffix}"
        path.write_bytes((make_zip if suffix == ".zip" else make_rar)(files))
        return path

    return write


@pytest.mark.parametrize("suffix", [".zip", pytest.param(".rar", marks=needs_tool)])
def test_an_archive_is_unpacked_whole_and_left_as_it_is(
    archive: Callable[..., Path], tmp_path: Path, suffix: str
) -> None:
    path = archive(suffix, FILES)
    before = path.read_bytes()
    steps: list[tuple[str, int, int]] = []
    unpack(path, tmp_path / "out", on_progress=lambda *step: steps.append(step))
    assert unpacked(tmp_path / "out") == FILES
    assert path.read_bytes() == before
    total = sum(map(len, FILES.values()))
    assert steps[-1] == (f"unpacking data{suffix}", total, total)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [path.name, "out"]


@needs_tool
def test_rar_archives_in_an_archive_are_unpacked_as_well(
    archive: Callable[..., Path], make_rar: Make, tmp_path: Path
) -> None:
    outer = {f"{label}.rar": make_rar({f"{label}/{label}_1.avi": label.encode()}) for label in ("run", "walk")}
    unpack(archive(".rar", outer), tmp_path / "out", on_progress=silent)
    assert unpacked(tmp_path / "out") == {"run/run/run_1.avi": b"run", "walk/walk/walk_1.avi": b"walk"}


@needs_tool
def test_a_hostile_archive_in_an_archive_takes_the_outer_one_with_it(
    archive: Callable[..., Path], make_rar: Make, tmp_path: Path
) -> None:
    path = archive(".rar", {"good.txt": b"x", "inner.rar": make_rar({"../out.avi": b"x"})})
    with pytest.raises(DatasetError, match=r"inner.rar holds the name '../out.avi'"):
        unpack(path, tmp_path / "out", on_progress=silent)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["data.rar"]


@pytest.mark.parametrize("suffix", [".zip", ".rar"])
@pytest.mark.parametrize(
    "name",
    ["../evil.avi", "/evil.avi", "clips/../../evil.avi", "C:/evil.avi", "..\\evil.avi", "a//b.avi", "./a.avi", "a\nb"],
)
def test_a_name_that_leads_out_of_the_folder_is_refused_before_anything_is_written(
    archive: Callable[..., Path], tmp_path: Path, suffix: str, name: str
) -> None:
    path = archive(suffix, {"good.avi": b"good", name: b"evil"})
    with pytest.raises(DatasetError, match="leads out of its folder or cannot be a file's name"):
        unpack(path, tmp_path / "deep" / "out", on_progress=silent)
    assert not list(tmp_path.rglob("*.avi"))
    assert not (tmp_path / "deep" / "out").exists()


def test_links_are_refused(archive: Callable[..., Path], make_rar: Make, tmp_path: Path) -> None:
    zipped = tmp_path / "link.zip"
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(zipped, "w") as opened:
        opened.writestr(link, "/etc")
        opened.writestr("link/passwd", "x")
    rarred = archive(".rar", {"link": {"content": b"", "link": "/etc", "stored": True}})
    for path in (zipped, rarred):
        with pytest.raises(DatasetError, match="holds 'link', a link"):
            unpack(path, tmp_path / "out", on_progress=silent)
        assert not (tmp_path / "out").exists()


def test_a_locked_file_a_file_twice_and_a_file_below_a_file_are_refused(tmp_path: Path, make_zip: Make) -> None:
    locked = tmp_path / "locked.zip"
    content = bytearray(make_zip({"a.avi": b"x"}))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    locked.write_bytes(content)
    twice, below = tmp_path / "twice.zip", tmp_path / "below.zip"
    with zipfile.ZipFile(twice, "w") as opened:
        opened.writestr("a.avi", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            opened.writestr("a.avi", b"2")
    below.write_bytes(make_zip({"a.avi": b"1", "a.avi/b.avi": b"2"}))
    for path, said in ((locked, "a locked file"), (twice, "'a.avi' twice"), (below, "below a file")):
        with pytest.raises(DatasetError, match=said):
            unpack(path, tmp_path / "out", on_progress=silent)
        assert not (tmp_path / "out").exists()


def test_a_bomb_is_refused_by_what_it_announces(archive: Callable[..., Path], make_rar: Make, tmp_path: Path) -> None:
    zipped = archive(".zip", {"zeros.avi": bytes(80_000_000)})
    rarred = archive(".rar", {"zeros.avi": {"content": b"0", "announced": 10**15}})
    for path, amount in ((zipped, "80.0 MB"), (rarred, "1000.0 TB")):
        with pytest.raises(DatasetError, match=f"says that it unpacks to {amount}: that is no archive of videos"):
            unpack(path, tmp_path / "out", on_progress=silent)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suffix", [".zip", pytest.param(".rar", marks=needs_tool)])
def test_an_archive_that_holds_more_than_it_says_is_refused(
    archive: Callable[..., Path], tmp_path: Path, suffix: str
) -> None:
    if suffix == ".zip":
        path = archive(".zip", {"a.avi": bytes(5_000_000)})
        content = bytearray(path.read_bytes())
        at = content.index(b"PK\x01\x02") + 24
        content[at : at + 4] = (1_000).to_bytes(4, "little")
        path.write_bytes(content)
    else:
        path = archive(".rar", {"a.avi": {"content": os.urandom(500_000), "announced": 1_000}})
    with pytest.raises(DatasetError, match="damaged"):
        unpack(path, tmp_path / "out", on_progress=silent)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [path.name]


@pytest.mark.parametrize("suffix", [".zip", pytest.param(".rar", marks=needs_tool)])
@pytest.mark.parametrize("damage", ["cut", "turned", "empty", "text"])
def test_a_damaged_archive_is_named_and_leaves_nothing(
    archive: Callable[..., Path], tmp_path: Path, suffix: str, damage: str
) -> None:
    path = archive(suffix, FILES)
    content = bytearray(path.read_bytes())
    content[100_000] ^= 255
    damaged = {"cut": content[:90_000], "turned": content, "empty": b"", "text": b"<html>moved</html>"}
    path.write_bytes(bytes(damaged[damage]))
    with pytest.raises(DatasetError, match=rf"data\{suffix} (is|cannot be unpacked).*damaged"):
        unpack(path, tmp_path / "out", on_progress=silent)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [path.name]


def test_an_empty_archive_is_refused(archive: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is an empty archive"):
        unpack(archive(".zip", {}), tmp_path / "out", on_progress=silent)


def test_a_full_disk_leaves_no_half_file(archive: Callable[..., Path], tmp_path: Path) -> None:
    path = archive(".zip", {"a.avi": bytes(10), "b.avi": os.urandom(3_000_000)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(
            DatasetError, match=r"data.zip cannot be unpacked into .*: File too large; if the disk is full"
        ):
            unpack(path, tmp_path / "out", on_progress=silent)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["data.zip"]


def test_without_a_tool_for_rar_the_tools_are_named(
    archive: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DatasetError, match=r"none of unrar, unar, 7zz, 7z, bsdtar is installed.*apt install unar"):
        unpack(archive(".rar", FILES), tmp_path / "out", on_progress=silent)


@pytest.mark.parametrize("tool", TOOLS)
def test_each_tool_unpacks_or_is_named_as_one_that_could_not(
    archive: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tool: str
) -> None:
    found = shutil.which(tool)
    if found is None:
        other = shutil.which({"7z": "7zz", "7zz": "7z"}.get(tool, ""))
        pytest.skip(f"{other} is the same program under another name" if other else f"{tool} is not installed")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / tool).symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    path = archive(".rar", FILES)
    try:
        unpack(path, tmp_path / "out", on_progress=silent)
    except DatasetError as error:
        assert f"({tool}: " in str(error)  # noqa: PT017 - some builds cannot read RAR
        assert tool in ("7zz", "7z")
    else:
        assert unpacked(tmp_path / "out") == FILES


@needs_tool
def test_a_tool_that_cannot_is_followed_by_one_that_can(
    archive: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    useless = tmp_path / "bin" / "unrar"
    useless.write_text('#!/bin/sh\necho "half" > "$6/half.avi"\necho "no codec" >&2\nexit 1\n')
    useless.chmod(0o755)
    working = next(found for tool in ("unar", "bsdtar") if (found := shutil.which(tool)))
    (tmp_path / "bin" / Path(working).name).symlink_to(working)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    unpack(archive(".rar", FILES), tmp_path / "out", on_progress=silent)
    assert unpacked(tmp_path / "out") == FILES


def test_a_tool_that_writes_without_end_is_stopped(
    archive: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    endless = tmp_path / "bin" / "unrar"
    endless.write_text('#!/bin/sh\nhead -c 1000000 /dev/zero > "$6/bomb.avi"\nexec sleep 60\n')
    endless.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    with pytest.raises(DatasetError, match=r"unpacks to more than the 200.0 kB that it announces"):
        unpack(archive(".rar", FILES), tmp_path / "out", on_progress=silent)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("true", "0 files of 0 bytes came out, and 3 of 200010 were announced"),
        ('ln -s /etc "$6/link"', "something else than a file came out"),
    ],
)
def test_what_a_tool_leaves_is_held_against_what_was_announced(
    archive: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, does: str, said: str
) -> None:
    (tmp_path / "bin").mkdir()
    lying = tmp_path / "bin" / "unrar"
    lying.write_text(f"#!/bin/sh\n{does}\n")
    lying.chmod(0o755)
    (tmp_path / "bin" / "ln").symlink_to(shutil.which("ln") or "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(DatasetError, match=rf"cannot be unpacked \(unrar: {said}\)"):
        unpack(archive(".rar", FILES), tmp_path / "out", on_progress=silent)
    assert not (tmp_path / "out").exists()
    assert Path("/etc").is_dir()
