from __future__ import annotations

import collections
import datetime
import os
import pickle
import random
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marey.data import read_arrays
from marey.data.importers import unpickle
from marey.data.importers.pickles import read_pickle
from marey.errors import DatasetError

RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 256, (4, 3, 5, 6, 3), dtype=np.uint8)
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

ENCODED = b"c_codecs\nencode\nh\x01X\x06\x00\x00\x00latin1\x86R"


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


def protocols(numbers: Iterable[int]) -> list[Any]:
    """Return protocols of pickles as parameters: Python's default, and the others for the long tests."""
    return [each if each == 4 else pytest.param(each, marks=pytest.mark.long) for each in numbers]


@pytest.mark.parametrize("protocol", protocols(range(6)))
def test_arrays_and_plain_containers_of_every_protocol_come_back(tmp_path: Path, protocol: int) -> None:
    assert same(read(tmp_path, pickle.dumps(HELD, protocol)), HELD)


@pytest.mark.parametrize("protocol", protocols(range(6)))
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


@pytest.mark.parametrize("protocol", protocols(range(6)))
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
@pytest.mark.parametrize("protocol", protocols([0, 2, 4, 5]))
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
@pytest.mark.parametrize("protocol", protocols([0, 2, 4, 5]))
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
    with pytest.raises(DatasetError, match=r"asks for|no pickle, or a damaged one"):
        read(tmp_path, data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "cut off|damaged"),
        (
            b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"x.",
            "needs more memory|declares 1,152,921,504,606,846,976 bytes where 2 are left",
        ),
        (b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"x.", "needs more memory|declares .* bytes where 2 are left"),
        (b"\x80\x04B" + struct.pack("<I", 2**32 - 1) + b"x.", "needs more memory|declares 4,294,967,295 bytes"),
        (b"\x80\x02X" + struct.pack("<I", 2**31) + b"x.", "needs more memory|declares"),
        (b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"x.", "needs more memory|declares"),
        (b"I" + b"9" * 100_000 + b"\n.", "damaged"),
        (b"K\x01" + b"0" * 3 + b".", "damaged"),
        (b"]K\x01K\x02s.", "damaged"),
        (b"g7\n.", "damaged"),
        (b"cnumpy\nndarray\n.", "without its numbers"),
        (b"cnumpy\nndarray\nN\x85R.", "in a way that NumPy's own pickles do not"),
        (b"K\x01)R.", "damaged"),
        (b"}}b.", "damaged"),
        (b"not a pickle", "no pickle"),
    ],
)
def test_sizes_and_instructions_that_cannot_be_are_refused(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        read(tmp_path, data)


@pytest.mark.parametrize(
    "data",
    [
        b"K\x07r" + struct.pack("<I", 2**31 - 1) + b".",  # a place in the memo
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n" * 100_000 + b"t.",
        b"\x80\x02X" + struct.pack("<I", 1_000_000) + b"a" * 1_000_000 + b"q\x01" + ENCODED * 5_000 + b"t.",
    ],
    ids=["memo", "stack", "texts"],
)
def test_a_pickle_that_unfolds_in_memory_ends_in_a_sentence(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DatasetError, match=r"needs more memory|damaged"):
        read(tmp_path, data)


@pytest.mark.parametrize("size", [2**33, 2**45])
def test_a_pickle_that_calls_for_much_memory_through_numpy_is_refused(tmp_path: Path, size: int) -> None:
    data = b"cnumpy\nndarray\n((L" + str(size).encode() + b"L\ntt(cnumpy\nndarray\n(I1\nttR."
    with pytest.raises(DatasetError, match=r"in a way that NumPy's own pickles do not|damaged"):
        read(tmp_path, data)


def test_a_shape_that_takes_more_than_the_bytes_that_are_there_is_refused(tmp_path: Path) -> None:
    for protocol in (2, 5):
        data = pickle.dumps(np.zeros(1000, np.uint8), protocol)
        wrong = data.replace(b"M\xe8\x03", b"M\xe9\x03")  # 1000, 1001
        assert wrong != data
        with pytest.raises(
            DatasetError, match="declares 1001 elements of uint8, which take 1,001 bytes, and 1,000 are"
        ):
            read(tmp_path, wrong)


@pytest.mark.parametrize("ending", [b"K\x01s.", b"X\x01\x00\x00\x00a\x93."], ids=["key", "name"])
def test_a_deeply_nested_tuple_ends_in_a_sentence(tmp_path: Path, ending: bytes) -> None:
    with pytest.raises(DatasetError, match=r"damaged|a key of a dictionary"):
        read(tmp_path, b"\x80\x04})" + b"\x85" * 300_000 + ending)


def test_a_value_that_holds_itself_or_is_nested_deeply_is_refused(tmp_path: Path) -> None:
    loop: list[Any] = []
    loop.append(loop)
    for data in (pickle.dumps(loop), b"]" * 100 + b"a" * 99 + b"."):
        with pytest.raises(DatasetError, match="nested too deeply"):
            read(tmp_path, data)


def test_a_value_that_is_held_many_times_is_one_value(tmp_path: Path) -> None:
    value: Any = ["a"]
    for _ in range(12):
        value = [value] * 10
    found = read(tmp_path, pickle.dumps(value))
    while isinstance(found, list):
        assert all(item is found[0] for item in found)
        found = found[0]
    assert found == "a"


def test_a_file_of_more_values_than_allowed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpickle, "_MAX_VALUES", 1000)
    with pytest.raises(unpickle.Refused, match="more than 1,000 values"):
        unpickle.save([list(range(2000))], tmp_path)


def outcomes(tmp_path: Path, variants: list[bytes]) -> list[str]:
    """Read many files in one process with the limits of a reader, and return "value" or the type of the error."""
    for number, variant in enumerate(variants):
        (tmp_path / f"{number}.pkl").write_bytes(variant)
    code = f"""
import sys; sys.path.insert(0, {str(Path(unpickle.__file__).parent)!r})
import unpickle
from pathlib import Path
folder = Path({str(tmp_path)!r})
unpickle.limit(0)
for number in range({len(variants)}):
    try:
        unpickle.save(unpickle.load(folder / f"{{number}}.pkl"), folder)
        print("value")
    except Exception as error:
        print(type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("protocol", protocols(range(6)))
def test_a_pickle_that_is_cut_off_anywhere_ends_in_an_error(tmp_path: Path, protocol: int) -> None:
    data = pickle.dumps((FRAMES[0, 0, 0], np.array(["a"]), {"b": np.float32(1)}), protocol)
    found = outcomes(tmp_path, [data[:length] for length in range(len(data))])
    assert len(found) == len(data)
    assert "value" not in found


@pytest.mark.parametrize("protocol", protocols([0, 2, 4, 5]))
def test_damage_anywhere_ends_in_an_error_or_in_data(tmp_path: Path, protocol: int) -> None:
    data = pickle.dumps(HELD, protocol)
    rng = random.Random(protocol)  # noqa: S311
    variants = []
    for _ in range(400):
        damaged = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(data))] = rng.randrange(256)
        variants.append(bytes(damaged))
    found = outcomes(tmp_path, variants)
    assert len(found) == 400
    assert {"value", "UnpicklingError"} <= set(found)


def test_reading_leaves_no_files_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    found = read(tmp_path, pickle.dumps({"frames": FRAMES}))
    assert (found["frames"] == FRAMES).all()
    assert not list((tmp_path / "temporary").iterdir())


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="No such file"):
        read_pickle(tmp_path / "none.pkl")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"y": ["a\ud800"]}, "half a character"),
        ({"y\udc00": [1]}, "half a character"),
        ({10**6000: FRAMES}, "a key of a dictionary has 19,932 bits"),
        ({"k" * 1_000_000: FRAMES}, "a key of a dictionary has 1,000,000 characters"),
        ([10**6000], "a number of 19,932 bits"),
    ],
)
def test_text_and_numbers_that_break_what_follows_are_refused(tmp_path: Path, value: Any, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        read(tmp_path, pickle.dumps(value))


@pytest.mark.parametrize("point", [0xD800, 0x110000, 0x7FFFFFFF])
def test_an_array_of_text_with_no_characters_is_refused(tmp_path: Path, point: int) -> None:
    array = np.array(["a", "q", "b"])
    for dtype in ("<U1", ">U1"):
        data = pickle.dumps(array.astype(dtype), 4)
        order = f"{dtype[0]}I"
        assert struct.pack(order, ord("q")) in data
        with pytest.raises(DatasetError, match="numbers that are no characters"):
            read(tmp_path, data.replace(struct.pack(order, ord("q")), struct.pack(order, point)))


def test_labels_of_one_long_text_take_no_more_memory_than_it_says(tmp_path: Path) -> None:
    clips = [np.zeros((1, 2, 2), np.uint8)] * 600_000
    (tmp_path / "long.pkl").write_bytes(pickle.dumps({"X": clips, "y": ["x" * 3000] * 600_000}))
    with pytest.raises(DatasetError, match=r"labels of clips would take 7,200,000,000 bytes, and [\d,]+ are allowed"):
        read_arrays(tmp_path / "long.pkl")


@pytest.mark.parametrize("point", [0xDC00, 0x110000])
def test_labels_of_an_npz_file_that_are_no_text_are_named(tmp_path: Path, point: int) -> None:
    labels = np.frombuffer(struct.pack("<2I", ord("a"), point), "<U1")
    np.savez(tmp_path / "a.npz", X=np.zeros((2, 1, 2, 2, 3), np.uint8), y=labels)
    with pytest.raises(DatasetError, match="the labels of clips hold numbers that are no characters"):
        read_arrays(tmp_path / "a.npz")
