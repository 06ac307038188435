"""Local servers that send real video, live or as a file."""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import av

from conftest import draw
from waiting import wait_until

SIZE = (120, 160)
_MAX_PAYLOAD = 1200  # bytes of an RTP packet
_CLOCK = 90_000  # ticks of RTP's clock per second

Answer = Callable[[BaseHTTPRequestHandler], None]


def encode(codec: Literal["libx264", "mjpeg"], frame_rate: float, **options: str) -> Iterator[bytes]:
    """Yield drawn frames, encoded, endlessly."""
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.height, encoder.width = SIZE
    encoder.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    encoder.time_base = Fraction(1, round(frame_rate))
    encoder.options = options
    for index in itertools.count():
        frame = av.VideoFrame.from_ndarray(draw(index, SIZE), format="rgb24").reformat(format=encoder.pix_fmt)
        frame.pts = index
        for packet in encoder.encode(frame):
            yield bytes(packet)


def paced(frame_rate: float, count: int | None = None) -> Iterator[int]:
    """Yield 0, 1, 2, ... at this rate."""
    start = time.monotonic()
    for index in itertools.count() if count is None else range(count):
        time.sleep(max(0.0, start + index / frame_rate - time.monotonic()))
        yield index


def no_reader_is_left() -> bool:
    """Wait until no thread reads in the background any more."""
    wait_until(lambda: not any(thread.name.startswith("reading") for thread in threading.enumerate()))
    return True


class Camera:
    """An RTSP server with H.264 in RTP over the connection itself (RFC 2326, 10.12; RFC 6184).

    Args:
        frame_rate: frames per second.
        hurried: send as fast as the frames can be drawn, with the same timestamps.
        count: number of frames before it ends.
        ending: whether it then closes the connection or stalls.
        leap: a frame number, and by how many seconds timestamps jump ahead there.
        damaged: the frames whose second half is overwritten.
    """

    def __init__(
        self,
        *,
        frame_rate: float = 50.0,
        hurried: bool = False,
        count: int | None = None,
        ending: Literal["close", "stall"] = "close",
        leap: tuple[int, float] = (0, 0.0),
        damaged: Collection[int] = (),
    ) -> None:
        self._frame_rate = frame_rate
        self._pace = 1e6 if hurried else frame_rate
        self._count = count
        self._ending = ending
        self._leap = leap
        self._damaged = damaged
        self._stopped = threading.Event()
        self.sent = 0
        self.gone = threading.Event()
        camera = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    camera._serve(self.rfile.readline, self.request)
                camera.gone.set()

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"rtsp://127.0.0.1:{self._server.server_address[1]}/camera"

    def __enter__(self) -> Camera:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, read_line: Callable[[], bytes], connection: socket.socket) -> None:
        description = (
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
            "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track\r\n"
        )
        while True:
            request = [line.decode().strip() for line in iter(read_line, b"\r\n") if line]
            method = request[0].split()[0]
            sequence = next(line for line in request if line.lower().startswith("cseq"))
            headers, body = ["RTSP/1.0 200 OK", sequence, "Session: 1"], ""
            if method == "OPTIONS":
                headers.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
            elif method == "DESCRIBE":
                body = description
                headers += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
            elif method == "SETUP":
                headers.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
            connection.sendall("\r\n".join([*headers, "", body]).encode())
            if method == "PLAY":
                self._play(connection)
                return

    def _play(self, connection: socket.socket) -> None:
        sequence = itertools.count()
        images = encode("libx264", self._frame_rate, preset="veryfast", tune="zerolatency", g="5")
        for index, image in zip(paced(self._pace, self._count), images, strict=False):
            if self._stopped.is_set():
                return
            first, ahead = self._leap
            seconds = index / self._frame_rate + (ahead if index >= first else 0.0)
            payloads = list(_payloads(_damage(image) if index in self._damaged else image))
            for number, payload in enumerate(payloads, start=1):
                kind = 96 | 0x80 * (number == len(payloads))
                packet = struct.pack(">BBHII", 0x80, kind, next(sequence) % 2**16, round(seconds * _CLOCK), 7) + payload
                connection.sendall(b"$\0" + struct.pack(">H", len(packet)) + packet)
            self.sent = index + 1
        if self._ending == "stall":
            self._stopped.wait()


def _payloads(image: bytes) -> Iterator[bytes]:
    """Yield the NAL units of a frame, fragmented if too long."""
    for unit in filter(None, re.split(rb"\x00\x00\x00?\x01", image)):
        if len(unit) <= _MAX_PAYLOAD:
            yield unit
            continue
        pieces = [unit[at : at + _MAX_PAYLOAD] for at in range(1, len(unit), _MAX_PAYLOAD)]
        for number, piece in enumerate(pieces, start=1):
            edges = 0x80 * (number == 1) | 0x40 * (number == len(pieces))
            yield bytes([unit[0] & 0xE0 | 28, edges | unit[0] & 0x1F]) + piece


def _damage(image: bytes) -> bytes:
    return image[: len(image) // 2] + b"\xff" * (len(image) - len(image) // 2)


def _missing(handler: BaseHTTPRequestHandler) -> None:
    handler.send_error(404)


@contextmanager
def http_server(answers: dict[str, Answer], context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Run a web server with an answer for each path; yield its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.close_connection = True
            with contextlib.suppress(OSError):
                answers.get(self.path, _missing)(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    host = "http://127.0.0.1"
    if context is not None:
        host = "https://localhost"  # the name in its certificate
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"{host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def send(data: bytes, kind: str = "video/mp4", *, part: float = 1.0) -> Answer:
    """Return an answer that sends this data, or only a part of it."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[: round(part * len(data))])

    return answer


def redirect(url: str) -> Answer:
    """Return a redirection to another URL."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", url)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def grow(path: Path, seconds: float) -> Answer:
    """Return an answer that sends a file in real time, without its length."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "video/mp2t")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        data, pieces = path.read_bytes(), round(50 * seconds)
        for index in paced(50.0, pieces):
            piece = data[index * len(data) // pieces : (index + 1) * len(data) // pieces]
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        handler.wfile.write(b"0\r\n\r\n")

    return answer


def snapshots(count: int, *, pauses: dict[int, Callable[[], object]]) -> Answer:
    """Return the answer of a simple camera: JPEG images that replace each other, with pauses before some."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        handler.end_headers()
        for index, image in zip(range(count), encode("mjpeg", 25.0), strict=False):
            pauses.get(index, lambda: None)()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(image)}\r\n\r\n"
            handler.wfile.write(head.encode() + image + b"\r\n")

    return answer
