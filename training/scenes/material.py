"""The clips that scenes are made of: words, negatives, other speech, noise, and where their phones are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from training.alignment.phone_targets import Track
from training.corpora.corpus import Clip, Corpus, by_folder
from training.dsp.decode import Int16Array
from training.scenes.draw import Draw


@dataclass(frozen=True)
class SceneMaterial:
    """Clips of one split and where their samples lie."""

    positives: Corpus
    spoken: Corpus  # synthetic negatives
    speech: Corpus  # real negatives
    noise: Corpus
    split: str = "train"
    tracks: Mapping[str, Track] = field(default_factory=dict)  # phones by path, where they are known
    clips: dict[str, list[Clip]] = field(default_factory=dict)
    # the same by folder, of those kinds whose folders all have the same share
    by_folder: dict[str, dict[str, list[Clip]]] = field(default_factory=dict)
    by_speaker: dict[str, list[Clip]] = field(default_factory=dict)  # the real speech
    # real speech, and the sample in it by which a network thought that it heard the word
    near: list[tuple[Clip, int]] = field(default_factory=list)
    tones: list[Int16Array] = field(default_factory=list)  # see `room_tone.room_tones`

    def __post_init__(self) -> None:
        for name in ("positives", "spoken", "speech", "noise"):
            self.clips[name] = getattr(self, name).split(self.split)
        for name in ("positives", "spoken"):
            self.by_folder[name] = by_folder(self.clips[name])
        for clip in self.clips["speech"]:
            self.by_speaker.setdefault(clip.group, []).append(clip)

    def pick(self, kind: str, draw: Draw) -> tuple[Int16Array, Clip]:
        """A clip of this kind. Where folders share alike, a few real voices count as much as thousands of others."""
        clips = self.clips[kind]
        if folders := list(self.by_folder.get(kind, {}).values()):
            clips = draw.one_of(folders)
        clip = draw.one_of(clips)
        corpus: Corpus = getattr(self, kind)
        return corpus[clip], clip
