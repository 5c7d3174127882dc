"""Image files of every kind that users have, and those that are broken."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from sslx.data import decode as decoder
from sslx.data.decode import decode


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def colours(height: int = 12, width: int = 20) -> np.ndarray:
    """A picture without symmetry, smooth enough for JPEG."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 20, columns * 10, rows * 5 + columns * 5], -1).astype(np.uint8)


def test_colour_and_gray_become_what_is_asked_for():
    colour, gray = colours(), colours()[..., 0]
    png = encoded(Image.fromarray(colour))
    np.testing.assert_array_equal(decode(png, 0, 3), colour)
    np.testing.assert_array_equal(
        decode(png, 0, 1)[..., 0], np.asarray(Image.fromarray(colour).convert("L"))
    )
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(gray)), 0, 1), gray[..., None])
    np.testing.assert_array_equal(
        decode(encoded(Image.fromarray(gray)), 0, 3), np.stack([gray] * 3, -1)
    )
    np.testing.assert_array_equal(decode(colour, 0, 3), colour)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_pictures_are_turned_upright_by_exif(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(colours())
    decoded = decode(
        encoded(image, kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {})), 0, 3
    )
    # What a camera stored that was held in each of the eight ways; NumPy's turns, not Pillow's.
    upright = {
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.transpose(1, 0, 2),
        6: lambda x: np.rot90(x, -1),
        7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
        8: lambda x: np.rot90(x, 1),
    }[orientation](colours())
    assert decoded.shape == upright.shape
    assert np.abs(decoded.astype(int) - upright).mean() < (3 if kind == "JPEG" else 1e-9)


def test_what_is_transparent_lies_on_white():
    pixels = np.dstack([colours(), np.full((12, 20), 255, np.uint8)])
    pixels[:6, :, 3] = 0
    pixels[6, :, 3] = 51
    decoded = decode(encoded(Image.fromarray(pixels, "RGBA")), 0, 3)
    assert (decoded[:6] == 255).all()
    np.testing.assert_array_equal(decoded[7:], colours()[7:])
    np.testing.assert_allclose(decoded[6], 0.2 * colours()[6] + 0.8 * 255, atol=1)
    gray = decode(encoded(Image.fromarray(pixels[..., 2:], "LA")), 0, 1)
    assert (gray[:6] == 255).all()
    palette = Image.fromarray(colours()).quantize(8)
    assert (
        decode(encoded(palette, transparency=palette.getpixel((0, 0))), 0, 3)[0, 0] == 255
    ).all()


def test_sixteen_bits_become_eight_and_thirty_two_are_refused():
    deep = (colours()[..., 0].astype(np.uint16)) * 257
    np.testing.assert_array_equal(
        decode(encoded(Image.fromarray(deep)), 0, 1)[..., 0], colours()[..., 0]
    )
    with pytest.raises(ValueError, match="32 bits"):
        decode(encoded(Image.fromarray(deep.astype(np.float32)), "TIFF"), 0, 1)


def test_cmyk_and_palettes_are_colours():
    cmyk = Image.fromarray(colours()).convert("CMYK")
    assert (
        np.abs(decode(encoded(cmyk, "JPEG", quality=95), 0, 3).astype(int) - colours()).mean() < 4
    )
    palette = Image.fromarray(colours()).quantize(256)
    np.testing.assert_array_equal(
        decode(encoded(palette, "GIF"), 0, 3), np.asarray(palette.convert("RGB"))
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_a_file_that_is_cut_off_is_refused(kind):
    rng = np.random.default_rng(0)
    whole = encoded(Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)), kind)
    decode(whole, 0, 3)
    for length in (len(whole) // 2, len(whole) * 9 // 10, 10, 0):
        with pytest.raises(ValueError, match=r"^[^<\n]+$"):
            decode(whole[:length], 0, 3)


def test_opencv_gives_pillow_s_bits_where_it_is_installed(monkeypatch):
    pytest.importorskip(
        "cv2", reason="opencv-python-headless is not installed; pip install sslx[fast]"
    )
    rng = np.random.default_rng(0)
    for height, width, quality, subsampling in (
        (33, 47, 75, 2),
        (64, 64, 95, 0),
        (224, 200, 90, 1),
    ):
        noise = rng.normal(size=(height // 4 + 1, width // 4 + 1, 3)) * 60 + 128
        smooth = Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8)).resize(
            (width, height), Image.BICUBIC
        )
        files = [(encoded(smooth, "JPEG", quality=quality, subsampling=subsampling), 3)]
        files.append((encoded(smooth.convert("L"), "JPEG", quality=quality), 1))
        for content, channels in files:
            fast = decode(content, 0, channels)
            with monkeypatch.context() as patch:
                patch.setattr(decoder, "cv2", None)
                np.testing.assert_array_equal(decode(content, 0, channels), fast)
            with pytest.raises(ValueError, match="truncated"):
                decode(content[: len(content) * 2 // 3], 0, channels)


def test_nothing_needs_opencv():
    program = (
        "import sys; sys.modules['cv2'] = None; from sslx.data.decode import cv2; assert cv2 is "
        "None"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
