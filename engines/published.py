"""Public weights that ``engines pull`` can fetch, as plain data.

Nothing here was measured by this project unless it says so: the accuracies are those that the
publishers state, with where they state them. AP is that of COCO val2017, 0 to 1. Addresses are
pinned to a commit, a release or a name with a hash in it where the publisher has such a thing.
"""

from __future__ import annotations

from dataclasses import dataclass

from engines.base import Task

ZOO = "https://media.githubusercontent.com/media/opencv/opencv_zoo"
"""OpenCV Zoo keeps its models in Git LFS; this host serves their content. The hash, not the
branch in the address, says which file it has to be."""


@dataclass(frozen=True, slots=True)
class Published:
    """One fetchable file.

    digest: "sha256:" or "sha1:" and hex digits, as published; fewer digits than the hash has are
    its beginning. size: bytes of the download; where exact is False an upper bound, because only
    a rounded size or the number of parameters is published. More is never taken.
    accuracy: what --pose auto and --detector auto go by; measured: the same in words.
    importer: what makes a usable file of the download (engines.importers), empty when it is one.
    member: the one file inside the downloaded zip archive that digest belongs to.
    """

    name: str
    task: Task
    url: str
    digest: str
    size: int
    licence: str
    input: str
    accuracy: float
    measured: str
    exact: bool = True
    importer: str = ""
    member: str = ""


_ALL = (
    Published(
        name="pose-resnet18-coco",
        task="pose",
        url="https://github.com/osmr/imgclsmob/releases/download/v0.0.455/"
        "simplepose_resnet18_coco-6631-7c3656b3.pth.zip",
        digest="sha1:7c3656b35607805bdb877e7134938fd4510b2c8c",
        member="simplepose_resnet18_coco-6631-7c3656b3.pth",
        size=64_000_000,  # 15,376,721 float32 numbers and the running means of the norms
        exact=False,
        licence="MIT (pytorchcv), after GluonCV (Apache-2.0); trained on COCO",
        input="RGB, ImageNet mean and std, 192x256",
        accuracy=0.663,
        measured="AP 0.663 as published by pytorchcv; which boxes it used is not stated there",
        importer="pytorchcv",
    ),
    Published(
        name="detector-yolox-s",
        task="detector",
        url=f"{ZOO}/main/models/object_detection_yolox/object_detection_yolox_2022nov.onnx",
        digest="sha256:c5c2d13e59ae883e6af3b45daea64af4833a4951c92d116ec270d9ddbe998063",
        size=35_858_002,
        licence="Apache-2.0",
        input="BGR 0..255, letterbox 640x640; slow without a GPU (26.8 GFLOP)",
        accuracy=0.541,
        measured="AP of people 0.541 as published by OpenCV Zoo",
    ),
    Published(
        name="detector-rtmdet-nano",
        task="detector",
        url="https://raw.githubusercontent.com/open-mmlab/mmpose/"
        "50ad8ce5fda5430b323877559daf746546b64408/projects/rtmpose/examples/RTMPose-Deploy/Windows/"
        "OnnxRumtime-CPU/resource/model/rtmpose-cpu/rtmpose-ort/rtmdet-nano/end2end.onnx",
        digest="sha256:b8585adb6d1352796f6e86337e09c3459b830645a7e7192d9381670bea2facbd",
        size=4_012_393,
        licence="Apache-2.0",
        input="BGR, ImageNet mean and std, letterbox 320x320",
        accuracy=0.403,
        measured="AP of people 0.403 as published by MMPose (RTMPose, pipeline table)",
    ),
    Published(
        name="detector-yolox-nano",
        task="detector",
        # Leads to the right host whether the file is in LFS or not.
        url="https://github.com/opencv/opencv_zoo/raw/371cb249700106b50b2f934b7f18df3f9d127473/"
        "models/object_detection_yolox/yolox_nano.onnx",
        digest="sha256:c789161ed43c8269fcd4e67c67eeeb4e80c622da2eb296a20bc6007bd18a0b7d",
        size=3_659_407,
        licence="Apache-2.0",
        input="BGR 0..255, letterbox 416x416",
        accuracy=0.258,
        measured="AP of all 80 classes 0.258 as published by YOLOX; of people not published",
    ),
    Published(
        name="detector-nanodet",
        task="detector",
        url=f"{ZOO}/main/models/object_detection_nanodet/object_detection_nanodet_2022nov.onnx",
        digest="sha256:4b82da9944b88577175ee23a459dce2e26e6e4be573def65b1055dc2d9720186",
        size=3_800_954,
        licence="Apache-2.0",
        input="BGR, ImageNet mean and std, letterbox 416x416",
        accuracy=0.235,
        measured="AP of all 80 classes 0.235 as published by NanoDet for NanoDet-m 416, which the "
        "file's size and its three strides fit; OpenCV Zoo states the 0.304 (people 0.418) of "
        "NanoDet-Plus",
    ),
    Published(
        name="detector-fasterrcnn-mobilenet",
        task="detector",
        url="https://download.pytorch.org/models/fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth",
        digest="sha256:907ea3f9",
        size=77_900_000,  # published as 74.239 MiB
        exact=False,
        licence="BSD-3-Clause (torchvision); trained on COCO",
        input="RGB, ImageNet mean and std, letterbox 576x320; runs with PyTorch",
        accuracy=0.228,
        measured="AP of all 80 classes 0.228 as published by torchvision; of people not published",
        importer="torchvision",
    ),
    Published(
        name="detector-ssdlite-mobilenet",
        task="detector",
        url="https://download.pytorch.org/models/ssdlite320_mobilenet_v3_large_coco-a79551df.pth",
        digest="sha256:a79551df",
        size=14_100_000,  # published as 13.418 MiB
        exact=False,
        licence="BSD-3-Clause (torchvision); trained on COCO",
        input="RGB -1..1, letterbox 320x320; runs with PyTorch",
        accuracy=0.213,
        measured="AP of all 80 classes 0.213 as published by torchvision; of people not published",
        importer="torchvision",
    ),
)

PUBLISHED = {entry.name: entry for entry in _ALL}
