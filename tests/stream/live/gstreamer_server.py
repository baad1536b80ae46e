"""An RTSP server of GStreamer's, run by the system's Python: port, user, password, file.

Serves `/mjpeg` with sound to who knows the password, and writes what is pushed to `/push` into
the file.
"""

import sys
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

ROLE = "viewer,media.factory.access=true,media.factory.construct=true"
port, user, password, file = sys.argv[1:]
Gst.init(None)
server = GstRtspServer.RTSPServer.new()
server.set_address("127.0.0.1")
server.set_service(port)

auth = GstRtspServer.RTSPAuth.new()
token = GstRtspServer.RTSPToken()
token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, "viewer")
auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
server.set_auth(auth)


def factory(launch: str) -> Any:
    made = GstRtspServer.RTSPMediaFactory.new()
    made.set_launch(launch)
    made.add_role_from_structure(Gst.Structure.new_from_string(ROLE))
    return made


camera = factory(
    "( videotestsrc is-live=true ! video/x-raw,format=I420,width=64,height=48,framerate=25/1 "
    "! jpegenc ! rtpjpegpay name=pay0 audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 "
    "! alawenc ! rtppcmapay name=pay1 )"
)
camera.set_shared(True)
push = factory(
    "( rtph264depay name=depay0 ! video/x-h264,stream-format=byte-stream "
    f"! filesink buffer-mode=2 sync=false location={file} "
    "rtpmp4gdepay name=depay1 ! fakesink sync=false )"
)
push.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
mounts = server.get_mount_points()
mounts.add_factory("/mjpeg", camera)
mounts.add_factory("/push", push)
server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
