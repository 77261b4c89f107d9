"""Serves one Wyoming client to the end of its connection.

What a client can cost is bounded: one event is read at a time and its payload in pieces of 80 ms, after each of
which every other client has its turn; what it does not read is not sent; what it does not finish is not awaited.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from wyoming.event import Event
from wyoming.ping import Pong
from wyoming.wake import NotDetected

from daemon.audio.pcm import PcmFormat
from daemon.audio.sources import block_size
from daemon.config.wyoming_options import SUREST, WyomingOptions
from daemon.system.errors import AudioError, ChimedError
from daemon.wyoming.arbitration import Arbiter
from daemon.wyoming.backlog import WAITED, Backlog, StreamLag
from daemon.wyoming.client_writer import ClientWriter
from daemon.wyoming.framing import LINE_BYTES_LIMIT, Header, ProtocolError, encode, read_header, read_payload
from daemon.wyoming.stream import AudioStreamSession
from model.detector import Detection

T = TypeVar("T")

log = logging.getLogger(__name__)


class NoRoomError(ChimedError):
    """The service has no room for another stream."""


class Host(Protocol):
    """What a connection needs of its server."""

    options: WyomingOptions
    arbiter: Arbiter
    backlog: Backlog
    turns: asyncio.Semaphore
    info: bytes

    @property
    def streams(self) -> int:
        """How many there are."""

    def admit(self, connection: Connection) -> bool:
        """Whether there is room for one more stream, which from now on is this one's."""

    def release(self, connection: Connection) -> None:
        """Its stream is over."""

    def rivals(self, connection: Connection, word: str) -> bool:
        """Whether another stream listens for the word."""


class Connection:
    """Reads what a client says and does it, event by event. name: who it is, for the log."""

    def __init__(
        self,
        host: Host,
        session: AudioStreamSession,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        name: str,
    ) -> None:
        self._host = host
        self._session = session
        self._reader = reader
        self._writer = ClientWriter(writer, name)
        self._name = name
        self._verdicts: set[asyncio.Future[bool]] = set()
        self._answered = False  # since the start of the stream
        self._lag = StreamLag(time.monotonic())

    def listens_for(self, word: str) -> bool:
        """Whether its stream would fire on the word."""
        return self._session.streaming and word in self._session.words

    async def serve(self) -> None:
        """Answer it until it leaves, falls silent for too long or sends what is not Wyoming."""
        limit = self._host.options.idle_timeout
        try:
            while True:
                async with asyncio.timeout(limit):
                    header = await self._reading(read_header(self._reader))
                    if header is None:
                        return
                    await self._handle(header)
                if not self._lag.skipping:
                    await asyncio.sleep(0)  # reading from a full buffer gives no one else a turn
        except TimeoutError:
            log.info("%s: no whole event came within %g s; closed", self._name, limit)
        except (ProtocolError, AudioError, NoRoomError) as error:
            log.warning("%s: %s; closed", self._name, error)
            await self._writer.take_leave(str(error), self._reader)
        except OSError as error:
            log.debug("%s: %s", self._name, error)
        finally:
            self._host.release(self)
            self._drop_verdicts()
            self._session.drop()  # an exception in a reader keeps all in a circle until the next collection
            await self._writer.close()

    async def _handle(self, header: Header) -> None:
        if header.type == "audio-chunk":
            await self._hear(header)
            return
        async for _ in read_payload(self._reader, header.payload, LINE_BYTES_LIMIT):
            pass  # no other event needs one
        if header.type == "describe":
            await self._writer.send(self._host.info)
        elif header.type == "detect":
            self._choose(header.data.get("names"))
        elif header.type == "audio-start":
            self._start(pcm_format(header.data))
        elif header.type == "audio-stop":
            await self._stop()
        elif header.type == "ping":
            text = header.data.get("text")
            await self._writer.send(encode(Pong(text if isinstance(text, str) else None).event()))

    def _choose(self, names: Any) -> None:
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise ProtocolError("detect: names are not a list of texts")
        self._session.choose(names)
        if names and not self._session.words:
            log.warning("%s asks for %s, which no model here hears", self._name, ", ".join(map(repr, names)))

    def _start(self, pcm: PcmFormat) -> None:
        self._admit()
        self._drop_verdicts()
        self._answered = False
        self._session.start(pcm)

    async def _reading(self, something: Awaitable[T]) -> T:
        """What is read; notices when it had to be waited for, since then the stream is up to date."""
        begin = time.monotonic()
        result = await something
        now = time.monotonic()
        if now - begin > WAITED:
            self._lag.waited(now)
        return result

    def _admit(self) -> None:
        if not self._host.admit(self):
            raise NoRoomError(f"{self._host.options.max_streams} streams are served already")

    async def _hear(self, header: Header) -> None:
        pcm = pcm_format(header.data, self._session.format)
        if not self._session.streaming:
            self._start(pcm)
        pieces = read_payload(self._reader, header.payload, min(LINE_BYTES_LIMIT, block_size(pcm.rate) * pcm.frame))
        while (piece := await self._reading(anext(pieces, None))) is not None:
            seconds = pcm.seconds(len(piece))
            if self._lag.skipping:  # takes no time, so it waits for no turn, and gives none: the buffer is soon empty
                self._session.skip(piece, pcm)
                self._host.backlog.skipped(seconds)
                self._lag.heard(seconds, time.monotonic())
            else:
                async with self._host.turns:
                    self._answer(self._session.push(piece, pcm))
                    self._lag.heard(seconds, time.monotonic())
                    await asyncio.sleep(0)
                if self._lag.skipping:
                    self._host.backlog.late(self, self._name, self._lag.behind, self._host.streams)
            await self._writer.drain()

    async def _stop(self) -> None:
        if not self._session.streaming:
            return
        self._answer(self._session.stop())
        self._host.release(self)
        if self._verdicts:
            await asyncio.wait(self._verdicts)
        if not self._answered:
            self._writer.write(encode(NotDetected().event()))
        await self._writer.drain()

    def _answer(self, detections: Sequence[Detection]) -> None:
        for detection in detections:
            log.info(
                '%s heard "%s" score %.2f at %.2f s, %.0f dBFS',
                self._name,
                detection.word,
                detection.score,
                detection.seconds,
                loudness := self._session.loudness,
            )
            strength = detection.score if self._host.options.arbitrate_by == SUREST else loudness
            rivals = self._host.rivals(self, detection.word)
            verdict = self._host.arbiter.claim(detection.word, self, strength, rivals)
            if verdict.done():
                self._tell(detection, verdict)
                continue
            self._verdicts.add(verdict)
            verdict.add_done_callback(partial(self._tell, detection))

    def _tell(self, detection: Detection, verdict: asyncio.Future[bool]) -> None:
        self._verdicts.discard(verdict)
        if verdict.cancelled() or self._writer.closing:
            return
        if not verdict.result():
            log.info('%s: another stream answers "%s"', self._name, detection.word)
            return
        self._answered = True
        self._writer.write(encode(detection_event(detection)))

    def _drop_verdicts(self) -> None:
        for verdict in self._verdicts.copy():
            verdict.cancel()
        self._verdicts.clear()


def pcm_format(data: dict[str, Any], known: PcmFormat | None = None) -> PcmFormat:
    """The format that an audio event states; what it leaves out is as before. Raises ProtocolError, AudioError."""
    values = []
    for name in ("rate", "width", "channels"):
        value = data.get(name, getattr(known, name, None))
        if isinstance(value, bool) or not isinstance(value, int):
            raise ProtocolError(f"audio: {name} is {str(value)[:40]}, not a whole number")
        values.append(value)
    return PcmFormat(*values)


def detection_event(detection: Detection) -> Event:
    """The package's event, and the score, which it lacks and clients that do not know it ignore."""
    milliseconds = round(detection.seconds * 1000)
    data = {"name": detection.word, "timestamp": milliseconds, "speaker": None, "score": round(detection.score, 4)}
    return Event("detection", data)
