"""Five pictures of one frame that show how people's joints are found."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.base import Network, takes_narrow
from realtime import geometry
from realtime.blur import NOBODY, cover, heads_of
from realtime.crop import cut
from realtime.decode import decode, to_poses
from realtime.defaults import MIN_JOINT_SCORE
from realtime.detect import Detector
from realtime.draw import LIGHT, Style, tint
from realtime.errors import InputError, OutputError
from realtime.inputs import check_no_input
from realtime.no_use import say_what_is_idle
from realtime.opening import load_networks, open_source, pipeline_options
from realtime.pipeline import Options
from realtime.pose import estimate
from realtime.records import Crops, Detections, Float, Frame, Image, Poses
from realtime.render import draw
from realtime.settings import Settings
from realtime.shape import true_shape
from realtime.sheet import GAP, WIDE, Tile, enlarged, grid, page
from realtime.similarity import suppress as without_doubles
from realtime.sinks.outfile import OutputFile, check_writable
from realtime.skeleton import JOINTS
from realtime.sources.base import Source
from realtime.text import RIM, text_size, write

T = TypeVar("T", bound=Sized)

NAMES = ("1_detections", "2_crops", "3_heatmaps", "4_joints", "5_poses")
COLUMNS = 6
TAG = 15  # height in pixels of the letters at boxes
MOST = 12
"""People whose crops are shown, the surest first."""
TILE = (WIDE - (COLUMNS + 1) * GAP) // COLUMNS  # width of a tile in pixels


@dataclass(frozen=True, slots=True)
class Steps:
    """What each step made of one frame with N people, the surest first.

    picture: uint8 (H, W, 3), the frame as it is shown, faces blurred if asked for. crops: of that
    picture, as the pose network saw them but for the blur. heatmaps: float32 (N, 17, h, w).
    points_xy: float32 (N, 17, 2) in crop pixels. poses: in frame pixels, ids from 1 up. aspect:
    width of a pixel of the frame by its height.
    """

    number: int
    picture: Image
    detections: Detections
    crops: Crops
    heatmaps: Float
    points_xy: Float
    poses: Poses
    aspect: float = 1.0

    def __len__(self) -> int:
        return len(self.detections)

    def __getitem__(self, keep: NDArray[np.int64]) -> Steps:
        """Those of these numbers, with ids from 1 up."""
        crops = self.crops
        return replace(
            self,
            detections=self.detections[keep],
            crops=Crops(
                crops.pixels[keep],
                crops.crop_to_frame[keep],
                crops.frame_of[keep],
                crops.slim[keep],
            ),
            heatmaps=self.heatmaps[keep],
            points_xy=self.points_xy[keep],
            poses=self.poses[keep].with_ids(np.arange(1, len(keep) + 1)),
        )

    @property
    def scale(self) -> float:
        """From crop pixels to those of a tile."""
        return TILE / int(self.crops.pixels.shape[2])


def run(settings: Settings) -> None:
    """Write the pictures that settings.explain asks for. Raises PosestreamError."""
    assert settings.explain is not None
    paths = [settings.explain / f"{name}.png" for name in NAMES]
    check_no_input([settings.explain, *paths], settings.input, settings.networks)
    with closing(open_source(settings)) as source, _folder(settings.explain) as folder:
        _check_room(paths, settings.overwrite)
        say_what_is_idle(settings, [source.info])
        detector, pose = load_networks(settings, source.info, shared=True)
        try:
            options = pipeline_options(settings)
            look = partial(take_steps, detector, pose, options, settings.blur_faces)
            steps = find(source, look, settings.explain_frame)
            pictures = explained(steps, settings.min_joint_score)
        finally:
            detector.network.close()
            pose.close()
        for path, picture in zip(paths, pictures, strict=True):
            file = OutputFile(path, settings.overwrite)
            _write(file, picture)
    if not settings.quiet:
        print(f"frame {steps.number} explained in {folder}", file=sys.stderr)


@contextmanager
def _folder(folder: Path) -> Iterator[Path]:
    """The folder, made if it is not there; an empty one does not stay when there is nothing to be
    put into it. Raises OutputError."""
    there = folder.exists()
    try:
        folder.mkdir(exist_ok=True)
    except FileExistsError:
        raise OutputError(f"{folder}: is not a folder; give another name") from None
    except OSError as error:
        raise OutputError(f"{folder}: cannot be created: {error.strerror}") from error
    try:
        yield folder
    finally:
        with suppress(OSError):  # which says that it is not empty
            if not there:
                folder.rmdir()


def _check_room(paths: Sequence[Path], overwrite: bool) -> None:
    """Raise OutputError when these pictures cannot be written."""
    for path in paths:
        check_writable(path, overwrite)


def _write(file: OutputFile, picture: Image) -> None:
    try:
        file.write(cv2.imencode(".png", picture)[1].tobytes())
        file.commit()
    except OSError as error:
        file.keep()
        raise OutputError(f"{file.path}: cannot be written: {error.strerror}") from error


def find(source: Source, look: Callable[[Frame], T], number: int | None) -> T:
    """What look sees in the frame of this number, or in the first one with people. Raises
    InputError when there are none."""
    looked = 0
    with closing(source.frames()) as frames:
        for frame in frames:
            looked += 1
            if number is not None and frame.index < number:
                continue
            if number is not None and frame.index > number:
                text = f"frame {number} is not among those that are read; see --start and --stride"
                raise InputError(f"{source.info.name}: {text}")
            found = look(frame)
            if len(found):
                return found
            if number is not None:
                other = "give another --explain-frame or a lower --min-score"
                text = f"frame {frame.index} shows nobody; {other}"
                raise InputError(f"{source.info.name}: {text}")
    if number is not None:
        text = f"there is no frame {number}; {looked} frames were read"
        raise InputError(f"{source.info.name}: {text}")
    raise InputError(f"{source.info.name}: nobody was found in {looked} frames")


def take_steps(
    detector: Detector, pose: Network, options: Options, blur: bool, frame: Frame
) -> Steps:
    """What the networks make of those in a frame whom a run shows; blur: with everybody's faces
    covered, also of those who are left out here."""
    found, spec = detector([frame])[0], pose.spec
    crops = cut([frame], [found], spec.input_wh, spec.padding)
    heatmaps = estimate(pose, crops)
    points, scores = decode(heatmaps, options.method, spec.grid, spec.input_wh, spec.sigma)
    people = _poses_of(points, scores, crops, found)
    picture = frame.image
    if blur:
        picture = picture.copy()
        cover(picture, heads_of(people, NOBODY))
        crops = cut([replace(frame, image=picture)], [found], spec.input_wh, spec.padding)
    crops = _as_seen(crops, takes_narrow(pose))
    steps = Steps(frame.index, picture, found, crops, heatmaps, points, people, frame.aspect)
    return steps[_shown_by_a_run(people, options.min_score)]


def _poses_of(points_xy: Float, scores: Float, crops: Crops, found: Detections) -> Poses:
    """Everybody who was found, with the score 0 where a joint is no number."""
    each = [found[n : n + 1] for n in range(len(found))]
    alone = to_poses(points_xy, scores, crops.crop_to_frame, each)[0]  # nobody where that is so
    return Poses(
        geometry.apply(crops.crop_to_frame, points_xy),
        scores,
        found.boxes_xyxy,
        np.array([one.scores[0] if len(one) else 0 for one in alone], np.float32),
        np.full(len(found), -1, np.int64),
    )


def _shown_by_a_run(people: Poses, least: float) -> NDArray[np.int64]:
    """Whom (M,) a run does not leave out: their scores are high enough, they are not there twice,
    and every joint is a number."""
    finite = np.isfinite(people.joints_xy).all((1, 2)) & np.isfinite(people.joint_scores).all(1)
    sure = np.flatnonzero(finite & (people.scores >= least))
    return sure[without_doubles(people[sure])]


def _as_seen(crops: Crops, narrow: bool) -> Crops:
    """With black sides where a network with narrow crops does not look; slim are those people."""
    slim = crops.slim & narrow
    middle = geometry.narrow_columns((crops.pixels.shape[2], crops.pixels.shape[1]))
    crops.pixels[slim, :, : middle.start] = 0
    crops.pixels[slim, :, middle.stop :] = 0
    return replace(crops, slim=slim)


def explained(steps: Steps, min_joint_score: float = MIN_JOINT_SCORE) -> list[Image]:
    """The five pictures, uint8 (H, W, 3) BGR, in the order of NAMES."""
    style = Style(min_joint_score)
    pictures: Sequence[Callable[[], Image]] = (
        lambda: detections_page(steps),
        lambda: crops_page(steps),
        lambda: heatmaps_page(steps),
        lambda: joints_page(steps, style),
        lambda: poses_page(steps, style),
    )
    return [make() for make in pictures]


def detections_page(steps: Steps) -> Image:
    picture, scale = _whole(steps)
    boxes = _scaled(steps.detections.boxes_xyxy, np.tile(scale, 2))
    for n, box in enumerate(boxes, 1):
        _box(picture, box, n)
    taken: list[Float] = []
    for n, (box, score) in enumerate(zip(boxes, steps.detections.scores.tolist()), 1):
        taken.append(_tag(picture, f"{n}: {score:.2f}", box, n, taken))
    text = (
        f"The detector looks at the whole frame {steps.number}, scaled to its input, and gives a"
        " box and a score for each person."
    )
    return page("1 Who is there", text, picture)


def crops_page(steps: Steps) -> Image:
    tiles = []
    boxes = _boxes_in_crops(steps)
    for n in range(min(len(steps.poses), MOST)):
        tile = enlarged(steps.crops.pixels[n], steps.scale)
        _box(tile, boxes[n], n + 1)
        tiles.append(Tile(tile, f"person {n + 1}"))
    wide, tall = steps.crops.pixels.shape[2], steps.crops.pixels.shape[1]
    sides = ", and so are the sides of slim people, which are left out"
    sides = sides if steps.crops.slim.any() else ""
    squeezed = " Its pixels are not square: so the network sees people squeezed."
    squeezed = squeezed if steps.picture is not true_shape(steps.picture, steps.aspect) else ""
    text = (
        f"Each box grows to the network's aspect of {wide} x {tall}, with some air around it, and"
        f" is scaled to that size. What lies outside of the frame is black{sides}."
        f"{squeezed} {_shown(steps)}"
    )
    return page("2 One picture for each person", text, grid(tiles, COLUMNS))


def heatmaps_page(steps: Steps) -> Image:
    ground = enlarged(steps.crops.pixels[0], steps.scale)
    grey = cv2.cvtColor(cv2.cvtColor(ground, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    maps = steps.heatmaps[0]
    points = (steps.points_xy[0] + 0.5) * steps.scale - 0.5
    tiles = []
    for name, heat, point, score in zip(
        JOINTS, maps, points, steps.poses.joint_scores[0].tolist(), strict=True
    ):
        tile = _heated(np.asarray(grey, np.uint8), heat)
        _cross(tile, point)
        tiles.append(Tile(tile, f"{name.replace('_', ' ')} {score:.2f}"))
    tiles.append(Tile(_heated(np.asarray(grey, np.uint8), maps.max(0)), "all joints"))
    size = f"{maps.shape[2]} x {maps.shape[1]}"
    text = (
        f"For person 1 the network gives a map of {size} cells for each of the {len(maps)} joints:"
        " how likely the joint is there. The cross is the peak, refined below one cell; its height"
        " is the score."
    )
    return page("3 Where is each joint", text, grid(tiles, COLUMNS))


def joints_page(steps: Steps, style: Style) -> Image:
    tiles = []
    boxes = _boxes_in_crops(steps)
    for n in range(min(len(steps.poses), MOST)):
        joints = ((steps.points_xy[n] + 0.5) * steps.scale - 0.5).astype(np.float32)
        one = steps.poses[n : n + 1]
        here = Poses(
            joints[None], one.joint_scores, boxes[n][None], one.scores, np.array([-1], np.int64)
        )
        tile = draw(Frame(0, 0.0, enlarged(steps.crops.pixels[n], steps.scale)), here, style)
        known = int((one.joint_scores >= style.min_joint_score).sum())
        tiles.append(Tile(tile, f"person {n + 1}: {known} of {len(JOINTS)}"))
    text = (
        f"The peaks of all maps make a pose. Joints below a score of {style.min_joint_score:g} are"
        f" hidden; below each how many are left. Blue is the person's own left,"
        f" orange the right. {_shown(steps)}"
    )
    return page("4 One pose for each person", text, grid(tiles, COLUMNS))


def poses_page(steps: Steps, style: Style) -> Image:
    picture, scale = _whole(steps)
    poses = Poses(
        _scaled(steps.poses.joints_xy, scale),
        steps.poses.joint_scores,
        _scaled(steps.poses.boxes_xyxy, np.tile(scale, 2)),
        steps.poses.scores,
        steps.poses.ids,
    )
    text = (
        "The way each crop was cut, backwards, takes the joints to where they are in the frame."
        " A video goes on from here: the tracker gives numbers that stay, smoothing takes the"
        " tremble away."
    )
    return page("5 Back in the frame", text, draw(Frame(0, 0.0, picture), poses, style))


def _shown(steps: Steps) -> str:
    """A word about those left out."""
    return f"The surest {MOST} of {len(steps.poses)} people." if len(steps.poses) > MOST else ""


def _whole(steps: Steps) -> tuple[Image, Float]:
    """A copy of the frame in its true shape, as wide as a page, and its scale (2,) in x and y."""
    seen = true_shape(steps.picture, steps.aspect)
    whole = enlarged(seen, WIDE / seen.shape[1])
    sizes = whole.shape[1::-1], steps.picture.shape[1::-1]
    return whole, np.divide(*sizes, dtype=np.float32)


def _scaled(points: Float, scale: Float) -> Float:
    """Points (..., K) of the frame in a picture of it that is enlarged by scale (K,)."""
    return ((points + 0.5) * scale - 0.5).astype(np.float32)


def _boxes_in_crops(steps: Steps) -> Float:
    """The detected boxes (N, 4) in the pixels of their tiles."""
    to_crop = geometry.invert(steps.crops.crop_to_frame)
    corners = geometry.apply(to_crop, steps.detections.boxes_xyxy.reshape(-1, 2, 2))
    return ((corners + 0.5) * steps.scale - 0.5).reshape(-1, 4).astype(np.float32)


def _box(picture: Image, box_xyxy: Float, number: int) -> None:
    x0, y0, x1, y1 = np.rint(np.clip(box_xyxy, -1e5, 1e5)).astype(int).tolist()
    cv2.rectangle(picture, (x0, y0), (x1, y1), RIM, 4, cv2.LINE_AA)
    cv2.rectangle(picture, (x0, y0), (x1, y1), tint(number), 2, cv2.LINE_AA)


def _tag(picture: Image, text: str, box_xyxy: Float, number: int, taken: list[Float]) -> Float:
    """Write a label at the box where no other is: above, inside or below; its place (4,)."""
    wide, tall = text_size(text, TAG)
    x0, y0, _, y1 = np.rint(box_xyxy).astype(int).tolist()
    x = max(0, min(x0, picture.shape[1] - wide))
    lines = [y for y in (y0 - tall - 2, y0 + 3, y1 - tall - 3, y1 + 2) if y >= 0]
    places = np.array([(x, y, x + wide, y + tall) for y in lines], np.float32)
    others = np.array(taken, np.float32).reshape(-1, 4)
    free = np.flatnonzero(~(geometry.iou(places, others) > 0).any(1))
    place = places[free[0] if len(free) else 0]
    write(picture, text, (x, round(float(place[1]))), TAG, tint(number))
    return np.asarray(place)


def _heated(grey: Image, heat: Float) -> Image:
    """The picture with the map over it: the warmer, the more it covers."""
    size = grey.shape[1], grey.shape[0]
    heat = np.nan_to_num(heat, posinf=0, neginf=0)
    share = np.clip(cv2.resize(heat, size, interpolation=cv2.INTER_LINEAR), 0, 1)[..., None]
    warm = cv2.applyColorMap((255 * share).astype(np.uint8), cv2.COLORMAP_INFERNO)
    mix = np.minimum(1.6 * share, 0.92)
    return np.asarray(np.rint(grey * 0.55 * (1 - mix) + warm * mix), np.uint8)


def _cross(picture: Image, point: Float) -> None:
    if not np.isfinite(point).all():
        return
    at = np.rint(np.clip(point, -1e5, 1e5)).astype(int).tolist()
    cv2.drawMarker(picture, at, RIM, cv2.MARKER_CROSS, 15, 4, cv2.LINE_AA)
    cv2.drawMarker(picture, at, LIGHT, cv2.MARKER_CROSS, 13, 1, cv2.LINE_AA)
