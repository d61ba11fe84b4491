"""The reader of foreign pickles: everything plain comes through unchanged, everything else is refused by name."""

import io
import os
import pickle
import struct
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.hub.unpickle import Item, load_items, load_npy, load_pickle, loads

PLAIN = {
    "none": None,
    "numbers": [True, 3, -(10**30), 2.5, 1 + 2j],
    "text": ("ä", b"\x00\xff", bytearray(b"ab"), b""),
    "sets": {frozenset({1, 2})},
    "nested": OrderedDict(a={"b": [(), [], {}]}),
}
ARRAYS = {
    "uint8": np.arange(24, dtype=np.uint8).reshape(2, 4, 3),
    "float32": np.linspace(-1, 1, 6, dtype=np.float32),
    "float16": np.ones((1, 2), np.float16),
    "big endian": np.arange(3, dtype=">i4"),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "strided": np.arange(12)[::3],
    "bool": np.array([True, False, True]),
    "complex": np.array([1 + 2j]),
    "zero-dim": np.array(7),
    "empty": np.zeros((0, 5, 2)),
    "text": np.array(["ab", "c"]),
    "bytes": np.array([b"jpeg", b"x"]),
    "objects": np.array([b"jpeg", None, "x"], dtype=object),
    "objects 2d": np.array([[1, "a"], [None, b""]], dtype=object),
}
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


class Evil:
    def __init__(self, call: object, *args: object):
        self.call, self.args = call, args

    def __reduce__(self) -> tuple:
        return self.call, self.args


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_content_is_unchanged(protocol: int) -> None:
    assert loads(pickle.dumps(PLAIN, protocol)) == PLAIN


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_are_unchanged(name: str, protocol: int) -> None:
    array = ARRAYS[name]
    read = loads(pickle.dumps({"x": [array]}, protocol))["x"][0]
    assert type(read) is np.ndarray
    assert (read.dtype, read.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_scalars_and_dtypes_are_unchanged(protocol: int) -> None:
    values = [np.float32(1.5), np.int64(-3), np.bool_(True), np.str_("ab")]
    read = loads(pickle.dumps([*values, np.dtype("<f4")], protocol))
    assert read == [*values, np.dtype("<f4")]
    assert [type(value) for value in read[:4]] == [type(value) for value in values]


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_both_numpy_generations_are_read(protocol: int) -> None:
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    data = pickle.dumps([array, np.float64(2)], protocol)
    core = b"numpy._core" if b"numpy._core" in data else b"numpy.core"
    for name in (b"numpy.core", b"numpy._core"):
        other = data.replace(core, name)
        if protocol == 4:  # lengths are written in front of names and frames
            short, grown = len(core) + 11, len(name) + 11
            other = other.replace(bytes([0x8C, short]) + name, bytes([0x8C, grown]) + name)
            other = other[:3] + struct.pack("<Q", len(other) - 11) + other[11:]
        read = loads(other)
        np.testing.assert_array_equal(read[0], array)
        assert read[1] == 2.0


def test_a_shared_part_stays_one_part() -> None:
    shared = [1]
    cyclic: list = [shared, shared]
    cyclic.append(cyclic)
    read = loads(pickle.dumps(cyclic))
    assert read[0] is read[1]
    assert read[2] is read


@pytest.mark.parametrize(
    ("evil", "name"),
    [
        (Evil(os.system, "exit 1"), r"(posix|nt)\.system"),
        (Evil(eval, "1"), r"(builtins|__builtin__)\.eval"),
        (Evil(getattr, 1, "real"), r"(builtins|__builtin__)\.getattr"),
        (Evil(np.load, "x"), r"numpy.*load"),
        (np.ma.array([1]), r"numpy\.ma.*"),
        (Path("x"), r"pathlib.*Path"),
        (np.float64, r"numpy\.float64"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_foreign_names_are_refused_by_name(evil: object, name: str, protocol: int) -> None:
    with pytest.raises(BadInput, match=f"names {name}; only numpy arrays and plain containers") as caught:
        loads(pickle.dumps(["clip", {"video": evil}], protocol))
    assert "\n" not in str(caught.value)


def hand_made(*parts: bytes) -> bytes:
    return b"\x80\x02" + b"".join(parts) + b"."


NDARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
DTYPE = b"cnumpy\ndtype\nX\x02\x00\x00\x00f8\x89\x88\x87R"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (hand_made(NDARRAY, b"(K\x01J\xff\xff\xff\x7f\x85", DTYPE, b"\x89C\x01xtb"), "that needs 17179869176"),
        (hand_made(NDARRAY, b"(K\x01J\xff\xff\xff\xff\x85", DTYPE, b"\x89C\x01xtb"), "a size is a whole number"),
        (hand_made(NDARRAY), "unfinished array"),
        (hand_made(b"cnumpy\ndtype\nX\x02\x00\x00\x00V9\x89\x88\x87R"), "dtype 'V9'"),
        (hand_made(DTYPE, b"(K\x03X\x01\x00\x00\x00<K\x01NNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x3ftb"), "compound"),
        (hand_made(b"c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R"), "no text"),
        (hand_made(b"c_codecs\nencode\n}X\x08\x00\x00\x00__code__Nsb"), "own building blocks"),
        (hand_made(b"cnumpy.core.multiarray\n_reconstruct\nc__builtin__\nset\nK\x00\x85C\x01b\x87R"), "subclass"),
        (hand_made(b"J\x00\x00\x00\x00Q"), "persistent"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"short.", "not a whole pickle"),
        (b"hello", "not a whole pickle"),
        (b"", "not a whole pickle"),
        (b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".", "RecursionError"),
    ],
)
def test_hostile_and_damaged_pickles_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        loads(data)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_every_truncation_and_many_flips_end_in_bad_input() -> None:
    data = pickle.dumps({"video": ARRAYS["uint8"], "list": [ARRAYS["objects"], np.float32(1)], "t": "ä"}, 4)
    for end in range(len(data)):
        with pytest.raises(BadInput):
            loads(data[:end])
    rng = np.random.default_rng(0)
    for _ in range(3000):
        damaged = bytearray(data)
        for position in rng.integers(0, len(data), 2):
            damaged[position] = rng.integers(256)
        with suppress(BadInput):
            loads(bytes(damaged))


def test_files_are_named_in_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    with pytest.raises(BadInput, match=r"cannot read .*a\.pkl: No such file"):
        load_pickle(path)
    path.write_bytes(b"")
    with pytest.raises(BadInput, match=r"a\.pkl is empty"):
        load_pickle(path)
    path.write_bytes(pickle.dumps(eval))
    with pytest.raises(BadInput, match=r"a\.pkl: the pickle names builtins\.eval"):
        load_pickle(path)
    with pytest.raises(BadInput, match="cannot read"):
        load_pickle(tmp_path)
    path.write_bytes(pickle.dumps({"x": np.arange(3)}))
    np.testing.assert_array_equal(load_pickle(path)["x"], [0, 1, 2])


def test_npy_of_numbers_and_of_a_pickled_dict(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    for array in (np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3)), np.zeros((0, 2))):
        np.save(path, array)
        read = load_npy(path)
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)
    np.save(path, {"params": {"w": np.ones(2, np.float32)}, "step": 3}, allow_pickle=True)  # pyright: ignore
    read = load_npy(path)
    assert read["step"] == 3
    np.testing.assert_array_equal(read["params"]["w"], [1, 1])


def test_npy_with_a_foreign_class_or_damage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, {"params": Evil(eval, "1")}, allow_pickle=True)  # pyright: ignore
    with pytest.raises(BadInput, match=r"a\.npy: the pickle names builtins\.eval"):
        load_npy(path)
    buffer = io.BytesIO()
    np.save(buffer, np.arange(100))
    path.write_bytes(buffer.getvalue()[:-1])
    with pytest.raises(BadInput, match="ends before the 800 bytes"):
        load_npy(path)
    path.write_bytes(b"\x93NUMPY\x01\x00\x10\x00{'descr': broken")
    with pytest.raises(BadInput, match="not an npy file"):
        load_npy(path)


def test_a_large_memo_index_takes_no_memory() -> None:
    assert loads(hand_made(b"Nr\xff\xff\xff\x7f")) is None


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("kind", [dict, list, tuple])
def test_items_are_what_the_whole_file_holds(tmp_path: Path, protocol: int, kind: type) -> None:
    content = {"a": ARRAYS, 3: PLAIN} if kind is dict else kind([ARRAYS, PLAIN])
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    items = load_items(path)
    assert type(items) is kind
    arrays, plain = (item.read() for item in (items.values() if kind is dict else items))
    assert plain == PLAIN
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
    path.write_bytes(pickle.dumps(np.arange(3), protocol))
    assert isinstance(load_items(path), Item)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_what_is_cut_off_is_refused(tmp_path: Path, protocol: int) -> None:
    data, path = pickle.dumps({"a": {"video": np.zeros((6, 20, 30, 3), np.uint8)}}, protocol), tmp_path / "a.pkl"
    for end in range(1, len(data), 97):
        path.write_bytes(data[:end])
        with pytest.raises(BadInput, match=r"a\.pkl: (not a whole pickle|the pickle names)") as caught:
            load_items(path)
        assert "\n" not in str(caught.value)
