from __future__ import annotations

import collections
import contextlib
import datetime
import os
import pickle
import random
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marey.data.unpickling import read_pickle
from marey.errors import DatasetError

CHANCE = np.random.default_rng(0)
FRAMES = CHANCE.integers(0, 256, (4, 3, 5, 6, 3), dtype=np.uint8)
HELD = (
    FRAMES,
    np.asfortranarray(FRAMES[0]),
    FRAMES[:, ::2],
    FRAMES.astype(">f4"),
    np.arange(3.0)[:, None],
    np.array(["walking", "große Schritte"]),
    np.array([b"x", b"yz"]),
    np.array([True, False]),
    np.zeros((0, 3)),
    np.array(5),
    np.float32(3.5),
    np.int64(-4),
    {"train": [1, -2.5, True, False, None, "text", b"bytes", 2**70], 3: {}, b"k": ()},
)


def read(tmp_path: Path, data: bytes) -> Any:
    path = tmp_path / "arrays.pkl"
    path.write_bytes(data)
    return read_pickle(path)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return bool(a.dtype == b.dtype and a.shape == b.shape and (a == b).all())
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return bool(type(a) is type(b) and a == b)


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_and_plain_containers_of_every_protocol_come_back(tmp_path: Path, protocol: int) -> None:
    assert same(read(tmp_path, pickle.dumps(HELD, protocol)), HELD)


@pytest.mark.parametrize("protocol", range(6))
def test_an_array_that_is_held_twice_is_one_array(tmp_path: Path, protocol: int) -> None:
    found = read(tmp_path, pickle.dumps([FRAMES, FRAMES, {"again": FRAMES}], protocol))
    assert found[0] is found[1] is found[2]["again"]


@pytest.mark.parametrize("module", [b"numpy.core", b"numpy._core"])
def test_the_names_of_numpy_1_and_2_are_known(tmp_path: Path, module: bytes) -> None:
    for protocol in (0, 2, 3):
        data = pickle.dumps((FRAMES, np.float32(2)), protocol)
        data = data.replace(b"numpy._core", b"numpy.core").replace(b"numpy.core", module)
        assert module + b".multiarray" in data
        assert same(read(tmp_path, data), (FRAMES, np.float32(2)))


def test_a_pickle_of_python_2_is_read(tmp_path: Path) -> None:
    data = (
        b"cnumpy.core.multiarray\n_reconstruct\np0\n(cnumpy\nndarray\np1\n(I0\ntp2\nS'b'\np3\ntp4\nRp5\n"
        b"(I1\n(L3L\ntp6\ncnumpy\ndtype\np7\n(S'u1'\np8\nI0\nI1\ntp9\nRp10\n"
        b"(I3\nS'|'\np11\nNNNI-1\nI-1\nI0\ntp12\nbI00\nS'\\x01\\n\\xff'\np13\ntp14\nb."
    )
    assert read(tmp_path, data).tolist() == [1, 10, 255]


def test_several_pickles_in_one_file_are_a_tuple(tmp_path: Path) -> None:
    assert same(read(tmp_path, b"".join(pickle.dumps(item) for item in HELD)), HELD)


class Runs:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call = (call, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_calls_the_system_is_refused_by_name_and_not_run(tmp_path: Path, protocol: int) -> None:
    bait = tmp_path / "bait"
    data = pickle.dumps([FRAMES, Runs(os.system, f"touch '{bait}'")], protocol)
    with pytest.raises(DatasetError, match=r"asks for 'posix\.system', and nothing of it was run"):
        read(tmp_path, data)
    assert not bait.exists()
    pickle.loads(data)  # noqa: S301 - the bait works
    assert bait.exists()


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (datetime.date(2020, 1, 1), r"datetime\.date"),
        (collections.OrderedDict(a=1), r"collections\.OrderedDict"),
        (Runs(eval, "1"), r"__builtin__\.eval|builtins\.eval"),
        (Runs(getattr, "", "join"), r"getattr"),
        (Runs(bytearray, 10**12), r"bytearray"),
        (np.ma.masked_array([1.0], [True]), r"numpy\.ma"),
        (np.random.default_rng, r"numpy\.random.*default_rng"),
        ({1, 2}, "EMPTY_SET|set"),
        (complex(1, 2), "complex"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_every_other_class_is_refused_by_name(tmp_path: Path, value: Any, name: str, protocol: int) -> None:
    with pytest.raises(DatasetError, match=name):
        read(tmp_path, pickle.dumps(value, protocol))


@pytest.mark.parametrize(
    "array",
    [
        np.array([{}, []], object),
        np.zeros(2, [("a", "u1"), ("b", "f4")]),
        np.array(["2020-01-01"], "datetime64[D]"),
        np.zeros(2, complex),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_arrays_of_anything_but_numbers_and_text_are_refused(tmp_path: Path, array: Any, protocol: int) -> None:
    with pytest.raises(DatasetError, match="holds an array of"):
        read(tmp_path, pickle.dumps(array, protocol))


@pytest.mark.parametrize(
    "data",
    [
        b"(i__main__\nx\n.",  # INST
        b"(c__main__\nx\no.",  # OBJ
        b"Pident\n.",  # PERSID
        b"NQ.",  # BINPERSID
        b"\x82\x01.",  # EXT1
        b"\x80\x05\x97.",  # NEXT_BUFFER
        b"\x80\x02cnumpy\nndarray\n)\x81.",  # NEWOBJ
    ],
)
def test_instructions_that_make_objects_are_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DatasetError, match=r"is not read any further: it (uses|asks)"):
        read(tmp_path, data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "cut off"),
        (
            b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"x.",
            "declares 1,152,921,504,606,846,976 bytes where 2 are left",
        ),
        (b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"x.", "declares .* bytes where 2 are left"),
        (b"\x80\x04B" + struct.pack("<I", 2**32 - 1) + b"x.", "declares 4,294,967,295 bytes"),
        (b"\x80\x02X" + struct.pack("<I", 2**31) + b"x.", "declares"),
        (b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"x.", "declares"),
        (b"I" + b"9" * 100_000 + b"\n.", "damaged"),
        (b"K\x01" + b"0" * 3 + b".", "damaged"),
        (b"]K\x01K\x02s.", "damaged"),
        (b"g7\n.", "damaged"),
        (b"cnumpy\nndarray\n.", "without its numbers"),
        (b"cnumpy\nndarray\nN\x85R.", "in a way that NumPy's own pickles do not"),
        (b"K\x01)R.", "no function of NumPy"),
        (b"}}b.", "no array"),
        (b"not a pickle", "no pickle|is no instruction|it uses"),
    ],
)
def test_sizes_and_instructions_that_cannot_be_are_refused(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        read(tmp_path, data)


def test_a_place_in_the_memo_costs_what_is_put_there(tmp_path: Path) -> None:
    tracemalloc.start()
    assert read(tmp_path, b"K\x07r" + struct.pack("<I", 2**31 - 1) + b".") == 7
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_shape_that_takes_more_than_the_bytes_that_are_there_is_refused(tmp_path: Path) -> None:
    for protocol in (2, 5):
        data = pickle.dumps(np.zeros(1000, np.uint8), protocol)
        wrong = data.replace(b"M\xe8\x03", b"M\xe9\x03")  # 1000, 1001
        assert wrong != data
        with pytest.raises(
            DatasetError, match="declares 1001 elements of uint8, which take 1,001 bytes, and 1,000 are"
        ):
            read(tmp_path, wrong)


def test_one_text_that_is_encoded_many_times_is_refused(tmp_path: Path) -> None:
    text = b"X" + struct.pack("<I", 100_000) + b"a" * 100_000 + b"q\x01"
    again = b"c_codecs\nencode\nh\x01X\x06\x00\x00\x00latin1\x86R"
    with pytest.raises(DatasetError, match="unfolds to more bytes than the file has"):
        read(tmp_path, b"\x80\x02(" + text + again * 10 + b"t.")


@pytest.mark.parametrize("ending", [b"K\x01s.", b"X\x01\x00\x00\x00a\x93."], ids=["key", "name"])
def test_a_deeply_nested_tuple_is_never_hashed(tmp_path: Path, ending: bytes) -> None:
    with pytest.raises(DatasetError, match=r"a key of a dictionary|a name is no text"):
        read(tmp_path, b"\x80\x04})" + b"\x85" * 300_000 + ending)


def test_a_flood_of_instructions_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marey.data.unpickling._MAX_STEPS", 10_000)
    assert len(read(tmp_path, b"(" + b"}" * 9_000 + b"t.")) == 9_000
    for flood in (b"(" + b"}" * 11_000 + b"t.", b"N." * 11_000):
        with pytest.raises(DatasetError, match="more than 10,000 instructions"):
            read(tmp_path, flood)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_is_cut_off_anywhere_ends_in_a_sentence(tmp_path: Path, protocol: int) -> None:
    data = pickle.dumps((FRAMES[0, 0, 0], np.array(["a"]), {"b": np.float32(1)}), protocol)
    for length in range(len(data)):
        with pytest.raises(DatasetError):
            read(tmp_path, data[:length])


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_damage_anywhere_ends_in_a_sentence_or_in_data(tmp_path: Path, protocol: int) -> None:
    data = pickle.dumps(HELD, protocol)
    chance = random.Random(protocol)  # noqa: S311
    for _ in range(400):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(data))] = chance.randrange(256)
        with contextlib.suppress(DatasetError):
            read(tmp_path, bytes(damaged))


def test_reading_takes_little_more_memory_than_the_file(tmp_path: Path) -> None:
    frames = CHANCE.integers(0, 256, 4_000_000, dtype=np.uint8)
    for protocol in range(6):
        (tmp_path / "arrays.pkl").write_bytes(pickle.dumps(frames, protocol))
        size = (tmp_path / "arrays.pkl").stat().st_size
        tracemalloc.start()
        read_pickle(tmp_path / "arrays.pkl")
        assert tracemalloc.get_traced_memory()[1] < 3.2 * size
        tracemalloc.stop()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="No such file"):
        read_pickle(tmp_path / "none.pkl")
