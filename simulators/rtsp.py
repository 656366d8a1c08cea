"""An RTSP camera over simulated parts: JPEG in RTP (RFC 2435), inside the RTSP connection itself.

It speaks what a player needs, OPTIONS to TEARDOWN, to any number of viewers; interleaved TCP only.
"""

import itertools
import socketserver
import struct
from collections.abc import Iterator

from simulators.camera import NetworkCamera

MAX_PAYLOAD = 1400
JPEG_PAYLOAD_TYPE = 26
CLOCK_HZ = 90_000
LAST_PACKET = 0x80
TABLES_INSIDE = 255
"""Q value of RFC 2435: the quantization tables come with the first packet of a frame."""
START_OF_FRAME, TABLES, SCAN = 0xC0, 0xDB, 0xDA
HALVED_COLOUR = 0x22
"""Sampling factors of the brightness in 4:2:0; 0x21 is 4:2:2."""
SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=sightline\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 26\r\nc=IN IP4 0.0.0.0\r\na=control:track1\r\n"
)


class RtspCamera(NetworkCamera):
    """Parts over RTSP; their pictures are baseline JPEG, as OpenCV writes it."""

    scheme = "rtsp"

    def _make_server(self, address: tuple[str, int]) -> socketserver.ThreadingTCPServer:
        return socketserver.ThreadingTCPServer(address, self._handler())

    def _packets(self) -> Iterator[bytes]:
        """RTP packets of frame after frame; empty between two frames."""
        sequence = itertools.count()
        for number in itertools.count():
            if self._stopping.wait(self._period_s):
                return
            picture = self._next_frame()
            stamp = int(number * self._period_s * CLOCK_HZ) & 0xFFFFFFFF
            if picture is not None:
                yield from rtp_packets(picture, stamp, sequence)
            yield b""

    def _handler(self) -> type[socketserver.StreamRequestHandler]:
        camera = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                try:
                    while self._answer():
                        pass
                except (BrokenPipeError, ConnectionResetError):
                    return  # the viewer left

            def _answer(self) -> bool:
                """One request; PLAY streams until the viewer leaves."""
                request = self.rfile.readline().decode(errors="replace").split()
                headers = {}
                while line := self.rfile.readline().decode(errors="replace").strip():
                    name, _, value = line.partition(":")
                    headers[name.lower()] = value.strip()
                if not request:
                    return False
                self._reply(request[0], headers.get("cseq", "0"))
                if request[0] == "PLAY":
                    for packet in camera._packets():
                        if packet:
                            self.wfile.write(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
                return request[0] not in {"PLAY", "TEARDOWN"}

            def _reply(self, method: str, number: str) -> None:
                lines = ["RTSP/1.0 200 OK", f"CSeq: {number}", "Session: 1"]
                body = SDP if method == "DESCRIBE" else ""
                if method == "OPTIONS":
                    lines.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
                if method == "SETUP":
                    lines.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
                if body:
                    lines += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
                self.wfile.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())

        return Handler


def rtp_packets(picture: bytes, stamp: int, sequence: Iterator[int]) -> Iterator[bytes]:
    """Cut a JPEG into RTP packets.

    Args:
        picture: Baseline JPEG with the standard Huffman tables, 4:2:0 or 4:2:2.
        stamp: RTP time of the frame.
        sequence: Numbers of the packets.
    """
    frame = _Jpeg(picture)
    tables = struct.pack(">BBH", 0, 0, len(frame.tables)) + frame.tables
    for start in range(0, len(frame.scan), MAX_PAYLOAD):
        chunk = frame.scan[start : start + MAX_PAYLOAD]
        marker = LAST_PACKET if start + MAX_PAYLOAD >= len(frame.scan) else 0
        number = next(sequence) & 0xFFFF
        head = struct.pack(">BBHII", 0x80, marker | JPEG_PAYLOAD_TYPE, number, stamp, 1)
        offset = struct.pack(">I", start)  # the first byte is type specific: 0
        form = bytes((frame.kind, TABLES_INSIDE, frame.width // 8, frame.height // 8))
        yield head + offset + form + (b"" if start else tables) + chunk


class _Jpeg:
    """What RFC 2435 sends of a JPEG file: size, sampling, quantization tables, scan."""

    def __init__(self, picture: bytes) -> None:
        self.tables = b""
        at = 2
        while picture[at + 1] != SCAN:
            marker, (length,) = picture[at + 1], struct.unpack_from(">H", picture, at + 2)
            body = picture[at + 4 : at + 2 + length]
            if marker == TABLES:
                # Each table: one byte of precision and number, 64 of values.
                self.tables += b"".join(body[i + 1 : i + 65] for i in range(0, len(body), 65))
            elif marker == START_OF_FRAME:
                self.height, self.width = struct.unpack_from(">HH", body, 1)
                self.kind = 1 if body[7] == HALVED_COLOUR else 0
            at += 2 + length
        (length,) = struct.unpack_from(">H", picture, at + 2)
        self.scan = picture[at + 2 + length : -2]
