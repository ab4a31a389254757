"""Which annotations of a COCO file are people, and which of their keypoints are the 17 joints.

Tools that label number and name categories as they like, and keep joints in the order in which they
were drawn: what a file says of its categories decides, not what is usual.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from realtime.errors import InputError
from realtime.skeleton import JOINT_COUNT, JOINTS
from train.coco_values import is_id, short

PERSON = 1
"""Category id of people in COCO, where a file does not say."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Of a category's keypoints. count: how many; places: where the 17 joints are among them."""

    count: int = JOINT_COUNT
    places: tuple[int, ...] = tuple(range(JOINT_COUNT))


@dataclass(frozen=True, slots=True)
class Categories:
    """people: the layout of each category of people, by its id; others: ids of all others, None
    where the file has no list of categories."""

    people: Mapping[int, Layout]
    others: frozenset[int] | None

    def layout(self, entry: Mapping[str, Any]) -> Layout | None:
        """Of an annotation; None for what is no person. Raises InputError for a category that the
        file does not know."""
        ident = entry.get("category_id", next(iter(self.people)))
        if isinstance(ident, (int, float)):
            if ident in self.people:
                return self.people[int(ident)]
            if self.others is None or ident in self.others:
                return None
        raise InputError(f'category_id {short(ident)} is not in the list "categories"')


def categories_of(content: Mapping[str, Any]) -> Categories:
    """The categories of a file. People are those named person; where there are none, those with
    the joints of COCO. Raises InputError where there are none either, or of other joints."""
    listed = content.get("categories")
    if listed is None:
        return _unlisted(content["annotations"])
    entries = [c for c in listed if isinstance(c, dict)] if isinstance(listed, list) else []
    entries = [c for c in entries if is_id(c.get("id"))]
    people = [c for c in entries if _plain(c.get("name")) == "person"]
    people = people or [c for c in entries if set(JOINTS) <= set(_names(c))]
    if not people:
        names = ", ".join(short(c.get("name")) for c in entries[:5]) or "none with a number as id"
        raise InputError(f"has no category named person, but {names}; name it so in the file")
    layouts = {int(c["id"]): _layout(c) for c in people}
    return Categories(layouts, frozenset(int(c["id"]) for c in entries) - set(layouts))


def _unlisted(annotations: list[Any]) -> Categories:
    """Of a file that does not list categories."""
    found = [a.get("category_id", PERSON) for a in annotations if isinstance(a, dict)]
    if found and PERSON not in found:
        raise InputError(
            f'has no list "categories", and no annotation has category_id {PERSON}, which is '
            f"COCO's person; the first has {short(found[0])}"
        )
    return Categories({PERSON: Layout()}, None)


def _layout(category: Mapping[str, Any]) -> Layout:
    names = _names(category)
    if not names:
        return Layout()
    if missing := [joint for joint in JOINTS if joint not in names]:
        lacking = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise InputError(
            f"the keypoints of its person are not the 17 of COCO: no {lacking}; name them so, "
            "with v = 0 for what is not labelled"
        )
    return Layout(len(names), tuple(names.index(joint) for joint in JOINTS))


def _names(category: Mapping[str, Any]) -> list[str]:
    """The names of a category's keypoints, as JOINTS are written."""
    names = category.get("keypoints")
    return list(map(_plain, names)) if isinstance(names, (list, tuple)) else []


def _plain(name: object) -> str:
    return re.sub(r"[\W_]+", "_", name.strip().lower()) if isinstance(name, str) else ""
