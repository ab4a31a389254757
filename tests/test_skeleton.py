"""The COCO-17 constants agree with each other and with pycocotools."""

import numpy as np
import pytest

from realtime.skeleton import JOINT_COUNT, JOINTS, LEFT, LIMBS, MIRROR, OKS_SIGMAS, RIGHT


def test_mirror_swaps_left_and_right_and_nothing_else():
    for joint, other in enumerate(MIRROR):
        swapped = {"left": "right", "right": "left"}
        side, _, rest = JOINTS[joint].partition("_")
        expected = f"{swapped[side]}_{rest}" if side in swapped else JOINTS[joint]
        assert JOINTS[other] == expected
    np.testing.assert_array_equal(MIRROR[MIRROR], np.arange(JOINT_COUNT))
    assert [int(MIRROR[j]) for j in LEFT] == list(RIGHT)


def test_sides_are_all_joints_but_the_nose():
    assert len(set(JOINTS)) == JOINT_COUNT == 17
    assert sorted((*LEFT, *RIGHT)) == list(range(1, 17))


def test_limbs_connect_everybody_once_and_mirror_to_limbs():
    assert len({frozenset(limb) for limb in LIMBS}) == len(LIMBS) == 19
    assert {joint for limb in LIMBS for joint in limb} == set(range(17))
    mirrored = {frozenset((int(MIRROR[a]), int(MIRROR[b]))) for a, b in LIMBS}
    assert mirrored == {frozenset(limb) for limb in LIMBS}


def test_sigmas_are_those_of_pycocotools_and_the_same_on_both_sides():
    np.testing.assert_array_equal(OKS_SIGMAS, OKS_SIGMAS[MIRROR])
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    np.testing.assert_allclose(OKS_SIGMAS, cocoeval.Params("keypoints").kpt_oks_sigmas, rtol=1e-6)
