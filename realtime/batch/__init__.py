"""Many videos over many workers: python -m realtime.batch (docs/cluster.md).

The process that is started (here: the head) finds the files, hands out work, and writes all
results; the workers, which Ray starts on this machine or on a cluster, only read videos and give
poses back. So results need no shared disk, and there is one place where a file counts as done.
"""
