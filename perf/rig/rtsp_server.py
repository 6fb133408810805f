"""A real RTSP server, run by the system's Python, which has GStreamer: see rtsp.py.

Arguments: port, user:password or "", then mounts: play:NAME:CLIP or record:NAME:FOLDER.
A CLIP holds encoded frames, H.264 or by its suffix (.h265) H.265, each after its length (4 bytes,
big endian) and whether it is a key frame (1 byte); it is played in a loop at 10 frames a second.
Commands on stdin, one a line: freeze NAME, resume NAME, switch NAME CLIP.
"""

import itertools
import struct
import sys
import threading
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

FPS = 10
PLAY = (
    "( appsrc name=src is-live=true format=time do-timestamp=true "
    "caps=video/x-{0},stream-format=byte-stream,alignment=au "
    "! {0}parse ! rtp{0}pay name=pay0 pt=96 config-interval=-1 )"
)
RECORD = "( rtph264depay name=depay0 ! h264parse ! mpegtsmux ! filesink sync=false location={} )"


def read_clip(path):
    images = []
    with Path(path).open("rb") as file:
        while head := file.read(5):
            size, key = struct.unpack(">I?", head)
            images.append((file.read(size), key))
    return images


class Player(GstRtspServer.RTSPMediaFactory):
    """Plays one clip to all its viewers."""

    def __init__(self, clip):
        super().__init__()
        self.set_shared(True)
        self.codec = ""
        self.load(clip)
        self.frozen = False
        self.sources = {}
        self.connect("media-configure", self.configure)
        GLib.timeout_add(1000 // FPS, self.tick)

    def load(self, path):
        """Play a clip from its start on; whether its codec is another one."""
        codec, before = ("h265" if path.endswith(".h265") else "h264"), self.codec
        self.codec, self.clip, self.number = codec, read_clip(path), 0
        self.set_launch(PLAY.format(codec))
        return before not in ("", codec)

    def configure(self, _, media):
        """Take note of where to push frames to."""
        self.sources[media] = media.get_element().get_by_name_recurse_up("src")
        self.number = 0
        media.connect("unprepared", lambda media: self.sources.pop(media, None))

    def tick(self):
        """Push one frame."""
        if not self.frozen and self.sources:
            data, _ = self.clip[self.number % len(self.clip)]
            self.number += 1
            for source in self.sources.values():
                source.emit("push-buffer", Gst.Buffer.new_wrapped(data))
        return True


class Recorder(GstRtspServer.RTSPMediaFactory):
    """Writes what is published, each time to another file."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder
        self.numbers = itertools.count()
        self.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
        self.set_shared(True)

    def do_create_element(self, _):
        """Make the pipeline for one publisher."""
        return Gst.parse_launch(RECORD.format(f"{self.folder}/{next(self.numbers):03d}.ts"))


def main():
    Gst.init(None)
    port, credentials, *mounts = sys.argv[1:]
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    players = {}
    table = server.get_mount_points()
    for mount in mounts:
        kind, name, path = mount.split(":", 2)
        factory = Player(path) if kind == "play" else Recorder(path)
        players[name] = factory
        if credentials:
            permissions = GstRtspServer.RTSPPermissions()
            permissions.add_role("user")
            permissions.add_permission_for_role("user", "media.factory.access", True)
            permissions.add_permission_for_role("user", "media.factory.construct", True)
            factory.set_permissions(permissions)
        table.add_factory(f"/{name}", factory)
    if credentials:
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        basic = GstRtspServer.RTSPAuth.make_basic(*credentials.split(":", 1))
        auth.add_basic(basic, token)
        server.set_auth(auth)
    server.attach(None)

    def obey(line):
        command, name, *rest = line.split()
        player = players[name]
        if command == "switch":
            if player.load(rest[0]):
                # As a camera does whose codec was changed in its settings.
                server.client_filter(lambda *_: GstRtspServer.RTSPFilterResult.REMOVE)
        else:
            player.frozen = command == "freeze"
        return False

    def listen():
        for line in sys.stdin:
            GLib.idle_add(obey, line)
        GLib.idle_add(loop.quit)

    loop = GLib.MainLoop()
    threading.Thread(target=listen, daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    loop.run()


main()
