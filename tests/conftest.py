"""Property tests take the same examples in every run and are not timed: the machine may be busy."""

import os
import signal
from collections.abc import Iterator

import pytest
from commandline import end_all
from hypothesis import settings
from rtsp import Server

# Threads that wait by counting take the cores from the tests beside: half the time of trainings.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Ray gives its workers the cores that nobody else wants: beside other tests there are none.
os.environ.setdefault("RAY_worker_niceness", "0")
settings.register_profile("posestream", deadline=None, derandomize=True)
settings.load_profile("posestream")


@pytest.fixture(autouse=True)
def _signals_are_heard() -> None:
    """A test's processes ignore what this one ignores: after a run in it, or under nohup."""
    for name, usual in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """No process of the command line outlives its test."""
    yield
    end_all()


@pytest.fixture
def server() -> Iterator[Server]:
    """An RTSP server, not up yet, for tests that know that it is available."""
    server = Server()
    try:
        yield server
    finally:
        server.down()


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """The name of an X server of this module's own, for tests that know that there is one."""
    from xserver import x_server  # loads cv2

    with x_server() as name:
        yield name
