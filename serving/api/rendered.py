"""Rendered frames: stored values become grey or colour as a viewer would show them, as JPEG or PNG.

::

    stored value ── rescale slope, intercept ──> HU ── window, its function ──> 0 to 255 ──> picture

The window is the request's, else the first of the frame's header, else a lung window for CT and the
range of the frame for everything else; single bits are black and white. Source: PS3.3 C.11.1,
C.11.2; PS3.18 section 8.3.5.
"""

import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.dicom.stored import StoredFormat, words_of
from inference.dicom.stored_frames import FrameRefused, PixelData, decoded_frame
from serving.errors import BadRequest

JPEG, PNG = "image/jpeg", "image/png"
TYPES = (JPEG, PNG)

JPEG_QUALITY = 90
MOST_SIDE = 8192
# No picture has more pixels than this unless its frame has: what is shown larger holds no more.
MOST_PIXELS = 1 << 22
# Of a frame that a picture is made of: 18 bytes each, in a window's floating point.
MOST_FRAME_PIXELS = 1 << 25
_LUNG = (-600.0, 1500.0)
_WHOLE = re.compile(r"[0-9]{1,9}")

_SHARED, _PER_FRAME = "52009229", "52009230"
# Attribute -> the functional group that holds it in a multi-frame image.
_GROUPS = {
    "00281050": "00289132",
    "00281051": "00289132",
    "00281056": "00289132",
    "00281052": "00289145",
    "00281053": "00289145",
}
_CENTER, _WIDTH, _FUNCTION = "00281050", "00281051", "00281056"
_INTERCEPT, _SLOPE, _MODALITY = "00281052", "00281053", "00080060"

Model = Mapping[str, Mapping[str, Any]]
Grey = NDArray[np.uint8]
Values = NDArray[np.floating[Any]]


class VoiFunction(StrEnum):
    """VOI LUT Function (0028,1056), as the parameter ``window`` writes it."""

    LINEAR = "linear"
    LINEAR_EXACT = "linear-exact"
    SIGMOID = "sigmoid"


@dataclass(frozen=True, slots=True)
class Window:
    """Which values are told apart, in the units of the modality (CT: HU)."""

    center: float
    width: float
    function: VoiFunction = VoiFunction.LINEAR


@dataclass(frozen=True, slots=True)
class View:
    """What of the frame is shown, and at most how large: columns and rows; the shape is kept.

    A picture is enlarged to ``MOST_PIXELS`` and no further, whatever is asked.
    """

    columns: int
    rows: int
    source: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """How a frame is to be rendered; None: as the frame has it."""

    window: Window | None = None
    view: View | None = None
    quality: int = JPEG_QUALITY


def read_wish(query: Mapping[str, str]) -> Wish:
    """Read ``window=center,width,function``, ``viewport=w,h[,x,y,w,h]`` and ``quality``.

    Raises
    ------
    BadRequest
        ``bad-request``
    """
    quality = query.get("quality", str(JPEG_QUALITY))
    if not _WHOLE.fullmatch(quality) or not 1 <= int(quality) <= 100:
        raise BadRequest("quality is a whole number from 1 to 100")
    window, view = query.get("window"), query.get("viewport")
    return Wish(
        _read_window(window) if window else None, _read_view(view) if view else None, int(quality)
    )


def _read_window(text: str) -> Window:
    center, width, function = ([*text.split(","), "linear"])[:3] if text.count(",") else ("",) * 3
    try:
        window = Window(float(center), float(width), VoiFunction(function.strip().lower()))
    except ValueError:
        raise BadRequest(
            "window is center,width,function with function linear, linear-exact or sigmoid"
        ) from None
    least = 1.0 if window.function is VoiFunction.LINEAR else 0.0
    if not (math.isfinite(window.center) and math.isfinite(window.width)):
        raise BadRequest("center and width of a window are finite numbers")
    if window.width < least or window.width == 0:
        raise BadRequest("the width of a window is positive, and at least 1 where it is linear")
    return window


def _read_view(text: str) -> View:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (2, 6) or not all(map(_WHOLE.fullmatch, parts)):
        raise BadRequest("viewport is two or six whole numbers")
    columns, rows, *source = (int(part) for part in parts)
    if not (0 < columns <= MOST_SIDE and 0 < rows <= MOST_SIDE):
        raise BadRequest(f"a viewport has 1 to {MOST_SIDE} columns and rows")
    if not source:
        return View(columns, rows)
    x, y, width, height = source
    if not (width and height):
        raise BadRequest("the part of a viewport has columns and rows")
    return View(columns, rows, (x, y, width, height))


def render(pixels: PixelData, number: int, header: Model, wish: Wish, media_type: str) -> bytes:
    """Return one frame as a picture.

    Parameters
    ----------
    number
        1-based.
    header
        The instance's, in the DICOM JSON Model.
    media_type
        One of ``TYPES``.

    Raises
    ------
    FrameRefused
        What ``decoded_frame`` raises; ``too-large``: more than ``MOST_FRAME_PIXELS``;
        ``not-monochrome``: a palette, or subsampled colour.
    BadRequest
        ``bad-request``: the viewport lies outside of the frame.
    """
    from PIL import Image

    if pixels.form.rows * pixels.form.columns > MOST_FRAME_PIXELS:
        raise FrameRefused("too-large")
    frame = decoded_frame(pixels, number)
    if pixels.samples == 3:
        image = Image.fromarray(_colour(frame, pixels), "RGB")
    elif pixels.photometric in ("MONOCHROME1", "MONOCHROME2"):
        image = Image.fromarray(_grey(frame, pixels, number, header, wish.window), "L")
    else:
        raise FrameRefused("not-monochrome")
    image = _viewed(image, wish.view)
    out = io.BytesIO()
    if media_type == PNG:
        image.save(out, "PNG", compress_level=1)
    else:
        image.save(out, "JPEG", quality=wish.quality, subsampling=0)
    return out.getvalue()


def _grey(
    frame: bytes, pixels: PixelData, number: int, header: Model, window: Window | None
) -> Grey:
    values = _rescaled(frame, pixels, number, header)
    if pixels.form.bits_allocated == 1:
        window = Window(0.5, 1.0, VoiFunction.LINEAR_EXACT)
    window = window or _window_of(number, header, values)
    grey = windowed(values, window)
    return 255 - grey if pixels.photometric == "MONOCHROME1" else grey


def _rescaled(frame: bytes, pixels: PixelData, number: int, header: Model) -> Values:
    form = pixels.form
    stored = _stored_values(frame, form)
    slope, intercept = (
        _number(_of_frame(header, number, tag), otherwise)
        for tag, otherwise in ((_SLOPE, 1.0), (_INTERCEPT, 0.0))
    )
    values: Values = stored.astype(np.float32 if form.bits_allocated <= 16 else np.float64)
    values *= slope
    values += intercept
    return values


def _stored_values(frame: bytes, form: StoredFormat) -> NDArray[np.integer]:
    if form.bits_allocated == 1:
        bits = np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")
        return bits[: form.rows * form.columns].reshape(form.rows, form.columns)
    if form.bits_allocated <= 16:
        return words_of(frame, form)
    kind = "i" if form.is_signed else "u"
    words: NDArray[np.integer] = np.frombuffer(frame, f"<{kind}{form.bits_allocated // 8}")
    return words.reshape(form.rows, form.columns)


def _window_of(number: int, header: Model, values: Values) -> Window:
    """Return the window of a frame that nobody asked a window for."""
    center = _number(_of_frame(header, number, _CENTER), math.nan)
    width = _number(_of_frame(header, number, _WIDTH), math.nan)
    named = str(_of_frame(header, number, _FUNCTION) or "LINEAR").lower().replace("_", "-")
    function = VoiFunction(named) if named in set(VoiFunction) else VoiFunction.LINEAR
    if math.isfinite(center) and math.isfinite(width) and width >= 1:
        return Window(center, width, function)
    if header.get(_MODALITY, {}).get("Value") == ["CT"]:
        return Window(*_LUNG)
    low, high = float(values.min()), float(values.max())
    return Window((low + high) / 2, max(high - low, 1e-6), VoiFunction.LINEAR_EXACT)


def windowed(values: Values, window: Window) -> Grey:
    """Return 0 (black) to 255 (PS3.3 C.11.2.1.2, C.11.2.1.3)."""
    center, width = window.center, window.width
    if window.function is VoiFunction.SIGMOID:
        # Beyond this the exponential overflows, and the answer is 0 or 1 long before.
        exponent = np.clip(-4 * (values - center) / width, -80, 80)
        share = 1 / (1 + np.exp(exponent))
    elif window.function is VoiFunction.LINEAR_EXACT:
        share = (values - center) / width + 0.5
    elif width == 1:
        share = (values > center - 0.5).astype(values.dtype)
    else:
        share = (values - (center - 0.5)) / (width - 1) + 0.5
    grey: Grey = np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
    return grey


def _of_frame(header: Model, number: int, tag: str) -> Any:
    """Return the first value of an attribute of a frame: its own, the shared one, the image's."""
    for groups, index in ((_PER_FRAME, number - 1), (_SHARED, 0)):
        items = header.get(groups, {}).get("Value", ())
        if index < len(items):
            inner = items[index].get(_GROUPS[tag], {}).get("Value", ({},))[0]
            if values := inner.get(tag, {}).get("Value"):
                return values[0]
    return next(iter(header.get(tag, {}).get("Value", ())), None)


def _number(value: Any, otherwise: float) -> float:
    return float(value) if isinstance(value, int | float) else otherwise


def _colour(frame: bytes, pixels: PixelData) -> Grey:
    from PIL import Image

    form = pixels.form
    if form.bits_allocated != 8:
        raise FrameRefused("bits-unsupported")
    samples: Grey = np.frombuffer(frame, np.uint8)
    # What was decoded is RGB, pixel by pixel; what lay there without compression is as it was.
    is_native = not pixels.is_encapsulated
    if is_native and pixels.photometric not in ("RGB", "YBR_FULL"):
        raise FrameRefused("not-monochrome")
    if is_native and pixels.is_planar:
        planes = samples.reshape(3, form.rows, form.columns)
        samples = np.ascontiguousarray(np.moveaxis(planes, 0, -1))
    colour = samples.reshape(form.rows, form.columns, 3)
    if is_native and pixels.photometric == "YBR_FULL":
        return np.asarray(Image.fromarray(colour, "YCbCr").convert("RGB"))
    return colour


def _viewed(image: Any, view: View | None) -> Any:
    if view is None:
        return image
    if view.source is not None:
        x, y, width, height = view.source
        if x + width > image.width or y + height > image.height:
            raise BadRequest("the viewport lies outside of the frame")
        image = image.crop((x, y, x + width, y + height))
    largest = max(1.0, math.sqrt(MOST_PIXELS / (image.width * image.height)))
    scale = min(view.columns / image.width, view.rows / image.height, largest)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size)
