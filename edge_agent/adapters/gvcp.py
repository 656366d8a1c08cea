"""Asks a GigE Vision camera for a sign of life, faster than a driver's retries would.

The GigE Vision control protocol (GVCP) answers register reads on UDP port 3956, also to those who
do not control the camera; a refusal is an answer too.
"""

import socket
import struct

PORT = 3956
KEY = 0x42
WANTS_ANSWER = 0x01
READ_REGISTER = 0x0080
VERSION_REGISTER = 0x0000
"""Every device has it."""
TRY_S = 0.08
"""A camera on its network answers within a millisecond."""
NUM_TRIES = 3


def answers(address: str, *, try_s: float = TRY_S, num_tries: int = NUM_TRIES) -> bool:
    """Whether the device at an address answers one of the tries."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.settimeout(try_s)
        for request_id in range(1, num_tries + 1):
            head = (KEY, WANTS_ANSWER, READ_REGISTER, 4, request_id)
            try:
                channel.sendto(struct.pack(">BBHHHI", *head, VERSION_REGISTER), (address, PORT))
                if len(channel.recv(64)) >= 8:
                    return True
            except OSError:
                continue  # silence, or the host says that nobody listens
    return False
