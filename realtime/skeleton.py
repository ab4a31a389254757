"""COCO-17 as data: joints, limbs, mirror pairs and the spread of human labels.

Order, limbs and sigmas are those of the COCO keypoint task (https://cocodataset.org/#keypoints-eval;
sigmas as in pycocotools cocoeval.Params.kpt_oks_sigmas).
"""

import numpy as np

JOINTS = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
JOINT_COUNT = len(JOINTS)

LIMBS = (
    (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8),
    (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
)  # fmt: skip
"""The 19 limbs of the COCO category 'person', zero-based."""

MIRROR = np.array([0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15])
"""joints[MIRROR] are the joints of the person seen in a mirror."""

LEFT = tuple(j for j, name in enumerate(JOINTS) if name.startswith("left_"))
RIGHT = tuple(j for j, name in enumerate(JOINTS) if name.startswith("right_"))

OKS_SIGMAS = np.array(
    [.026, .025, .025, .035, .035, .079, .079, .072, .072, .062, .062, .107, .107, .087, .087,
     .089, .089], np.float32,
)  # fmt: skip
"""Standard deviation of human labels as a share of sqrt(area); OKS uses twice these."""
