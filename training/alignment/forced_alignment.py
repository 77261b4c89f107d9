"""Transcribed speech in, where each phone lies in it out: PocketSphinx, offline, cached on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import soxr

from model.extras import install
from model.frontend import SAMPLE_RATE
from training.corpora.transcripts import spell
from training.dsp.decode import Int16Array
from training.utils.atomic_write import atomic_write
from training.utils.errors import TrainingError
from training.utils.file_lock import wait_for_turn
from training.utils.process_pool import in_parallel
from training.utils.progress import bar

if TYPE_CHECKING:
    from pocketsphinx import Decoder

SPHINX_RATE = 16_000  # Hz, of its acoustic model
FRAME_SECONDS = 0.01  # of its alignments
SILENT_WORD = "SIL"
_LOCK = "filling.lock"  # in the folder of the cached files


def new_decoder(**options: Any) -> Decoder:
    """PocketSphinx with its own English model and no language model. Raises TrainingError if it is not installed."""
    try:
        from pocketsphinx import Decoder
    except ImportError as error:
        raise TrainingError(f"this needs the package pocketsphinx: {install('align')}") from error
    return Decoder(lm=None, loglevel="FATAL", **options)


def new_aligner() -> Decoder:
    """A decoder for `align`.

    Its search through a lattice for the best path loses words of a text that is given, three recordings in ten; with
    wider beams than usual it follows speakers with an accent.
    """
    return new_decoder(bestpath=False, beam=1e-80, pbeam=1e-80, wbeam=1e-60)


def cache_key(entries: Sequence[tuple[str, str]], version: int) -> str:
    """For a cached file: another one when a recording (path, text) changes, or what is stored (version)."""
    stamp = [(path, text, (stat := Path(path).stat()).st_size, stat.st_mtime_ns) for path, text in entries]
    return hashlib.sha256(repr((version, stamp)).encode()).hexdigest()[:16]


def fill_cache(tasks: Mapping[Path, Any], work: Callable[[Any], Any], jobs: int, title: str, unit: str) -> None:
    """Write each JSON file that is not there yet with what `work` makes of its task; interrupted, go on there.

    Two trainings that share a folder of such files do not do the same work: the second one waits for the first.
    """
    folders = sorted({file.parent for file in tasks if not file.exists()})
    with contextlib.ExitStack() as locks:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            wait_for_turn(locks.enter_context((folder / _LOCK).open("ab")), title)
        missing = [(file, task, work) for file, task in tasks.items() if not file.exists()]
        if missing:
            for _ in bar(in_processes(_write, missing, jobs), title, unit, len(missing)):
                pass


def _write(entry: tuple[Path, Any, Callable[[Any], Any]]) -> None:
    file, task, work = entry
    content = work(task)
    with atomic_write(file) as partial:
        partial.write_text(json.dumps(content))


def in_processes(work: Callable[[Any], Any], tasks: Iterable[Any], jobs: int) -> Iterator[Any]:
    """The results of the tasks in their order, computed by so many processes; by this one if jobs is 1."""
    listed = list(tasks)
    done: dict[int, Any] = {}
    following = 0
    for number, result in in_parallel(_numbered, (work, listed), range(len(listed)), jobs):
        done[number] = result
        while following in done:
            yield done.pop(following)
            following += 1


def _numbered(work: Callable[[Any], Any], tasks: Sequence[Any]) -> Callable[[int], Any]:
    return lambda number: work(tasks[number])


def align(decoder: Decoder, samples: Int16Array, text: str) -> list[list[list[Any]]]:
    """Where the words of a text lie in a recording.

    samples: (n,) at 44.1 kHz. Returns a list of words, each a list of phones: name, first frame, number of
    frames (of 10 ms), score. Raises TrainingError if a word is unknown or the speech does not fit the text.
    """
    words = spell(text)
    if unknown := [word for word in words if not decoder.lookup_word(word)]:
        raise TrainingError(f"unknown word {unknown[0]!r}")
    audio = soxr.resample(samples, SAMPLE_RATE, SPHINX_RATE).tobytes()
    try:
        decoder.set_align_text(" ".join(words))
        decode(decoder, audio)
        if decoder.hyp() is None:
            raise TrainingError("the speech does not fit its text")
        decoder.set_alignment()
        decode(decoder, audio)
        alignment = decoder.get_alignment()
    except RuntimeError as error:
        raise TrainingError("the speech does not fit its text") from error
    found = [[[phone.name, phone.start, phone.duration, phone.score] for phone in word] for word in alignment]
    if sum(word[0][0].isalpha() and word[0][0] != SILENT_WORD for word in found) != len(words):
        raise TrainingError("the speech does not fit its text")
    return found


def decode(decoder: Decoder, audio: bytes) -> None:
    """One whole recording, 16-bit samples at 16 kHz, through the decoder's current search."""
    decoder.start_utt()
    decoder.process_raw(audio, full_utt=True)
    decoder.end_utt()
