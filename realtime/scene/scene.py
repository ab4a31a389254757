"""The demo scene: a film the program renders itself, with the truth about every person in it.

People of varied build and clothing walk, wave, cross and hide each other before cluttered, noisy
backgrounds. The same seed, size and index always give the same bytes, in any order of calls.
Pictures are BGR uint8; coordinates follow realtime.geometry.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import cv2
import numpy as np
from numpy.typing import NDArray

from realtime.records import Float, Image
from realtime.scene import background
from realtime.scene.background import Occluder
from realtime.scene.cast import BLOCK, MOST, camera, cast
from realtime.scene.motion import Mover
from realtime.scene.paint import overlap, paste
from realtime.scene.people import Figure, draw
from realtime.scene.tailor import Outfit, dress
from realtime.skeleton import JOINT_COUNT

Mask = NDArray[np.bool_]

KEPT_TRUTHS = 600
"""Truths kept, about 2 kB each: the comparison asks for them some frames after the picture."""


@dataclass(frozen=True, slots=True)
class Truth:
    """The people of one frame, at least some part of whom is seen in the picture.

    joints_xy: float32 (N, 17, 2), frame pixels, COCO order; hidden ones and those outside too.
    visible: bool (N, 17), inside the picture and hidden neither by somebody else, nor by a thing
        in front, nor by the own body (best effort: what is drawn on top at the joint is a part
        that the joint belongs to, and the joint is on the near side of trunk or head).
    boxes_xyxy: float32 (N, 4), tight around the drawn person, hidden parts too, cut at the border.
    ids: int64 (N,), the same for one person in all frames, ascending.
    visible_share: float32 (N,), how much of the drawn person is seen, 0..1; parts outside the
        picture count as not seen.
    """

    joints_xy: Float
    visible: Mask
    boxes_xyxy: Float
    ids: NDArray[np.int64]
    visible_share: Float

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class _Person:
    """One person of one frame. whole: where they are drawn, in the pixels of the figure; seen: of
    that, what is seen in the picture."""

    ident: int
    figure: Figure
    whole: Mask
    seen: Mask

    def hide(self, cover: Mask, corner_xy: tuple[int, int]) -> bool:
        """Take what lies at this corner of the picture off what is seen; whether there was any."""
        x, y = (a - b for a, b in zip(corner_xy, self.figure.corner_xy))
        seen, hidden = overlap(self.seen, cover, (x, y))
        if not (seen & hidden).any():
            return False
        seen[hidden] = False
        return True


class Scene:
    """A film of this many frames at rate frames per second.

    seed: which film. people: so many (0 to 6) all the time, instead of 0 to 6 who come and go.
    What a frame shows depends on its time (index / rate), not on the length of the film; every
    10 seconds a new cast comes on. May be used from several threads. Raises ValueError for values
    out of range.
    """

    def __init__(
        self,
        seed: int = 0,
        frames: int = 300,
        size_wh: tuple[int, int] = (1280, 720),
        rate: float = 30.0,
        people: int | None = None,
    ) -> None:
        wrong = seed < 0 or frames < 0 or min(size_wh) < 32 or rate <= 0
        if wrong or (people is not None and not 0 <= people <= MOST):
            raise ValueError(
                f"seed {seed}, frames {frames}, size {size_wh}, rate {rate}, people {people}: "
                f"expected seed and frames >= 0, 32x32 or more, rate > 0, people 0 to {MOST}"
            )
        self.seed, self.frames, self.size_wh, self.rate = seed, frames, size_wh, rate
        self._people = people
        self._view = camera(seed, size_wh)
        self._set = background.build(seed, self._view)
        self._cast = lru_cache(2)(self._new_cast)
        self._picture = lru_cache(2)(self._render)
        self._truths: OrderedDict[int, Truth] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return self.frames

    def image(self, index: int, people: bool = True) -> Image:
        """Frame index, BGR uint8 (H, W, 3); people=False leaves them and their shadows out.

        Raises IndexError outside 0 .. frames - 1.
        """
        self._check(index)
        clean = self._picture(index) if people else self._set.image
        return self._set.noisy(clean, index)

    def truth(self, index: int) -> Truth:
        """The people of frame index. Raises IndexError outside 0 .. frames - 1."""
        self._check(index)
        while True:
            with self._lock:
                if index in self._truths:
                    return self._truths[index]
            self._render(index)

    def _check(self, index: int) -> None:
        if not 0 <= index < self.frames:
            raise IndexError(f"frame {index} of a scene of {self.frames}")

    def _new_cast(self, block: int) -> tuple[tuple[Mover, tuple[Outfit, ...]], ...]:
        """The movers of a block, each with clothes for near, farther and far away."""
        dressed = []
        for mover in cast(self.seed, block, self._view, self._people):
            nearest = min(place[1] for leg in mover.legs for place in (leg.start, leg.end))
            rng = np.random.default_rng([self.seed, 13, mover.ident])
            density = min(self._view.focal / nearest, 0.6 * self.size_wh[1])
            largest = dress(rng, mover.build, self._set.light, density)
            dressed.append((mover, (largest, largest.smaller(0.6), largest.smaller(0.36))))
        return tuple(dressed)

    def _render(self, index: int) -> Image:
        """The picture without noise; keeps its truth."""
        time = index / self.rate
        figures = [
            (mover.ident, draw(mover, outfits, self._view, time))
            for mover, outfits in self._cast(int(time // BLOCK))
            if mover.present(time)
        ]
        figures.sort(key=lambda item: -item[1].distance)
        image: Image = self._set.image.copy()
        people: list[_Person] = []
        things = list(self._set.occluders)  # the farthest first
        for ident, figure in figures:
            while things and things[0].distance > figure.distance:
                self._cover(image, people, things.pop(0))
            people.append(self._add(image, people, ident, figure))
        for thing in things:
            self._cover(image, people, thing)
        self._keep(index, self._truth(people))
        image.flags.writeable = False
        return image

    def _add(self, image: Image, people: list[_Person], ident: int, figure: Figure) -> _Person:
        """Draw somebody before all the people so far."""
        self._set.shade(image, figure)
        paste(image, self._set.focused(figure), *figure.corner_xy)
        whole = figure.pixels[..., 3] > 127
        for person in people:
            person.hide(whole, figure.corner_xy)
        return _Person(ident, figure, whole, _inside(whole, figure.corner_xy, self.size_wh))

    def _cover(self, image: Image, people: list[_Person], thing: Occluder) -> None:
        """Draw a thing of the place again where it hides somebody farther away."""
        hidden = [person.hide(thing.mask, thing.corner_xy) for person in people]
        if any(hidden):
            paste(image, thing.pixels, *thing.corner_xy)

    def _truth(self, people: list[_Person]) -> Truth:
        seen = sorted((p for p in people if p.seen.any()), key=lambda person: person.ident)
        return Truth(
            np.array([p.figure.joints_xy for p in seen], np.float32).reshape(-1, JOINT_COUNT, 2),
            np.array([self._visible(p) for p in seen], bool).reshape(-1, JOINT_COUNT),
            np.array([_box(p, self.size_wh) for p in seen], np.float32).reshape(-1, 4),
            np.array([p.ident for p in seen], np.int64),
            np.array([_share(p) for p in seen], np.float32),
        )

    def _visible(self, person: _Person) -> Mask:
        x, y = (np.rint(person.figure.joints_xy).astype(int) - person.figure.corner_xy).T
        visible: Mask = person.figure.seen & person.seen[y, x]
        return visible

    def _keep(self, index: int, truth: Truth) -> None:
        with self._lock:
            self._truths[index] = truth
            while len(self._truths) > KEPT_TRUTHS:
                self._truths.popitem(last=False)


def _inside(whole: Mask, corner_xy: tuple[int, int], size_wh: tuple[int, int]) -> Mask:
    """A copy of a figure's mask without what lies outside the picture."""
    inside = np.zeros_like(whole)
    picture = np.broadcast_to(True, (size_wh[1], size_wh[0]))
    kept, _ = overlap(inside, picture, (-corner_xy[0], -corner_xy[1]))
    kept[:] = True
    return inside & whole


def _share(person: _Person) -> float:
    return float(np.count_nonzero(person.seen) / np.count_nonzero(person.whole))


def _box(person: _Person, size_wh: tuple[int, int]) -> tuple[float, float, float, float]:
    """Around the centres of the outermost pixels of the drawn person inside the picture."""
    x, y, width, height = cv2.boundingRect(person.whole.view(np.uint8))
    x, y = x + person.figure.corner_xy[0], y + person.figure.corner_xy[1]
    right, low = min(x + width, size_wh[0]) - 1, min(y + height, size_wh[1]) - 1
    return float(max(x, 0)), float(max(y, 0)), float(right), float(low)
