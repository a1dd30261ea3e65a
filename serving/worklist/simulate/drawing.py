"""Bar charts as SVG or PNG, without a plotting library.

A chart is a list of shapes in pixels; the two writers know shapes and nothing of charts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from xml.sax.saxutils import escape

WIDTH, LABEL, VALUE, ROW, BAR, HEAD, FOOT = 760, 190, 90, 8, 16, 58, 14
# Of the target's line, of the space beside a bar or that line, and of a digit of a value.
LINE, GAP, DIGIT = 1.5, 5, 7
INK, RED = "#222222", "#c0392b"
COLOURS = ("#1f6f8b", "#c9a227", "#8a8a8a", "#7d5ba6", "#3a9a5b", "#c25b4e")


@dataclass(frozen=True, slots=True)
class Box:
    """A filled rectangle."""

    x: float
    y: float
    width: float
    height: float
    colour: str


@dataclass(frozen=True, slots=True)
class Text:
    """A word or a line; ``y`` is its base line, ``is_right`` ends it at ``x``."""

    x: float
    y: float
    text: str
    size: int = 12
    is_right: bool = False


Shape = Box | Text


@dataclass(frozen=True, slots=True)
class Chart:
    """Shapes and the size of their sheet."""

    width: int
    height: int
    shapes: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Bars:
    """Horizontal bars: for each row a value of each series.

    Attributes
    ----------
    rows
        Name of a row -> its values, in the order of the series; None is not drawn.
    target
        A value to draw as a line, or None.
    digits
        Of the values, behind the point; None: three digits that count, wherever the point is.
    """

    title: str
    unit: str
    series: tuple[str, ...]
    rows: Mapping[str, Sequence[float | None]]
    target: float | None = None
    digits: int | None = None


def chart(bars: Bars) -> Chart:
    """Lay out bars."""
    values = [value for row in bars.rows.values() for value in row if value is not None]
    most = max([*values, bars.target or 0.0]) or 1.0
    scale = (WIDTH - LABEL - VALUE) / most
    shapes: list[Shape] = [Text(12, 22, f"{bars.title} ({bars.unit})", 15)]
    shapes += _legend(bars)
    below = HEAD + sum(BAR * len(row) + ROW for row in bars.rows.values())
    shapes.append(Box(LABEL - 1, HEAD - 4, 1, below - HEAD + 4, INK))
    target_x = None if bars.target is None else LABEL + bars.target * scale
    if target_x is not None:
        shapes.append(Box(target_x, HEAD - 4, LINE, below - HEAD + 4, RED))
    y = HEAD
    for name, row in bars.rows.items():
        shapes.append(Text(LABEL - 8, y + BAR * len(row) / 2 + 4, name, is_right=True))
        for number, value in enumerate(row):
            if value is not None:
                shapes.append(Box(LABEL, y + 1, value * scale, BAR - 2, COLOURS[number]))
                label = _number(value, bars.digits)
                at = _beside(LABEL + value * scale + GAP, label, target_x)
                shapes.append(Text(at, y + BAR - 4, label, 11))
            y += BAR
        y += ROW
    return Chart(WIDTH, y + FOOT, tuple(shapes))


def svg(drawn: Chart) -> bytes:
    """Return the chart as SVG."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{drawn.width}" height="{drawn.height}" '
        f'viewBox="0 0 {drawn.width} {drawn.height}" font-family="sans-serif">',
        f'<rect width="{drawn.width}" height="{drawn.height}" fill="#ffffff"/>',
        *map(_svg_shape, drawn.shapes),
        "</svg>\n",
    ]
    return "\n".join(parts).encode()


def png(drawn: Chart) -> bytes:
    """Return the chart as PNG, twice as many pixels for sharp letters."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (2 * drawn.width, 2 * drawn.height), "#ffffff")
    pen = ImageDraw.Draw(image)
    for shape in drawn.shapes:
        if isinstance(shape, Box):
            x, y = 2 * shape.x, 2 * shape.y
            corner = (x + 2 * shape.width, y + 2 * shape.height)
            pen.rectangle((x, y, *corner), fill=shape.colour)
        else:
            font = ImageFont.load_default(2 * shape.size)
            anchor = "rs" if shape.is_right else "ls"
            pen.text((2 * shape.x, 2 * shape.y), shape.text, INK, font, anchor=anchor)
    stream = BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _number(value: float, digits: int | None) -> str:
    if digits is not None:
        return f"{value:.{digits}f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _beside(x: float, label: str, line_x: float | None) -> float:
    """Return where a value stands: behind the line of the target where that would strike it."""
    is_struck = line_x is not None and x - GAP <= line_x + LINE and line_x <= x + DIGIT * len(label)
    return line_x + LINE + GAP if line_x is not None and is_struck else x


def _legend(bars: Bars) -> list[Shape]:
    shapes: list[Shape] = []
    x = float(LABEL)
    named = [*zip(bars.series, COLOURS, strict=False)]
    if bars.target is not None:
        named.append((f"target {bars.target:g}", RED))
    for name, colour in named:
        shapes += [Box(x, 34, 10, 10, colour), Text(x + 15, 43, name)]
        x += 32 + 7 * len(name)
    return shapes


def _svg_shape(shape: Shape) -> str:
    if isinstance(shape, Box):
        return (
            f'<rect x="{shape.x:.1f}" y="{shape.y:.1f}" width="{shape.width:.1f}" '
            f'height="{shape.height:.1f}" fill="{shape.colour}"/>'
        )
    anchor = ' text-anchor="end"' if shape.is_right else ""
    return (
        f'<text x="{shape.x:.1f}" y="{shape.y:.1f}" font-size="{shape.size}" '
        f'fill="{INK}"{anchor}>{escape(shape.text)}</text>'
    )
