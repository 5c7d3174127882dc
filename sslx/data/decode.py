"""From an encoded image to uint8 pixels: one decoder, whatever the source of the image.

Plain JPEGs go through OpenCV where it is installed (`pip install sslx[fast]`), which is quicker and
gives the same bits as Pillow: both are libjpeg-turbo. Everything else is decoded by Pillow.
"""

import io
import re

import numpy as np
from PIL import Image, ImageOps

try:
    import cv2
except ImportError:
    cv2 = None
else:
    cv2.setNumThreads(0)  # images are decoded side by side, each by one thread

ORIENTATION = 0x0112  # EXIF's tag
END = b"\xff\xd9"  # of a JPEG; OpenCV takes one that was cut off, Pillow refuses it
TRANSPARENT = ("RGBA", "LA", "PA", "La", "RGBa")


def decode(content: bytes | np.ndarray, size: int, channels: int) -> np.ndarray:
    """Return the uint8 pixels [H, W, channels] of an image file, upright by its EXIF orientation.

    With size > 0 they are cut by `square`. Gray images become colour and colour ones gray as
    `channels` (1 or 3) asks, 16 bits become 8, and what is transparent lies on white. Pixels uint8
    [H, W] or [H, W, channels] in place of bytes are only cut. Raises ValueError, with the reason,
    for what is no image or ends too early.
    """
    if isinstance(content, np.ndarray):
        return square(content, size)
    if not content:
        raise ValueError("the file is empty")
    try:
        with Image.open(io.BytesIO(content)) as file:
            return square(_pixels(file, content, channels), size)
    except Exception as error:  # Pillow raises a dozen types, SyntaxError and struct.error too
        reason = re.sub(r" <_io.BytesIO object at \w+>", "", str(error)) or type(error).__name__
        raise ValueError(reason) from error


def _pixels(file: Image.Image, content: bytes, channels: int) -> np.ndarray:
    mode = "L" if channels == 1 else "RGB"
    upright = "exif" not in file.info or file.getexif().get(ORIENTATION, 1) == 1
    plain = file.format == "JPEG" and upright and file.mode == mode
    if cv2 is not None and plain and content.endswith(END):
        colours = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR_RGB
        flags = colours | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        if pixels is not None:
            return pixels
    image: Image.Image = file if upright else ImageOps.exif_transpose(file)
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))  # 65535 / 255
    elif image.mode in ("I", "F"):
        raise ValueError(f"its pixels have 32 bits (mode {image.mode}), and 8 or 16 are read")
    elif image.mode in TRANSPARENT or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.asarray(image.convert(mode))


def square(image: np.ndarray, size: int) -> np.ndarray:
    """Return uint8 [H, W] or [H, W, C] as [H, W, C]; with size > 0 as [size, size, C].

    The centre is kept and its short side resized, by Pillow's antialiased bicubic filter whatever
    decoded the image.
    """
    if size and image.shape[:2] != (size, size):
        height, width = image.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        # Cut before resizing: Pillow's filter would read across the border of a box.
        centre = image[top : top + side, left : left + side]
        picture = Image.fromarray(centre.squeeze(-1) if centre.shape[2:] == (1,) else centre)
        image = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC))
    return image if image.ndim == 3 else image[..., None]
