"""Model files: what was saved is loaded, and whatever else is refused in one sentence."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from model import modelfile
from model.modelfile import Model, ModelFileError, load, save
from tests.support.examples import random_model

# the fixture is a folder; each example overwrites its one file
in_one_folder = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@cache
def good_bytes() -> bytes:
    """A small but valid model file (one bin), as `save` writes it."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **good_arrays())
    return buffer.getvalue()


def small_model() -> Model:
    return random_model("tok", scaling="log", bins=1)


def good_arrays() -> dict[str, Any]:
    return {"metadata": as_array(good_metadata()), **small_model().weights.as_dict()}


def good_metadata() -> dict[str, Any]:
    model = small_model()
    return {
        "format": 1,
        "word": model.word,
        "front_end": model.front_end.as_dict(),
        "threshold": model.threshold,
        "smoothing": model.smoothing,
        "suppression": model.suppression,
        "training": {},
        "measured": {},
    }


def as_array(metadata: object) -> np.ndarray:
    return np.frombuffer(json.dumps(metadata).encode(), np.uint8)


def write(path: Path, arrays: dict[str, Any]) -> Path:
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return path


def reason(path: Path) -> str:
    """What `load` says against the file: one line, that begins with its name."""
    with pytest.raises(ModelFileError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < len(str(path)) + 200
    return message.removeprefix(f"{path}: ")


# round trip


@pytest.mark.parametrize("scaling", ["power", "log", "relative"])
def test_what_was_saved_is_loaded(tmp_path, scaling):
    model = replace(
        random_model("hey computer", scaling=scaling),
        threshold=0.375,
        smoothing=7,
        suppression=80,
        training={"seed": 3, "data": ["espeak-ng", "flite"], "note": "größer"},
        measured={"false_accepts_per_hour": 0.5},
    )
    save(tmp_path / "m.npz", model)
    loaded = load(tmp_path / "m.npz")
    for name, array in model.weights.as_dict().items():
        np.testing.assert_array_equal(getattr(loaded.weights, name), array)
        assert getattr(loaded.weights, name).dtype == np.float32
    assert replace(loaded, weights=model.weights) == model


def test_a_text_path_will_do(tmp_path):
    save(str(tmp_path / "m.npz"), small_model())
    assert load(str(tmp_path / "m.npz")).word == "tok"


def test_saving_replaces_the_old_file_and_leaves_nothing_else(tmp_path):
    save(tmp_path / "m.npz", small_model())
    save(tmp_path / "m.npz", replace(small_model(), word="tick"))
    assert load(tmp_path / "m.npz").word == "tick"
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.npz"]


def test_a_save_that_fails_leaves_the_old_file(tmp_path):
    save(tmp_path / "m.npz", small_model())
    with pytest.raises(TypeError):
        save(tmp_path / "m.npz", replace(small_model(), training={"no JSON": {1, 2}}))
    assert load(tmp_path / "m.npz").word == "tok"
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.npz"]


def test_a_save_that_cannot_finish_leaves_no_part_behind(tmp_path):
    (tmp_path / "m.npz").mkdir()  # in the way of the last step
    with pytest.raises(OSError, match="directory"):
        save(tmp_path / "m.npz", small_model())
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.npz"]


def test_the_file_written_here_by_hand_is_a_good_one(tmp_path):
    """Each refusal below differs from this file in one thing."""
    path = write(tmp_path / "m.npz", good_arrays())
    assert load(path).threshold == small_model().threshold
    path.write_bytes(good_bytes())
    assert load(path).word == "tok"


def test_every_shipped_model_loads_and_is_named_after_its_word():
    for word, path in modelfile.shipped().items():
        assert load(path).word == word


# no model file at all


def test_a_missing_file_is_refused(tmp_path):
    assert reason(tmp_path / "none.npz") == "No such file or directory"


def test_a_directory_is_refused(tmp_path):
    assert reason(tmp_path) == "it is not a regular file"


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert reason(tmp_path / "pipe") == "it is not a regular file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_refused(tmp_path):
    path = write(tmp_path / "m.npz", good_arrays())
    path.chmod(0)
    assert reason(path) == "Permission denied"


@pytest.mark.parametrize("content", [b"", b"hello", b"PK", b"PK\x03\x04", b"\x93NUMPY", b"RIFF1234WAVEfmt "])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "m.npz").write_bytes(content)
    assert reason(tmp_path / "m.npz") == "not a model file (.npz), or cut short"


def test_a_single_array_is_refused(tmp_path):
    np.save(tmp_path / "m.npy", np.zeros(4, np.float32))
    assert reason(tmp_path / "m.npy") == "not a model file (.npz), or cut short"


def test_an_archive_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert reason(tmp_path / "m.npz") == "'readme.txt' is not an array"


def test_an_empty_archive_is_refused(tmp_path):
    zipfile.ZipFile(tmp_path / "m.npz", "w").close()
    assert reason(tmp_path / "m.npz") == "not a model file (.npz), or cut short"


# damage


@given(st.floats(0, 1, exclude_max=True))
@in_one_folder
def test_a_file_cut_short_anywhere_is_refused(tmp_path, part):
    path = tmp_path / "m.npz"
    path.write_bytes(good_bytes()[: int(part * len(good_bytes()))])
    assert reason(path) == "not a model file (.npz), or cut short"


@given(st.binary(max_size=400), st.sampled_from([b"", b"PK\x03\x04", b"PK\x05\x06", b"\x93NUMPY\x01\x00", b"\x80\x04"]))
@in_one_folder
def test_random_bytes_are_refused(tmp_path, content, magic):
    path = tmp_path / "m.npz"
    path.write_bytes(magic + content)
    reason(path)


@given(st.data())
@in_one_folder
def test_flipped_bits_are_refused_or_harmless(tmp_path, data):
    """Archives have checksums: what loads in spite of a flipped bit has the very weights of before."""
    path, content = tmp_path / "m.npz", bytearray(good_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        # the directory at the end, where the structure is, as often as the weights
        last = len(content) - 1
        place = data.draw(st.one_of(st.integers(0, last), st.integers(last - 1500, last), st.integers(0, 400)))
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        loaded = load(path)
    except ModelFileError:
        reason(path)
    else:
        expected = small_model()
        for name, array in expected.weights.as_dict().items():
            np.testing.assert_array_equal(getattr(loaded.weights, name), array)
        assert replace(loaded, weights=expected.weights) == expected


def test_a_damaged_array_is_refused(tmp_path):
    content = bytearray(good_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "m.npz").write_bytes(content)
    assert reason(tmp_path / "m.npz").startswith("damaged (")


@given(header=st.binary(max_size=200))
@in_one_folder
@example(header=b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000,), }\n")
@example(header=b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }\n")
@example(header=b"{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 4), }\n")
@example(header=b"(" * 150)
def test_arrays_with_a_nonsense_header_are_refused(tmp_path, header):
    """The checksum of such an archive is right; only numpy's own header inside is not."""
    path = tmp_path / "m.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"1234")
    reason(path)


# what could do harm


def test_a_pickle_is_refused_and_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploded",))

    path = write(tmp_path / "m.npz", good_arrays() | {"dense_bias": np.array([Bomb()], dtype=object)})
    assert reason(path) == "it holds pickled objects, which could run code, and a model needs none"
    path.write_bytes(pickle.dumps(Bomb()))
    assert reason(path) == "not a model file (.npz), or cut short"
    assert not (tmp_path / "exploded").exists()


def test_a_zip_bomb_is_refused_unopened(tmp_path):
    path = write(tmp_path / "m.npz", good_arrays() | {"conv_kernel": np.zeros((15, 10_000, 196), np.float32)})
    assert path.stat().st_size < 1_000_000
    assert reason(path) == "far too large for a model"


def test_a_large_file_is_refused_unread(tmp_path):
    path = tmp_path / "m.npz"
    with path.open("wb") as file:
        file.truncate(10**10)  # sparse
    assert reason(path) == "far too large for a model"


# weights


@pytest.mark.parametrize("name", [name for name in good_arrays() if name != "metadata"])
def test_a_missing_weight_is_refused_by_name(tmp_path, name):
    arrays = good_arrays()
    del arrays[name]
    assert reason(write(tmp_path / "m.npz", arrays)) == f"it lacks '{name}'"


@pytest.mark.parametrize(
    ("name", "array", "expected"),
    [
        ("gru1_kernel", np.zeros((195, 384), np.float32), "gru1_kernel has the shape (195, 384), not (196, 384)"),
        ("dense_kernel", np.zeros((128, 1), np.float32), "dense_kernel has the shape (128, 1), not (128,)"),
        ("conv_kernel", np.zeros((15, 196), np.float32), "conv_kernel has the shape (15, 196), not (15, 0, 196)"),
        ("conv_kernel", np.zeros((15, 2, 196), np.float32), "the network reads 2 bins, the front end gives 1"),
        ("conv_bias", np.zeros(196), "conv_bias is float64, not float32"),
        ("conv_bias", np.zeros(196, np.int32), "conv_bias is int32, not float32"),
        ("conv_bias", np.zeros(196, ">f4"), "conv_bias is >f4, not float32"),
        ("conv_bias", np.full(196, "x"), "conv_bias is <U1, not float32"),
        ("gru2_bias", np.full((2, 384), np.nan, np.float32), "gru2_bias holds values that are not finite"),
        ("gru2_bias", np.full((2, 384), np.inf, np.float32), "gru2_bias holds values that are not finite"),
    ],
)
def test_a_wrong_weight_is_refused_by_name(tmp_path, name, array, expected):
    assert reason(write(tmp_path / "m.npz", good_arrays() | {name: array})) == expected


# metadata


def test_missing_metadata_are_refused(tmp_path):
    assert reason(write(tmp_path / "m.npz", small_model().weights.as_dict())) == "it lacks 'metadata'"


@pytest.mark.parametrize("text", [b"", b"not JSON", b"\xff\xfe\xfa", b'{"format": 1', b"[" * 100_000])
def test_metadata_that_are_not_json_are_refused(tmp_path, text):
    arrays = good_arrays() | {"metadata": np.frombuffer(text, np.uint8)}
    assert reason(write(tmp_path / "m.npz", arrays)) == "its metadata are not JSON"


@pytest.mark.parametrize("value", [[], "model", 1, None])
def test_metadata_that_are_no_object_are_refused(tmp_path, value):
    arrays = good_arrays() | {"metadata": as_array(value)}
    assert reason(write(tmp_path / "m.npz", arrays)) == "its metadata are not a JSON object"


@pytest.mark.parametrize("name", list(good_metadata()))
def test_each_missing_field_is_refused_by_name(tmp_path, name):
    metadata = good_metadata()
    del metadata[name]
    assert reason(write(tmp_path / "m.npz", good_arrays() | {"metadata": as_array(metadata)})) == f"it lacks '{name}'"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"format": 2}, "format 2, but this chimed reads format 1"),
        ({"format": "1"}, "its format is '1', not a whole number"),
        ({"word": ""}, "it names no word"),
        ({"word": " "}, "it names no word"),
        ({"word": "a\nb"}, "its word holds characters that cannot be printed"),
        ({"word": "\ud800"}, "its word holds characters that cannot be printed"),
        ({"word": ["tok"]}, "its word is \"['tok']\", not a text"),
        ({"threshold": 1.5}, "a threshold lies between 0 and 1, not 1.5"),
        ({"threshold": 1}, "a threshold lies between 0 and 1, not 1"),
        ({"threshold": -0.1}, "a threshold lies between 0 and 1, not -0.1"),
        ({"threshold": float("nan")}, "a threshold lies between 0 and 1, not nan"),
        ({"threshold": "0.5"}, "its threshold is '0.5', not a number"),
        ({"threshold": None}, "its threshold is 'None', not a number"),
        ({"threshold": False}, "its threshold is 'False', not a number"),
        ({"smoothing": 0}, "smoothing takes 1 to 10000 steps, not 0"),
        ({"smoothing": 10**9}, "smoothing takes 1 to 10000 steps, not 1000000000"),
        ({"smoothing": 2.5}, "its smoothing is '2.5', not a whole number"),
        ({"suppression": -1}, "suppression takes 0 to 10000 steps, not -1"),
        ({"suppression": "75"}, "its suppression is '75', not a whole number"),
        ({"training": []}, "its training is '[]', not an object"),
        ({"measured": "well"}, "its measured is 'well', not an object"),
        ({"front_end": None}, "its front_end is 'None', not an object"),
        ({"front_end": {"scaling": "log"}}, "its front end is not one that this chimed knows"),
    ],
)
def test_wrong_metadata_are_refused(tmp_path, change, expected):
    metadata = good_metadata() | change
    assert reason(write(tmp_path / "m.npz", good_arrays() | {"metadata": as_array(metadata)})) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"sample_rate": 16_000},
            "made for 16000 Hz, window 200 and hop 80; this chimed computes 44100 Hz, 200 and 80",
        ),
        ({"window": 400}, "made for 44100 Hz, window 400 and hop 80; this chimed computes 44100 Hz, 200 and 80"),
        ({"hop": 160}, "made for 44100 Hz, window 200 and hop 160; this chimed computes 44100 Hz, 200 and 80"),
        ({"floor_db": 40}, "made for a floor at -40 dB; this chimed has it at -15 dB"),
        ({"scaling": "m " * 999}, "unknown scaling '" + "m " * 70 + "..."),
        ({"scaling": "mel"}, "unknown scaling 'mel' (known: power, log, relative)"),
        ({"scaling": ["log"]}, "its scaling is \"['log']\", not a text"),
        ({"bins": 0}, "0 bins, but a column has 1 to 101"),
        ({"bins": 37}, "the network reads 1 bins, the front end gives 37"),
        ({"bins": 1.0}, "its bins is '1.0', not a whole number"),
        ({"mel_bands": 40}, "its front end is not one that this chimed knows"),
    ],
)
def test_another_front_end_is_refused(tmp_path, change, expected):
    metadata = good_metadata()
    metadata["front_end"] |= change
    assert reason(write(tmp_path / "m.npz", good_arrays() | {"metadata": as_array(metadata)})) == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from([*good_metadata(), *good_metadata()["front_end"]]), json_values)
@in_one_folder
def test_whatever_stands_in_a_field_it_loads_or_is_refused(tmp_path, name, value):
    metadata = good_metadata()
    (metadata if name in metadata else metadata["front_end"])[name] = value
    path = write(tmp_path / "m.npz", good_arrays() | {"metadata": as_array(metadata)})
    try:
        assert load(path).word.strip()
    except ModelFileError:
        reason(path)
