from __future__ import annotations

import contextlib
import io
import random
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from marey.data.importers.npz import open_npy, open_npz
from marey.errors import DatasetError

CLIPS = np.arange(5 * 2 * 3, dtype=np.int16).reshape(5, 2, 3)


def header(shape: str, *, kind: str = "'|u1'", by_columns: str = "False") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (1,)})
    text = f"{{'descr': {kind}, 'fortran_order': {by_columns}, 'shape': {shape}, }}".encode()
    return file.getvalue()[:8] + (118).to_bytes(2, "little") + text.ljust(117) + b"\n"


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("packed", [False, True])
def test_arrays_are_read_in_any_order(tmp_path: Path, order: str, packed: bool) -> None:
    array = np.asarray(CLIPS, order=order)  # type: ignore[call-overload]
    (np.savez_compressed if packed else np.savez)(tmp_path / "a.npz", clips=array, label=np.array(["a", "é"]))
    np.save(tmp_path / "a.npy", array)
    arrays = open_npz(tmp_path / "a.npz")
    assert arrays.keys() == {"clips", "label"}
    assert arrays["label"].tolist() == ["a", "é"]
    for stored in (arrays["clips"], open_npy(tmp_path / "a.npy")):
        assert (len(stored), stored.shape, stored.ndim) == (5, (5, 2, 3), 3)
        assert stored.dtype == np.int16
        for index in (0, 3, 1, 4):
            assert (stored[index] == CLIPS[index]).all()
        assert (stored == CLIPS).all()


@pytest.mark.parametrize("packed", [False, True])
def test_arrays_are_mapped_and_not_read_into_memory(tmp_path: Path, packed: bool) -> None:
    array = np.random.default_rng(0).integers(0, 9, (20, 200_000), np.uint8)
    (np.savez_compressed if packed else np.savez)(tmp_path / "a.npz", clips=array)
    tracemalloc.start()
    stored = open_npz(tmp_path / "a.npz")["clips"]
    assert tracemalloc.get_traced_memory()[1] < 3_500_000
    tracemalloc.stop()
    assert isinstance(stored, np.memmap)
    (tmp_path / "a.npz").unlink()
    assert (stored == array).all()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "damaged"),
        (b"\x93NUMPY", "damaged"),
        (b"not numpy at all", "damaged"),
        (header("(1000000000000,)") + b"x", "declares 1000000000000 elements of uint8, .*, and 1 are there"),
        (header("(3,)") + b"xy", "which take 3 bytes, and 2 are there"),
        (header("(3,)") + b"xyzz", "which take 3 bytes, and 4 are there"),
        (header("(-1, -3)") + b"xyz", "is impossible"),
        (header("(0, 10**30)"), "damaged"),
        (header("(1,)", kind="'|O'") + b"x", "holds Python objects"),
        (header("(1,)", kind="[('a', '<f4')]") + b"xxxx", "elements of the type"),
        (header("(1,)", kind="'<c8'") + b"x" * 8, "elements of the type complex64"),
        (header("__import__('os').abort()"), "damaged"),
        (header("(" * 50), "damaged"),
    ],
)
def test_a_damaged_or_hostile_file_ends_in_a_sentence(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(DatasetError, match=said):
        open_npy(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", data)
    with pytest.raises(DatasetError, match=said):
        open_npz(tmp_path / "a.npz")


def test_an_item_that_is_larger_than_memory_may_be_is_refused_though_the_file_is_there(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        file.write(header("(1, 1000000000000)"))
        file.truncate(file.tell() + 10**12)  # a hole, which takes no room
    with pytest.raises(DatasetError, match=r"one item takes 1,000,000,000,000 bytes"):
        open_npy(tmp_path / "a.npy")


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("X_train.npy", "w", force_zip64=True) as file,
    ):
        file.write(header("(30, 10000000)"))
        for _ in range(30):
            file.write(bytes(10_000_000))
    assert (tmp_path / "a.npz").stat().st_size < 1_500_000
    tracemalloc.start()
    with pytest.raises(DatasetError, match="unpacks to 300,000,128 bytes"):
        open_npz(tmp_path / "a.npz")
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_an_entry_that_gives_less_than_it_says_is_named(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", clips=CLIPS)
    data = bytearray((tmp_path / "a.npz").read_bytes())
    size = (128 + CLIPS.nbytes).to_bytes(4, "little")
    assert data.count(size)
    (tmp_path / "a.npz").write_bytes(bytes(data).replace(size, (128 + 2 * CLIPS.nbytes).to_bytes(4, "little")))
    with pytest.raises(DatasetError, match="120 are there"):
        open_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("damage", ["cut", "garbled", "empty", "other", "missing"])
def test_a_damaged_archive_ends_in_a_sentence(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, clips=CLIPS)
    data = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "garbled":
        data[45:80] = bytes(35)
        path.write_bytes(data)
    elif damage == "missing":
        path.unlink()
    else:
        with zipfile.ZipFile(path, "w") as archive:
            if damage != "empty":
                archive.writestr("a.txt", header("(1,)") + b"x")
    with pytest.raises(DatasetError, match=r"a\.npz"):
        open_npz(path)["clips"]


def test_damage_anywhere_in_a_header_ends_in_a_sentence_or_in_data(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, CLIPS)
    data = path.read_bytes()
    rng = random.Random(0)  # noqa: S311
    for _ in range(400):
        damaged = bytearray(data)
        for _ in range(rng.randint(1, 3)):
            damaged[rng.randrange(80)] = rng.choice(b"()[]{}',:0123456789LOx\x00\xff\"\\#")
        path.write_bytes(damaged)
        with contextlib.suppress(DatasetError):
            open_npy(path)
