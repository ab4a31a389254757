"""Model files known by their SHA-256: what each expects and gives, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engines.base import ModelSpec

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A file by its content. spec.path is only the usual file name; source is where the same
    bytes are published."""

    spec: ModelSpec
    source: str


KNOWN = (
    KnownModel(
        ModelSpec(
            name="detector-rtmdet-nano",
            task="detector",
            format="rtmdet",
            input_wh=(320, 320),
            path=Path("detector_rtmdet_nano_person.onnx"),
            sha256="b8585adb6d1352796f6e86337e09c3459b830645a7e7192d9381670bea2facbd",
            batch=1,
            mean=(103.53, 116.28, 123.675),
            std=(57.375, 57.12, 58.395),
            licence="Apache-2.0",
            verified=True,
        ),
        "github.com/open-mmlab/mmpose 50ad8ce projects/rtmpose/examples/RTMPose-Deploy/Windows/"
        "OnnxRumtime-CPU/resource/model/rtmpose-cpu/rtmpose-ort/rtmdet-nano/end2end.onnx",
    ),
    KnownModel(
        ModelSpec(
            name="detector-yolox-nano",
            task="detector",
            format="yolox",
            input_wh=(416, 416),
            path=Path("detector_yolox_nano.onnx"),
            sha256="c789161ed43c8269fcd4e67c67eeeb4e80c622da2eb296a20bc6007bd18a0b7d",
            batch=1,
            licence="Apache-2.0",
            verified=True,
        ),
        "github.com/opencv/opencv_zoo 371cb24 models/object_detection_yolox/yolox_nano.onnx",
    ),
    KnownModel(
        ModelSpec(
            name="detector-nanodet",
            task="detector",
            format="nanodet",
            input_wh=(416, 416),
            path=Path("object_detection_nanodet_2022nov.onnx"),
            sha256="4b82da9944b88577175ee23a459dce2e26e6e4be573def65b1055dc2d9720186",
            batch=1,
            mean=(103.53, 116.28, 123.675),
            std=(57.375, 57.12, 58.395),
            licence="Apache-2.0",
            verified=True,
        ),
        "github.com/opencv/opencv_zoo models/object_detection_nanodet",
    ),
    KnownModel(
        ModelSpec(
            name="detector-yolox-s",
            task="detector",
            format="yolox",
            input_wh=(640, 640),
            path=Path("object_detection_yolox_2022nov.onnx"),
            sha256="c5c2d13e59ae883e6af3b45daea64af4833a4951c92d116ec270d9ddbe998063",
            batch=1,
            licence="Apache-2.0",
            verified=True,
        ),
        "github.com/opencv/opencv_zoo models/object_detection_yolox",
    ),
    KnownModel(
        ModelSpec(
            name="ultralight-simplepose",
            task="pose",
            format="heatmaps",
            input_wh=(192, 256),
            path=Path("pose_ultralight_simplepose.onnx"),
            sha256="401b3204f5998970c17678f8acc53d798ec79ce5c7b02167067c5b71c954a786",
            rgb=True,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            grid="corner",
            licence="none stated",
            verified=True,
        ),
        "github.com/dog-qiuqiu/Ultralight-SimplePose 40f9b5d model/deploy.onnx",
    ),
    KnownModel(
        ModelSpec(
            name="pose-resnet18-start",
            task="pose",
            format="heatmaps",
            input_wh=(192, 256),
            path=Path("pose_resnet18_start.safetensors"),
            sha256="e70f5aeb33269dc7d3ece7eda85275cbd9fba6e633e039c910695fe1a6dbadcd",
            rgb=True,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            licence="see its model card",
            container="safetensors",
            verified=True,
        ),
        "trained by this project; not published",
    ),
)

BY_SHA256 = {known.spec.sha256: known for known in KNOWN}
NAMES = frozenset(known.spec.name for known in KNOWN)
