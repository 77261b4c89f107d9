"""`chimed detect`: says where in recordings a word is heard, and draws it or writes it with chimes if asked."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from daemon.audio.resample import Samples
from daemon.audio.sources import STDIN, import_soundfile, open_input
from daemon.cli.detect_chimes import ChimeTrack
from daemon.cli.detect_plot import Picture
from daemon.config import settings as config
from daemon.listening import listening_plan
from daemon.responses import chime
from daemon.system.errors import AudioError, ChimedError, UsageError
from daemon.system.terminal import say, silence_libraries
from model.detector import Detection, Detector
from model.frontend import SAMPLE_RATE


def command(args: argparse.Namespace) -> int:
    """Score each recording on its own; 1 if one of them cannot be read. Raises ChimedError."""
    _check(args)
    silence_libraries()  # an MP3 decoder talks about each damaged header
    settings = listening_plan.with_overrides(config.load(args.config), args.model, args.threshold)
    models = listening_plan.load_models(settings.words)
    responses = listening_plan.responses(settings, models)
    sounds = {word: chime.synthesise() if each.chime is None else each.chime for word, each in responses.items()}
    detector = Detector(models)
    thresholds = {model.word: model.threshold for model in models}
    code = 0
    for file in args.files:
        try:
            with ExitStack() as stack:
                picture = Picture(file, thresholds) if args.plot else None
                track = stack.enter_context(_written_track(args.chime)) if args.chime else None
                heard = _detect(file, args.rate, detector, picture, track, sounds, _json if args.json else _line)
                if picture is not None:
                    picture.draw(args.plot)
            if not heard and not args.json:
                say(f"{file}: nothing heard", sys.stderr)
        except AudioError as error:
            say(f"chimed: {error}", sys.stderr)
            code = error.exit_code
    return code


def _detect(
    file: str,
    rate: int | None,
    detector: Detector,
    picture: Picture | None,
    track: ChimeTrack | None,
    sounds: dict[str, Samples],
    line: Callable[[str, Detection], str],
) -> int:
    """One recording through the detector, each detection said at once; how many there were."""
    heard = 0
    for samples, detections in _scored(file, rate, detector):
        if track is not None:
            track.push(samples)
        for detection in detections:
            heard += 1
            say(line(file, detection))
            if track is not None:
                track.chime(detection.sample, sounds[detection.word])
        if picture is not None:
            picture.push(detector, detections)
    if track is not None:
        track.finish()
    return heard


def _scored(file: str, rate: int | None, detector: Detector) -> Iterator[tuple[Samples, list[Detection]]]:
    """Each block of a recording with the detections that it completes. Raises AudioError."""
    source = open_input(file, rate)
    detector.reset()
    try:
        for block in source.blocks():
            yield block.samples, detector.push(block.samples)
    finally:
        source.close()
    yield detector.samples.last(0), detector.conclude()


@contextmanager
def _written_track(path: str) -> Iterator[ChimeTrack]:
    """A chime track that is written to this WAV. Raises ChimedError if it cannot be."""
    soundfile = import_soundfile()
    try:
        Path(path).open("wb").close()  # says why it fails, where libsndfile says "System error"
    except OSError as error:
        raise ChimedError(f"{path}: {error.strerror or error}") from error
    try:
        with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16", format="WAV") as out:
            yield ChimeTrack(out.write)
    except (soundfile.LibsndfileError, AssertionError) as error:  # soundfile asserts that all was written
        raise ChimedError(f"{path}: cannot be written ({error or 'is the disk full?'})") from error


def _line(file: str, detection: Detection) -> str:
    return f"{file}: {detection.seconds:.2f} s  {detection.word}  {detection.score:.2f}"


def _json(file: str, detection: Detection) -> str:
    seconds, score = round(detection.seconds, 3), round(detection.score, 4)
    return json.dumps({"file": file, "word": detection.word, "seconds": seconds, "score": score})


def _check(args: argparse.Namespace) -> None:
    if args.rate is not None and STDIN not in args.files:
        raise UsageError("--rate goes with raw PCM on standard input (-) alone: a file says its rate itself")
    for option, path in (("--plot", args.plot), ("--chime", args.chime)):
        if path is None:
            continue
        if len(args.files) > 1:
            raise UsageError(f"{option} takes one recording, not {len(args.files)}")
        if Path(path).exists() and args.files[0] != STDIN and Path(path).samefile(args.files[0]):
            raise UsageError(f"{option} would overwrite the recording {path}")
    if args.plot:
        Picture.require()
