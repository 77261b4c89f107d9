"""Where a data set lies: a folder here, or anything that fsspec reaches. Whole files in, whole files out.

A file appears under its name when it is complete, not before; one that could not be written leaves nothing behind.
"""

from __future__ import annotations

import errno
import hashlib
import io
import math
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from model.extras import install
from training.utils.errors import TrainingError

PARTIAL = ".part"
Bytes = bytes | memoryview


class Storage(Protocol):
    """A flat folder of files. location: its path or URL; shared: whether other processes see it."""

    location: str
    shared: bool

    def names(self) -> set[str]:
        """The complete files."""

    def read(self, name: str) -> bytes:
        """A file's content. Raises TrainingError."""

    def write(self, name: str, parts: Iterable[Bytes]) -> None:
        """Write a file, replacing an older one. Raises TrainingError, if the disk is full for example."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def remove_partial(self) -> None:
        """Remove what writers left behind that were killed; no other may be writing."""

    def local(self, name: str) -> Path:
        """The file on this machine, fetched if need be."""

    def free(self) -> float:
        """Bytes that can still be written; infinity if nobody knows."""

    def sha256(self, name: str) -> str:
        """The checksum of a file's content, in hexadecimal digits."""


def storage(location: str) -> Storage:
    """A folder, by its path or by an fsspec URL such as ``s3://bucket/folder``; made if it is not there.

    Raises TrainingError if it cannot be made, or if what the URL needs is not installed.
    """
    if "://" not in location:
        return LocalStorage(Path(location))
    if location.startswith("file://"):
        return LocalStorage(Path(location.removeprefix("file://")))
    return RemoteStorage(location)


@contextmanager
def explained(location: str) -> Iterator[None]:
    """Turns an OSError into a sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise TrainingError(
                f"{location}: the disk is full; make room, and the same command goes on from here"
            ) from error
        raise TrainingError(f"{location}: {error.strerror or error}") from error


def check_room(location: str, free: float, needed: float) -> None:
    """Raise TrainingError if so many bytes will not fit."""
    if needed > free:
        raise TrainingError(f"{location}: the disk is full: {_gigabytes(needed)} are needed, {_gigabytes(free)} free")


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{math.ceil(count / 1e6)} MB"


class LocalStorage:
    """A folder of this machine, or one that is mounted here."""

    shared = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.location = str(folder)
        with explained(self.location):
            folder.mkdir(parents=True, exist_ok=True)

    def names(self) -> set[str]:
        """The complete files."""
        return {path.name for path in self.folder.iterdir() if path.is_file() and not path.name.endswith(PARTIAL)}

    def read(self, name: str) -> bytes:
        """A file's content."""
        with explained(str(self.folder / name)):
            return (self.folder / name).read_bytes()

    def write(self, name: str, parts: Iterable[Bytes]) -> None:
        """Under another name first."""
        # two machines may be at the same file, when one of them was thought dead
        partial = self.folder / f".{name}.{uuid.uuid4().hex}{PARTIAL}"
        try:
            with explained(str(self.folder / name)):
                with partial.open("wb") as file:
                    for part in parts:
                        file.write(part)
                partial.replace(self.folder / name)
        finally:
            partial.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        (self.folder / name).unlink(missing_ok=True)

    def remove_partial(self) -> None:
        """Remove what builds left behind that were killed."""
        for path in self.folder.glob(f".*{PARTIAL}"):
            path.unlink(missing_ok=True)

    def local(self, name: str) -> Path:
        """It is here already."""
        return self.folder / name

    def free(self) -> float:
        """What the file system says."""
        return shutil.disk_usage(self.folder).free

    def sha256(self, name: str) -> str:
        """Read piece by piece."""
        with explained(str(self.folder / name)), (self.folder / name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


class RemoteStorage:
    """Whatever fsspec has a file system for; object stores show a file when it is complete, as this class promises."""

    def __init__(self, url: str) -> None:
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise TrainingError(f"{url} needs the package fsspec: {install('train')}") from error
        self.location = url.rstrip("/")
        self.shared = not url.startswith("memory:")  # which is that of one process
        try:
            self._system, self._folder = url_to_fs(self.location)
            with explained(self.location):
                self._system.makedirs(self._folder, exist_ok=True)
        except (ImportError, ValueError) as error:  # the protocol's package is missing, or there is no such protocol
            raise TrainingError(f"{url}: {error}") from error
        self._fetched: Path | None = None

    def names(self) -> set[str]:
        """The files."""
        with explained(self.location):
            # what another process wrote meanwhile would be missing in what was listed before
            self._system.invalidate_cache(self._folder)
            entries: list[dict[str, Any]] = self._system.ls(self._folder, detail=True)
        return {str(entry["name"]).rsplit("/", 1)[-1] for entry in entries if entry["type"] == "file"}

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def read(self, name: str) -> bytes:
        """A file's content."""
        with explained(f"{self.location}/{name}"):
            content: bytes = self._system.cat_file(self._path(name))
        return content

    def write(self, name: str, parts: Iterable[Bytes]) -> None:
        """In one go."""
        self._forget(name)
        with explained(f"{self.location}/{name}"), self._system.open(self._path(name), "wb") as file:
            for part in parts:
                file.write(part)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        self._forget(name)
        with suppress(FileNotFoundError):
            self._system.rm_file(self._path(name))

    def _forget(self, name: str) -> None:
        if self._fetched is not None:
            (self._fetched / name).unlink(missing_ok=True)

    def remove_partial(self) -> None:
        """There is none."""

    def local(self, name: str) -> Path:
        """Fetched once, for as long as this object lives."""
        if self._fetched is None:
            folder = tempfile.TemporaryDirectory(prefix="chimed-")
            self._keep = folder  # removed with this object
            self._fetched = Path(folder.name)
        path = self._fetched / name
        if not path.exists():
            with explained(f"{self.location}/{name}"):
                self._system.get_file(self._path(name), str(path))
        return path

    def free(self) -> float:
        """Nobody knows."""
        return math.inf

    def sha256(self, name: str) -> str:
        """Of what was fetched, or read piece by piece."""
        fetched = self._fetched / name if self._fetched else None
        with explained(f"{self.location}/{name}"):
            if fetched is not None and fetched.exists():
                with fetched.open("rb") as copy:
                    return hashlib.file_digest(copy, "sha256").hexdigest()
            with self._system.open(self._path(name), "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()


def npy_parts(array: npt.NDArray[Any]) -> list[Bytes]:
    """An array as the parts of an .npy file, not copied."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    return [header.getvalue(), np.ascontiguousarray(array).data.cast("B")]


def digest_of(parts: Iterable[Bytes]) -> str:
    """The SHA-256 of a file of these parts, in hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
