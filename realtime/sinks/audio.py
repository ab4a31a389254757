"""The sound of a file, carried over into the recording of its pictures."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import av.bitstream
import av.error

from realtime.sources.decode_video import TOLERANT

COPIED = ("aac", "mp3", "ac3", "eac3", "alac", "opus")
"""Codecs that go into an mp4 as they are; others become AAC."""

_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)

PREROLL = 0.05
"""Seconds of sound before the first picture that go along: the codecs here need a packet or two
before they sound right."""

_DAMAGE = (av.error.FFmpegError, UnicodeDecodeError, IndexError, ValueError, MemoryError)


def open_audio(
    path: Path | None, output: av.container.OutputContainer, start: float, notes: list[str]
) -> Audio | None:
    """The sound of path from second start on, as a new stream of output; None when there is none.

    Sound that cannot be read or written is left out, with a note.
    """
    if path is None:
        return None
    source: av.container.InputContainer | None = None
    try:
        options = {"protocol_whitelist": "file"}
        source = av.open(f"file:{path}", options=options, **TOLERANT)
        if not source.streams.audio:
            source.close()
            return None
        return Audio(path, source, output, start, notes)
    except _DAMAGE as error:
        if source:
            source.close()
        notes.append(f"{path}: sound left out: {error}")
        return None


class Audio:
    """Packets of one audio stream, in step with the pictures.

    Times are seconds of the output; those of the source are start later. Sound from before start
    that a decoder needs to get going comes with negative times, which players skip.
    """

    def __init__(
        self,
        path: Path,
        source: av.container.InputContainer,
        output: av.container.OutputContainer,
        start: float,
        notes: list[str],
    ) -> None:
        self._path, self._source, self._start, self._notes = path, source, start, notes
        self._input = source.streams.audio[0]
        codec = self._input.codec_context
        if codec is None:  # damage has made it a kind of sound that nobody knows
            raise ValueError("its kind is unknown")
        if codec.codec.canonical_name in COPIED:  # the name is that of a decoder: mp3float
            self._packets = self._copied(output.add_stream_from_template(self._input))
        else:
            rate = codec.sample_rate if codec.sample_rate in _AAC_RATES else 48000
            layout = "mono" if codec.channels == 1 else "stereo"
            self._packets = self._encoded(output.add_stream("aac", rate=rate, layout=layout))
        self._pending: Any = None  # read, but later than asked for so far
        if start > PREROLL:
            assert self._input.time_base is not None
            ticks = int((start - PREROLL) / self._input.time_base)
            source.seek(ticks, stream=self._input, backward=True)

    def packets(self, until: float) -> Generator[Any, None, None]:
        """What comes next, up to second until of the output. Damage ends the sound with a note."""
        while True:
            if self._pending is None:
                self._pending = self._next()
            packet = self._pending
            if packet is None or packet.pts * float(packet.time_base) >= until:
                return
            self._pending = None
            yield packet

    def close(self) -> None:
        with suppress(av.error.FFmpegError):
            self._source.close()

    def note_damage(self) -> None:
        """Say, once, that not all of the sound is there."""
        line = f"{self._path}: damaged sound, parts of it are missing"
        if line not in self._notes:
            self._notes.append(line)

    def _next(self) -> Any:
        try:
            return next(self._packets, None)
        except _DAMAGE:
            self.note_damage()
            return None  # the generator has ended with its exception

    def _undamaged(
        self, work: Callable[[Any], list[Any]], item: Any, early: bool = False
    ) -> list[Any]:
        """What work makes of item; nothing when that fails, which is no damage before the start."""
        try:
            return work(item)
        except _DAMAGE:
            if not early:
                self.note_damage()
            return []

    def _unwrapper(self) -> Callable[[Any], list[Any]]:
        """Takes off the headers that AAC has in transport streams and not in an mp4. The muxer
        would do that by itself, but not while it writes fragments."""
        codec = self._input.codec_context
        if codec.name != "aac" or codec.extradata:
            return lambda packet: [packet]
        return av.bitstream.BitStreamFilterContext("aac_adtstoasc", self._input).filter

    def _copied(self, stream: Any) -> Generator[Any, None, None]:
        unwrap = self._unwrapper()
        for packet in self._source.demux(self._input):
            if packet.pts is None or packet.time_base is None:  # the mark of the end has no time
                continue
            end = (packet.pts + (packet.duration or 0)) * float(packet.time_base)
            if end <= self._start - PREROLL:
                continue
            for part in self._undamaged(unwrap, packet):
                part.pts -= round(self._start / part.time_base)
                part.dts = part.pts
                part.stream = stream
                yield part

    def _encoded(self, stream: Any) -> Generator[Any, None, None]:
        for packet in self._source.demux(self._input):
            time = None if packet.pts is None else packet.pts * packet.time_base
            early = time is not None and time < self._start  # a seek may end within a packet
            for frame in self._undamaged(self._input.decode, packet, early):
                if frame.pts is None or frame.time_base is None:
                    continue
                if frame.pts * frame.time_base + frame.samples / frame.sample_rate > self._start:
                    frame.pts -= round(self._start / frame.time_base)
                    yield from self._undamaged(stream.encode, frame)
        yield from self._undamaged(stream.encode, None)
