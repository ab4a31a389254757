"""People from frame to frame: who is who, which side is which, whom to follow, steady joints."""

from __future__ import annotations

from realtime.choice import EVERYBODY
from realtime.follow import Follower
from realtime.looks import looks, prepare
from realtime.records import Frame, Poses
from realtime.similarity import suppress
from realtime.smooth import Smoother
from realtime.swaps import SwapRepair
from realtime.track import Tracker


class OverTime:
    """The people of one run, frame by frame in their order. One thread may call known(), another
    one chosen() and steady(), any of them sure().

    least: score from which a person is one. fix_swaps: give swapped sides back. select: whom to
    follow, see Follower, or EVERYBODY. smooth: whether steady() does anything. independent: each
    frame is on its own, and only sure() does anything. first_id: ids count from here.
    """

    def __init__(
        self,
        least: float,
        fix_swaps: bool,
        select: str | int,
        smooth: bool,
        independent: bool,
        first_id: int = 1,
    ) -> None:
        self.tracker = Tracker(least=least, first_id=first_id)
        if not independent:
            prepare()
        self._least, self._independent = least if independent else least / 2, independent
        self._repair = SwapRepair() if fix_swaps else None
        self._follow = None if independent or select == EVERYBODY else Follower(select)
        self._smoother = Smoother() if smooth and not independent else None

    @property
    def note(self) -> str:
        """What to say of the run so far; "" for nothing."""
        return self._repair.note if self._repair else ""

    def sure(self, poses: Poses) -> Poses:
        """Those sure enough, without second poses of the same person. The tracker may know people
        who are half as sure, and leaves the others out."""
        sure = poses[poses.scores >= self._least]
        return sure[suppress(sure)]

    def known(self, poses: Poses, frame: Frame) -> Poses:
        """With their ids, and left and right the right way round."""
        if self._independent:
            return poses
        poses = self.tracker.update(poses, frame.time, looks(frame.image, poses))
        return self._repair(poses, frame.time) if self._repair else poses

    def chosen(self, poses: Poses, frame: Frame) -> Poses:
        """Of people with ids those who are followed."""
        if self._follow is None:
            return poses
        return self._follow(poses, self.tracker.known_ids, frame.size_wh)

    def steady(self, poses: Poses, frame: Frame) -> Poses:
        """Smoothed."""
        return self._smoother(poses, frame.time) if self._smoother else poses
