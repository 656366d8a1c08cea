import struct

import cv2
import numpy as np
import pytest

from cloud.errors import ImageRefusedError
from cloud.pictures import PictureInfo, check_picture, measure

JPEG = PictureInfo("image/jpeg", 40, 30)
PNG = PictureInfo("image/png", 40, 30)
MAX_PIXELS = 50_000_000


def encode(kind: str) -> bytes:
    noise = np.random.default_rng(1).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    return cv2.imencode(kind, noise)[1].tobytes()


def bomb() -> bytes:
    content = bytearray(encode(".png"))
    content[16:24] = struct.pack(">II", 50_000, 50_000)
    return bytes(content)


@pytest.mark.parametrize(("kind", "info"), [(".jpg", JPEG), (".png", PNG)])
def test_a_good_picture_is_measured_and_passes(kind: str, info: PictureInfo) -> None:
    content = encode(kind)
    assert measure(content) == info
    check_picture(content, info, max_pixels=MAX_PIXELS)


@pytest.mark.parametrize(
    ("content", "said", "phrase"),
    [
        pytest.param(encode(".jpg")[:-400], JPEG, "cut off", id="truncated JPEG"),
        pytest.param(encode(".png")[:-20], PNG, "cut off", id="truncated PNG"),
        pytest.param(encode(".png"), JPEG, "sent as", id="PNG named JPEG"),
        pytest.param(encode(".jpg"), PictureInfo("image/jpeg", 41, 30), "sender says",
                     id="another size"),
        pytest.param(bomb(), PictureInfo("image/png", 50_000, 50_000), "over the limit",
                     id="decompression bomb"),
        pytest.param(b"\xff\xd8\xff", JPEG, "ends within", id="nothing but a start"),
        pytest.param(b"", JPEG, "neither", id="empty"),
        pytest.param(b"GIF89a", JPEG, "neither", id="GIF"),
        pytest.param(encode(".png")[:60] + b"\0" * 40 + b"IEND", PNG, "decoded", id="no pixels"),
    ],
)  # fmt: skip
def test_a_picture_that_is_not_what_it_says_is_refused(
    content: bytes, said: PictureInfo, phrase: str
) -> None:
    with pytest.raises(ImageRefusedError, match=phrase):
        check_picture(content, said, max_pixels=MAX_PIXELS)
