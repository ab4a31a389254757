"""The demo scene: a film the program renders itself, with the truth about every person in it.

People of varied build and clothing walk, wave, cross and hide each other before cluttered, noisy
backgrounds. The same seed, size and index always give the same bytes, in any order of calls.
Pictures are BGR uint8; coordinates follow realtime.geometry.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from realtime import scene_background as background
from realtime.records import Float, Image
from realtime.scene_cast import BLOCK, camera, cast
from realtime.scene_motion import Mover
from realtime.scene_paint import paste
from realtime.scene_people import Figure, draw
from realtime.scene_tailor import Outfit, dress
from realtime.skeleton import JOINT_COUNT


@dataclass(frozen=True, slots=True)
class Truth:
    """The people of one frame, at least some part of whom is seen in the picture.

    joints_xy: float32 (N, 17, 2), frame pixels, COCO order; hidden ones and those outside too.
    visible: bool (N, 17), inside the picture and hidden neither by somebody else, nor by an
        object in front, nor by the own body (best effort: what is drawn on top at the joint is a
        part that the joint belongs to, and the joint is on the near side of trunk or head).
    boxes_xyxy: float32 (N, 4), tight around the drawn person, hidden parts too, cut at the border.
    ids: int64 (N,), the same for one person in all frames, ascending.
    visible_share: float32 (N,), how much of the drawn person is seen, 0..1; parts outside the
        picture count as not seen.
    """

    joints_xy: Float
    visible: NDArray[np.bool_]
    boxes_xyxy: Float
    ids: NDArray[np.int64]
    visible_share: Float

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Both results of rendering one frame; the picture is without noise."""

    image: Image
    truth: Truth


class Scene:
    """A film of this many frames at rate frames per second.

    seed: which film. people: so many, all in the picture, instead of 0 to 6 who come and go.
    What a frame shows depends on its time (index / rate), not on the length of the film; every
    10 seconds a new cast comes on. Raises ValueError for values out of range.
    """

    def __init__(
        self,
        seed: int = 0,
        frames: int = 300,
        size_wh: tuple[int, int] = (1280, 720),
        rate: float = 30.0,
        people: int | None = None,
    ) -> None:
        if (
            seed < 0
            or frames < 0
            or min(size_wh) < 32
            or rate <= 0
            or (people or 0) not in range(7)
        ):
            raise ValueError(
                f"scene: seed {seed}, frames {frames}, size {size_wh}, rate {rate}, people {people}: "
                "expected seed and frames >= 0, a size of at least 32x32, rate > 0, people 0 to 6"
            )
        self.seed, self.frames, self.size_wh, self.rate = seed, frames, size_wh, rate
        self._people = people
        self._view = camera(seed, size_wh)
        self._set = background.build(seed, self._view)
        self._cast = lru_cache(2)(self._new_cast)
        self._draw = lru_cache(3)(self._render)

    def __len__(self) -> int:
        return self.frames

    def image(self, index: int, people: bool = True) -> Image:
        """Frame index, BGR uint8 (H, W, 3); people=False leaves them and their shadows out.

        Raises IndexError outside 0 .. frames - 1.
        """
        self._check(index)
        clean = self._draw(index).image if people else self._set.image
        return self._set.noisy(clean, index)

    def truth(self, index: int) -> Truth:
        """The people of frame index. Raises IndexError outside 0 .. frames - 1."""
        self._check(index)
        return self._draw(index).truth

    def _check(self, index: int) -> None:
        if not 0 <= index < self.frames:
            raise IndexError(f"frame {index} of a scene of {self.frames}")

    def _new_cast(self, block: int) -> tuple[tuple[Mover, tuple[Outfit, ...]], ...]:
        """The movers of a block, each with clothes for near, farther and far away."""
        movers = cast(self.seed, block, self._view, self._people)
        dressed = []
        for mover in movers:
            nearest = min(point[1] for leg in mover.legs for point in (leg.start, leg.end))
            rng = np.random.default_rng([self.seed, 13, mover.ident])
            density = min(self._view.focal / nearest, 0.6 * self.size_wh[1])
            largest = dress(rng, mover.build, self._set.light, density)
            dressed.append((mover, (largest, largest.smaller(0.6), largest.smaller(0.36))))
        return tuple(dressed)

    def _render(self, index: int) -> _Drawn:
        time = index / self.rate
        people = [
            (mover, draw(mover, outfits, self._view, time))
            for mover, outfits in self._cast(int(time // BLOCK))
            if mover.present(time)
        ]
        people.sort(key=lambda item: -item[1].distance)
        image = self._set.image.copy()
        masks: list[NDArray[np.bool_]] = []
        for _, figure in people:
            self._set.shadow(image, figure)
            paste(image, figure.pixels, *figure.corner_xy)
            mask = _mask(figure, self.size_wh)
            for hidden in masks:
                hidden &= ~mask
            masks.append(mask)
        image.flags.writeable = False
        return _Drawn(image, self._truth(people, masks))

    def _truth(self, people: list[tuple[Mover, Figure]], masks: list[NDArray[np.bool_]]) -> Truth:
        rows = []
        for (mover, figure), mask in zip(people, masks):
            whole = int(np.count_nonzero(figure.pixels[..., 3] > 127))
            seen = int(np.count_nonzero(mask))
            if seen:
                at = np.rint(figure.joints_xy).astype(int)
                inside = ((at >= 0) & (at < self.size_wh)).all(1)
                x, y = at.clip(0, np.array(self.size_wh) - 1).T
                visible = inside & figure.seen & mask[y, x]
                rows.append(
                    (
                        mover.ident,
                        figure.joints_xy,
                        visible,
                        _box(figure, self.size_wh),
                        seen / whole,
                    )
                )
        rows.sort(key=lambda row: row[0])
        return Truth(
            np.array([row[1] for row in rows], np.float32).reshape(-1, JOINT_COUNT, 2),
            np.array([row[2] for row in rows], bool).reshape(-1, JOINT_COUNT),
            np.array([row[3] for row in rows], np.float32).reshape(-1, 4),
            np.array([row[0] for row in rows], np.int64),
            np.array([row[4] for row in rows], np.float32),
        )


def _mask(figure: Figure, size_wh: tuple[int, int]) -> NDArray[np.bool_]:
    """Where in the picture the person is drawn, bool (H, W)."""
    mask = np.zeros((size_wh[1], size_wh[0]), bool)
    (x, y), (height, width) = figure.corner_xy, figure.pixels.shape[:2]
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + width, size_wh[0]), min(y + height, size_wh[1])
    if x0 < x1 and y0 < y1:
        mask[y0:y1, x0:x1] = figure.pixels[y0 - y : y1 - y, x0 - x : x1 - x, 3] > 127
    return mask


def _box(figure: Figure, size_wh: tuple[int, int]) -> tuple[float, float, float, float]:
    """Around the centres of the outermost pixels of the drawn person inside the picture."""
    x, y, width, height = cv2.boundingRect((figure.pixels[..., 3] > 127).astype(np.uint8))
    x, y = x + figure.corner_xy[0], y + figure.corner_xy[1]
    right, low = min(x + width, size_wh[0]) - 1, min(y + height, size_wh[1]) - 1
    return float(max(x, 0)), float(max(y, 0)), float(right), float(low)
