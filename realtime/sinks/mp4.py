"""One mp4 file: playable whenever the process dies, an ordinary seekable one once closed."""

from __future__ import annotations

import io
from collections import deque
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.video.frame import PictureType

from realtime.errors import OutputError
from realtime.records import Image
from realtime.sinks.audio import open_audio
from realtime.sinks.encode import set_up
from realtime.sinks.outfile import OutputFile
from realtime.sinks.yuv import to_yuv420

LIVE_TICK = Fraction(1, 90000)
FRAGMENT = 0.1
"""Seconds of footage after which a fragment is written: what a kill can cost, plus a frame."""
KEY_INTERVAL = 2.0
"""Seconds between key frames, for seeking."""
MOST_ASPECT = 1000
"""Both parts of the shape of a pixel in H.264 have 16 bits; real ones are as simple as 64:45."""
MAX_GAP = 2**31 - 1
"""Ticks one frame can last in an mp4."""


def mp4_tick(time_base: Fraction | None) -> Fraction:
    """The tick to record with: a whole fraction of the source's own, so its times stay exact.

    1/90000 s for sources without one, or with one too fine for the 32-bit durations of an mp4.
    """
    if time_base is None or not 1 <= time_base.denominator <= 1_000_000:
        return LIVE_TICK
    scale = time_base.denominator
    while scale < 10_000:
        scale *= 2
    return Fraction(1, scale)


class DiskEnd(io.RawIOBase):
    """The file as the muxer sees it, which writes pieces of 32 KiB. They are held until they make
    up a whole fragment; that goes to the file with one write, so that a kill does not leave half
    of it. The file stays empty until the first fragment is there: a header alone does not play.
    After the first error nothing is written any more, so the muxer cannot spoil what is there;
    error tells."""

    def __init__(self, file: OutputFile) -> None:
        self.error: OSError | None = None
        self._file = file
        self._held = bytearray()
        self._begun = False

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._held += data
        return len(data)

    def settle(self) -> None:
        """The muxer is done with a packet: what it has written by now is whole."""
        if self._begun or b"moof" in self._held:
            self.release()

    def release(self) -> None:
        """Write what is held, in one piece."""
        held, self._held = self._held, bytearray()
        if held:
            self._begun = True
            self._write(held)

    def _write(self, data: bytearray) -> None:
        if self.error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self.error = error

    def seek(self, offset: int, whence: int = 0) -> int:
        self.release()
        return self._file.raw.seek(offset, whence)

    def tell(self) -> int:
        return self._file.raw.tell() + len(self._held)

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True


class Mp4:
    """Encodes pictures of one size into file. Times are seconds from the start of this file.
    aspect: width of a pixel by its height.

    encoder: a name of encode.ENCODERS. audio_from: a file whose sound from second audio_start on
    goes along. notes: gets one-line messages. Raises OutputError for a size the encoder does not
    take. write() and close() raise it once the disk takes no more; the file then ends with the
    last whole fragment and plays.
    """

    def __init__(
        self,
        file: OutputFile,
        picture_wh: tuple[int, int],
        tick: Fraction,
        rate: float,
        crf: int,
        encoder: str,
        notes: list[str],
        audio_from: Path | None = None,
        audio_start: float = 0.0,
        aspect: float = 1.0,
    ) -> None:
        self.picture_wh = picture_wh
        self._file, self._tick, self._per_second = file, tick, tick.denominator
        self._disk = DiskEnd(file)
        self._good = 0  # bytes that make up whole fragments
        self._duration = round(1 / (rate * tick))  # of the last frame, in ticks
        self._last: int | None = None
        self._last_key = 0
        self._count = 0
        self._stamps: deque[tuple[int, int]] = deque()  # pts and duration of frames in the encoder
        self._container = av.open(self._disk, "w", format="mp4", options=_muxer_options(tick))
        frame_rate = Fraction(rate).limit_denominator(1001)
        self._stream: Any = self._container.add_stream(encoder, rate=frame_rate)
        even_wh = (picture_wh[0] + picture_wh[0] % 2, picture_wh[1] + picture_wh[1] % 2)
        context: Any = self._stream.codec_context
        set_up(context, encoder, even_wh, rate, crf)
        context.sample_aspect_ratio = Fraction(aspect).limit_denominator(MOST_ASPECT)
        self._stream.time_base = tick
        try:
            context.open()
        except av.error.FFmpegError as error:
            self._container.close()
            raise OutputError(
                f"{file.path}: {encoder} takes no pictures of {picture_wh[0]}x{picture_wh[1]}; "
                "use a smaller input or leave out the recording"
            ) from error
        self._audio = open_audio(audio_from, self._container, audio_start, notes)

    @property
    def seconds(self) -> float:
        """How long the video plays, from time 0 to the end of its last frame."""
        return 0.0 if self._last is None else (self._last + self._duration) / self._per_second

    def fits(self, picture: Image, time: float) -> bool:
        """Whether the picture can go into this file: same size, and not too long after the last
        one for the 32 bits of a duration."""
        near = self._last is None or round(time * self._per_second) - self._last <= MAX_GAP
        return near and (picture.shape[1], picture.shape[0]) == self.picture_wh

    def write(self, picture: Image, time: float) -> None:
        pts = max(round(time * self._per_second), 0 if self._last is None else self._last + 1)
        if self._last is not None:
            self._duration = pts - self._last  # the best guess at how long this frame will last
        frame = _frame(to_yuv420(picture))
        frame.pts = self._count
        if self._count == 0 or pts - self._last_key >= KEY_INTERVAL * self._per_second:
            frame.pict_type = PictureType.I
            self._last_key = pts
        self._stamps.append((pts, self._duration))
        self._last, self._count = pts, self._count + 1
        self._mux_audio(pts / self._per_second)
        self._mux_video(frame)
        self._check(self._count - 1)

    def close(self) -> None:
        """Write the index. The file is whole at every moment until it is there."""
        if self._disk.error is None:
            self._mux_video(None)
            end = 0 if self._last is None else self._last + self._duration
            self._mux_audio(end / self._per_second)
        self._check(self._count)
        self._container.close()
        self._disk.release()
        if self._audio:
            self._audio.close()
        self._check(self._count)

    def abort(self) -> None:
        """Free everything after an OutputError, without writing."""
        with suppress(av.error.FFmpegError):
            self._container.close()
        if self._audio:
            self._audio.close()

    def _mux_video(self, frame: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(frame):
            packet.pts, packet.duration = self._stamps.popleft()
            packet.dts = packet.pts
            packet.time_base = self._tick
            self._mux(packet)

    def _mux_audio(self, until: float) -> None:
        """Sound goes along with the pictures, so that the muxer has nothing to hold back."""
        if self._audio:
            for packet in self._audio.packets(until):
                self._mux(packet)

    def _mux(self, packet: Any) -> None:
        try:
            self._container.mux(packet)
        except av.error.FFmpegError:
            # The muxer holds packets back for their order, so this may be about an earlier one: of
            # damaged sound, which it has thrown away. The pictures are our own.
            if self._audio is None:
                raise
            self._audio.note_damage()
        self._disk.settle()

    def _check(self, taken: int) -> None:
        """Raise OutputError once the disk has failed or the file is gone; taken frames count as
        written so far."""
        if self._disk.error is None:
            if self._file.gone:
                self.abort()
                raise self._file.removed(taken)
            self._good = self._file.size
            return
        reason = self._disk.error.strerror
        self._file.cut(self._good)
        self.abort()
        there = _frames_in(self._file.path)
        if not there:
            self._file.cut(0)
        rest = f"what is there ({there} frames) plays" if there else "there is nothing to play"
        raise OutputError(
            f"{self._file.path}: cannot write more after {self._good} bytes: {reason}; {rest}",
            lost=max(0, taken - there),
        )


def _frames_in(path: Path) -> int:
    """How many frames a file has; the last fragment may be shorter than what was encoded."""
    with suppress(av.error.FFmpegError), av.open(f"file:{path}") as container:
        return sum(packet.size > 0 for packet in container.demux(video=0))
    return 0


def _muxer_options(tick: Fraction) -> dict[str, str]:
    """Fragments while writing, flushed as they come (a kill leaves them playable); close() turns
    the file into an ordinary one (hybrid_fragmented). The header waits for the first fragment
    (delay_moov), as only then the edit lists are known that keep the first times as they are."""
    return {
        "movflags": "hybrid_fragmented+delay_moov+default_base_moof",
        "frag_duration": str(round(FRAGMENT * 1e6)),
        "flush_packets": "1",
        "max_interleave_delta": str(round(FRAGMENT * 1e6)),
        "use_editlist": "1",
        "avoid_negative_ts": "disabled",
        "video_track_timescale": str(tick.denominator),
        "movie_timescale": str(tick.denominator),
    }


def _frame(planes: Image) -> av.VideoFrame:
    """planes as to_yuv420 gives them; without a copy where PyAV gets the height right: it takes
    four times the rows divided by six and rounded down."""
    if planes.shape[0] % 6 == 0:
        return av.VideoFrame.from_numpy_buffer(planes, format="yuv420p")
    return av.VideoFrame.from_ndarray(planes, format="yuv420p")
