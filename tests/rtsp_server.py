#!/usr/bin/python3
"""A camera on 127.0.0.1: rtsp_server.py PORT [WIDTH HEIGHT RATE [udp]] serves
rtsp://127.0.0.1:PORT/cam; with udp it sends its video in no other way.

For the system's Python with GStreamer (Debian: python3-gi gir1.2-gst-rtsp-server-1.0
gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly). Faults: SIGSTOP and
SIGCONT (a stall while the connection stays up), SIGKILL, another size after a restart.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

LAUNCH = (
    "( videotestsrc is-live=true pattern=ball ! "
    "video/x-raw,width={width},height={height},framerate={rate}/1 ! videoconvert ! "
    "x264enc tune=zerolatency speed-preset=ultrafast key-int-max={rate} ! "
    "rtph264pay name=pay0 pt=96 config-interval=1 )"
)


def main() -> None:
    port, *mode = sys.argv[1:]
    width, height, rate, *udp = mode or ("320", "240", "15")
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_service(port)
    server.set_address("127.0.0.1")
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(LAUNCH.format(width=width, height=height, rate=rate))
    factory.set_shared(True)
    if udp:
        factory.set_protocols(GstRtsp.RTSPLowerTrans.UDP)
    server.get_mount_points().add_factory("/cam", factory)
    server.attach(None)
    print("ready", flush=True)
    GLib.MainLoop().run()


main()
