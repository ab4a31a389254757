"""The built-in demo scene: people whose true joints are known, before cluttered places."""

from realtime.scene.scene import Scene, Truth

__all__ = ["Scene", "Truth"]
