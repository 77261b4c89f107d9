"""Makes the voices that the tests use: tests/data/piper, one of one speaker and one of three, and tests/data/kokoro.

Piper's and Kokoro's own are large and lie where a test may not get them. These have the inputs and the output of such
a voice, and hum: of Piper each phoneme for 1200 samples times the length scale, at a pitch of its own and its
speaker's; of Kokoro each for 1200 divided by the speed, at the pitch of the voice's timbre, as loud as its manner.
So the real programs can be driven, and every option that reaches them be heard. Needs `onnx`:

    pip install onnx && python -m tests.make.voices
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.support.paths import DATA

OUTPUT = DATA / "piper"
KOKORO = DATA / "kokoro"
RATE = 22_050
KOKORO_RATE = 24_000
SYMBOLS = "_^$ abcdefghijklmnopqrstuvwxyzæɐəɛɪʌʃθðŋɹɑɔʊˈˌː.,!?"  # noqa: RUF001 - IPA


def network(speakers: int) -> Any:
    """Phonemes, scales and speaker in, a hum out: (1, 1, 1, samples)."""
    constants = {
        "index": np.array(1),
        "zero": np.array(0),
        "one": np.array(1),
        "last": np.array([-1]),
        "shape": np.array([1, 1, 1, -1]),
        "samples": np.float32(1200),
        "hertz": np.float32(120),
        "per_phoneme": np.float32(3),
        "per_speaker": np.float32(60),
        "omega": np.float32(2 * np.pi / RATE),
        "half": np.float32(0.5),
    }
    steps = [
        ("Gather", ["scales", "index"], "length_scale"),
        ("Mul", ["samples", "length_scale"], "length"),
        ("Cast", ["length"], "whole", TensorProto.INT64),
        ("Range", ["zero", "whole", "one"], "counter"),
        ("Cast", ["counter"], "time", TensorProto.FLOAT),
        ("Cast", ["input"], "phonemes", TensorProto.FLOAT),
        ("Unsqueeze", ["phonemes", "last"], "column"),
        ("Mul", ["column", "per_phoneme"], "above"),
        ("Add", ["above", "hertz"], "tune"),
        *([("Cast", ["sid"], "speaker", TensorProto.FLOAT)] if speakers > 1 else []),
        *([("Mul", ["speaker", "per_speaker"], "higher")] if speakers > 1 else []),
        ("Add", ["tune", "higher" if speakers > 1 else "hertz"], "pitch"),
        ("Mul", ["pitch", "omega"], "speed"),
        ("Mul", ["speed", "time"], "phase"),
        ("Sin", ["phase"], "hum"),
        ("Mul", ["hum", "half"], "softer"),
        ("Reshape", ["softer", "shape"], "output"),
    ]
    inputs = [
        helper.make_tensor_value_info("input", TensorProto.INT64, [1, None]),
        helper.make_tensor_value_info("input_lengths", TensorProto.INT64, [1]),
        helper.make_tensor_value_info("scales", TensorProto.FLOAT, [3]),
    ]
    if speakers > 1:
        inputs.append(helper.make_tensor_value_info("sid", TensorProto.INT64, [1]))
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, 1, None])
    return model(steps, constants, inputs, output)


def model(steps: Sequence[Any], constants: Mapping[str, Any], inputs: Sequence[Any], output: Any) -> Any:
    """The network of these steps: operation, what it reads, what it makes, and to which type it casts."""
    nodes = [helper.make_node(name, read, [made], **{"to": to[0]} if to else {}) for name, read, made, *to in steps]
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "hum", inputs, [output], stored)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.checker.check_model(made)
    return made


def description(speakers: int) -> dict[str, Any]:
    """What lies beside a voice."""
    return {
        "audio": {"sample_rate": RATE},
        "espeak": {"voice": "en-us"},
        "inference": {"noise_scale": 0.667, "length_scale": 1, "noise_w": 0.8},
        "phoneme_type": "espeak",
        "phoneme_id_map": {symbol: [number] for number, symbol in enumerate(SYMBOLS)},
        "num_symbols": len(SYMBOLS),
        "num_speakers": speakers,
        "speaker_id_map": {str(number): number for number in range(speakers)} if speakers > 1 else {},
    }


def kokoro() -> Any:
    """Tokens, a style (its first number is the pitch in Hz, its 129th the loudness) and a speed in, a hum out."""
    constants = {
        "per_token": np.float32(1200),
        "pitch_at": np.array([0]),
        "loud_at": np.array([128]),
        "zero": np.array(0),
        "one": np.array(1),
        "omega": np.float32(2 * np.pi / KOKORO_RATE),
        "flat": np.array([-1]),
    }
    steps = [
        ("Size", ["tokens"], "count"),
        ("Cast", ["count"], "counted", TensorProto.FLOAT),
        ("Mul", ["counted", "per_token"], "usual"),
        ("Div", ["usual", "speed"], "length"),
        ("Cast", ["length"], "whole", TensorProto.INT64),
        ("Squeeze", ["whole"], "end"),
        ("Range", ["zero", "end", "one"], "counter"),
        ("Cast", ["counter"], "time", TensorProto.FLOAT),
        ("Reshape", ["style", "flat"], "numbers"),
        ("Gather", ["numbers", "pitch_at"], "pitch"),
        ("Gather", ["numbers", "loud_at"], "loudness"),
        ("Mul", ["pitch", "omega"], "speed_of_phase"),
        ("Mul", ["speed_of_phase", "time"], "phase"),
        ("Sin", ["phase"], "hum"),
        ("Mul", ["hum", "loudness"], "audio"),
    ]
    inputs = [
        helper.make_tensor_value_info("tokens", TensorProto.INT64, [1, None]),
        helper.make_tensor_value_info("style", TensorProto.FLOAT, [1, 256]),
        helper.make_tensor_value_info("speed", TensorProto.FLOAT, [1]),
    ]
    output = helper.make_tensor_value_info("audio", TensorProto.FLOAT, [None])
    return model(steps, constants, inputs, output)


def styles() -> dict[str, Any]:
    """Two voices, which sound alike whatever the number of phonemes."""
    voices = {}
    for name, hertz, loudness in (("af_low", 200, 0.25), ("bm_high", 400, 0.75)):
        voices[name] = np.zeros((510, 1, 256), np.float16)
        voices[name][..., 0], voices[name][..., 128] = hertz, loudness
    return voices


def main() -> None:
    """Write them all."""
    KOKORO.mkdir(parents=True, exist_ok=True)
    onnx.save(kokoro(), KOKORO / "kokoro-hum.onnx")
    with (KOKORO / "voices-hum.bin").open("wb") as file:
        np.savez_compressed(file, **styles())
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for name, speakers in (("one", 1), ("three", 3)):
        onnx.save(network(speakers), OUTPUT / f"{name}.onnx")
        text = json.dumps(description(speakers), ensure_ascii=False) + "\n"
        (OUTPUT / f"{name}.onnx.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
