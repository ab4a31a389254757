"""Least scores and gaps, unless asked for otherwise.

How many people the bundled networks find with them, and how many of those are false, is in
engines/weights/README.md.
"""

DETECTOR_SCORE = 0.3
"""Of a box, before its joints are looked for (--detector-score)."""
MIN_SCORE = 0.3
"""Of a person who is drawn, counted and written (--min-score); half of it of somebody known."""
MIN_JOINT_SCORE = 0.3
"""Of a joint that is drawn (--min-joint-score)."""
BRIDGE = 8
"""Frames for which somebody whom the detector misses in a file keeps a box (--bridge)."""
