"""Key images: one PNG for each finding, for a page or a message; no patient identifier is in it.

::

    +----------------------+-----------+
    |                      |  as it is |   the slice in the lung window, a frame around the finding;
    |   key slice          +-----------+   beside it the finding enlarged, once untouched and once
    |                      |  measured |   with outline and axes
    +----------------------+-----------+
    | numbers, place, what it is not   |
    +----------------------------------+

The patient's right is on the left of the picture and the front at the top, however the scan is
stored; letters at the edges say so. Lung window: centre -600, width 1500 HU. The same analysis
gives the same bytes. Latin letters are Pillow's own font, the Chinese sentence has a font of the
few glyphs it needs (``fonts/``), so that no font need be installed where it is served.
"""

import io
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from firstread.messages import Language, sentence
from inference.dicom.instance import Vector
from inference.findings import Finding
from inference.results.analysis import Analysis
from inference.results.equipment import MANUFACTURER, model_name
from inference.volume import Floats, Grid

WINDOW_CENTRE_HU, WINDOW_WIDTH_HU = -600.0, 1500.0
SLICE_PIXELS, CROP_PIXELS, GAP_PIXELS = 640, 316, 8
TEXT_PIXELS = 96
# The crop shows this much around small findings, and this multiple of the diameter of large ones.
SMALLEST_CROP_MM, CROP_DIAMETERS = 40.0, 2.5

BACKGROUND = (0, 0, 0)
AMBER, CYAN, PALE, GREY = (255, 184, 28), (96, 214, 255), (235, 235, 235), (150, 150, 150)

Font = ImageFont.FreeTypeFont
Points = Floats


@dataclass(frozen=True, slots=True)
class View:
    """A square of the key slice and where it stands in the picture.

    Attributes
    ----------
    left_top_mm
        Corner of the square in slice millimetres: (x, y) from the corner of the stored first pixel.
    side_mm, side_pixels
        Length of its side on the slice, and in the picture.
    origin
        Picture pixel of its upper left corner.
    flips
        Whether columns, and rows, run against the picture's.
    """

    left_top_mm: tuple[float, float]
    side_mm: float
    side_pixels: int
    origin: tuple[int, int]
    flips: tuple[bool, bool]

    @property
    def pixels_per_mm(self) -> float:
        """Magnification."""
        return self.side_pixels / self.side_mm

    def place(self, points_mm: Points) -> list[tuple[float, float]]:
        """Return picture coordinates of (n, 2) slice millimetres (x, y)."""
        at = (points_mm - self.left_top_mm) * self.pixels_per_mm
        for axis, is_flipped in enumerate(self.flips):
            if is_flipped:
                at[:, axis] = self.side_pixels - at[:, axis]
        return [(float(x), float(y)) for x, y in at + self.origin]


def draw_key_image(analysis: Analysis, finding: Finding) -> bytes:
    """Return the PNG of a finding's key slice."""
    assert analysis.volume is not None
    grid = analysis.volume.grid
    plane = windowed(analysis.volume.hu[finding.key_slice])
    spacing_xy = np.array(grid.spacing_yx_mm[::-1])
    whole, bare, measured = _views(finding, grid)
    width = SLICE_PIXELS + GAP_PIXELS + CROP_PIXELS
    picture = Image.new("RGB", (width, SLICE_PIXELS + TEXT_PIXELS), BACKGROUND)
    for view in (whole, bare, measured):
        picture.paste(_scaled(plane, spacing_xy, view), view.origin)
    draw = ImageDraw.Draw(picture)
    corner = np.array(bare.left_top_mm)
    frame = whole.place(np.array([corner, corner + bare.side_mm]))
    draw.rectangle(_box(frame), outline=AMBER)
    outline = np.array([*finding.outline_xy, finding.outline_xy[0]]) * spacing_xy
    draw.line(measured.place(outline), fill=AMBER, width=1)
    for axis in (finding.long_axis_xy, finding.short_axis_xy):
        draw.line(measured.place(np.array(axis) * spacing_xy), fill=CYAN, width=1)
    for view in (whole, bare):
        _letters(draw, view, grid)
    for view, bar_mm in ((whole, 50), (bare, 10), (measured, 10)):
        _scale_bar(draw, view, bar_mm)
    _text(draw, analysis, finding)
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=6)
    return stream.getvalue()


def windowed(hu: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Return HU in the lung window as grey values 0 to 255."""
    low = WINDOW_CENTRE_HU - WINDOW_WIDTH_HU / 2
    grey = (hu.astype(np.float32) - low) * (255 / WINDOW_WIDTH_HU)
    scaled: NDArray[np.uint8] = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    return scaled


def _views(finding: Finding, grid: Grid) -> tuple[View, View, View]:
    """Return the whole slice, and the finding's surroundings twice."""
    size_mm = np.array(grid.shape_yx[::-1]) * grid.spacing_yx_mm[::-1]
    side_mm = float(size_mm.max())
    flips = (bool(grid.row_direction[0] < 0), bool(grid.column_direction[1] < 0))
    corner = (size_mm - side_mm) / 2
    whole = View((float(corner[0]), float(corner[1])), side_mm, SLICE_PIXELS, (0, 0), flips)
    outline_mm = np.array(finding.outline_xy) * grid.spacing_yx_mm[::-1]
    middle = (outline_mm.min(axis=0) + outline_mm.max(axis=0)) / 2
    crop_mm = max(SMALLEST_CROP_MM, CROP_DIAMETERS * finding.long_axis_mm)
    x, y = (float(value) for value in middle - crop_mm / 2)
    left = SLICE_PIXELS + GAP_PIXELS
    lower = SLICE_PIXELS - CROP_PIXELS
    return (
        whole,
        View((x, y), crop_mm, CROP_PIXELS, (left, 0), flips),
        View((x, y), crop_mm, CROP_PIXELS, (left, lower), flips),
    )


def _scaled(plane: NDArray[np.uint8], spacing_xy: Floats, view: View) -> Image.Image:
    """Return the view's square of the slice, bicubic; black beyond the slice's edge."""
    low = np.array(view.left_top_mm) / spacing_xy
    high = low + view.side_mm / spacing_xy
    first, last = np.floor(low).astype(int) - 2, np.ceil(high).astype(int) + 2
    padded = np.zeros((last[1] - first[1], last[0] - first[0]), np.uint8)
    rows, columns = plane.shape
    y0, y1 = max(first[1], 0), min(last[1], rows)
    x0, x1 = max(first[0], 0), min(last[0], columns)
    padded[y0 - first[1] : y1 - first[1], x0 - first[0] : x1 - first[0]] = plane[y0:y1, x0:x1]
    x_low, y_low = (float(value) for value in low - first)
    x_high, y_high = (float(value) for value in high - first)
    square = Image.fromarray(padded).resize(
        (view.side_pixels, view.side_pixels),
        Image.Resampling.BICUBIC,
        box=(x_low, y_low, x_high, y_high),
    )
    for is_flipped, flip in zip(
        view.flips,
        (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM),
        strict=True,
    ):
        if is_flipped:
            square = square.transpose(flip)
    return square


def _letters(draw: ImageDraw.ImageDraw, view: View, grid: Grid) -> None:
    """Write which side of the patient each edge is (PS3.3 C.7.6.1.1.1)."""
    right = grid.row_direction * (-1 if view.flips[0] else 1)
    down = grid.column_direction * (-1 if view.flips[1] else 1)
    (x, y), side = view.origin, view.side_pixels
    middle = side / 2
    font = _latin(16)
    for direction, at, anchor in (
        (-right, (x + 6, y + middle), "lm"),
        (right, (x + side - 6, y + middle), "rm"),
        (-down, (x + middle, y + 6), "mt"),
        (down, (x + middle, y + side - 6), "mb"),
    ):
        _shadowed(draw, at, _letter(direction), font, anchor)


def _letter(direction: Floats) -> str:
    axis = int(np.abs(direction).argmax())
    return ("LR", "PA", "HF")[axis][0 if direction[axis] > 0 else 1]


def _scale_bar(draw: ImageDraw.ImageDraw, view: View, length_mm: int) -> None:
    x = view.origin[0] + 12
    y = view.origin[1] + view.side_pixels - 12
    end = x + length_mm * view.pixels_per_mm
    for width, colour in ((5, BACKGROUND), (2, PALE)):
        # On its own shadow: the bar may lie on bone, white on white.
        draw.line([(x, y), (end, y)], fill=colour, width=width)
        for tick in (x, end):
            draw.line([(tick, y - 5), (tick, y + 5)], fill=colour, width=width)
    _shadowed(draw, (x, y - 10), f"{length_mm} mm", _latin(13), "lb")


def _text(draw: ImageDraw.ImageDraw, analysis: Analysis, finding: Finding) -> None:
    assert analysis.volume is not None
    grid = analysis.volume.grid
    side = (
        "side undetermined"
        if finding.laterality == "undetermined"
        else f"{finding.laterality} lung"
    )
    third = f", {finding.zone} third" if finding.zone else ""
    instance, _ = analysis.slices[finding.key_slice]
    image = f", image {instance.instance_number}" if instance.instance_number is not None else ""
    place = analysis.package.intended_size.place(finding.mean_diameter_mm)
    off_size = "" if place == "within" else f" ({place} intended size)"
    lines = (
        f"Nodule {finding.id}   {finding.long_axis_mm:.1f} x {finding.short_axis_mm:.1f} mm, "
        f"mean diameter {finding.mean_diameter_mm:.1f} mm{off_size}   "
        f"{finding.volume_mm3:.0f} mm3   mean {finding.mean_hu:.0f} HU   score {finding.score:.2f}",
        f"{side}{third}   slice {finding.key_slice + 1} of {len(analysis.slices)} "
        f"from the {'feet' if grid.normal[2] > 0 else 'head'}{image}   "
        f"centre {_place(finding.centre_lps_mm)} mm   lung window",
        f"{model_name(analysis)}, {MANUFACTURER} {analysis.software_version}",
    )
    top = SLICE_PIXELS + 8
    for row, (line, colour) in enumerate(zip(lines, (PALE, PALE, GREY), strict=True)):
        draw.text((8, top + 22 * row), line, font=_latin(15), fill=colour)
    key = "result.not-a-diagnosis"
    chinese = sentence(key, Language.ZH_CN)
    right = SLICE_PIXELS + GAP_PIXELS + CROP_PIXELS - 8
    bottom = top + 22 * 2
    draw.text((right, bottom), chinese, font=_chinese(17), fill=AMBER, anchor="ra")
    left_of = right - draw.textlength(chinese, font=_chinese(17)) - 10
    english = sentence(key, Language.EN)
    draw.text((left_of, bottom), english, font=_latin(15), fill=AMBER, anchor="ra")


def _place(place_lps_mm: Vector) -> str:
    """Return a place as scanners write it: L or R, P or A, H or F, and millimetres."""
    return "  ".join(
        f"{letters[0] if value >= 0 else letters[1]} {abs(value):.1f}"
        for letters, value in zip(("LR", "PA", "HF"), place_lps_mm, strict=True)
    )


def _shadowed(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, font: Font, anchor: str
) -> None:
    draw.text(at, text, font=font, fill=PALE, anchor=anchor, stroke_width=1, stroke_fill=BACKGROUND)


def _box(corners: list[tuple[float, float]]) -> tuple[float, float, float, float]:
    xs, ys = zip(*corners, strict=True)
    return (min(xs), min(ys), max(xs), max(ys))


@cache
def _latin(size: int) -> Font:
    font = ImageFont.load_default(size)
    # Without FreeType Pillow has only a bitmap font, of another size and look.
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


@cache
def _chinese(size: int) -> Font:
    font = files("inference.results") / "fonts" / "disclaimer-zh.ttf"
    return ImageFont.truetype(io.BytesIO(font.read_bytes()), size)
