"""Charts: bars as long as their values, well-formed SVG, a PNG that opens."""

from io import BytesIO
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from serving.worklist.simulate.drawing import COLOURS, RED, Bars, Box, Text, chart, png, svg

TWO = Bars("Wait <min>", "minutes", ("ours", "fifo"), {"a": (1.0, 4.0), "b": (None, 2.0)}, 3.0)


def test_a_bar_is_as_long_as_its_value_and_what_is_unknown_is_not_drawn() -> None:
    drawn = [one for one in chart(TWO).shapes if isinstance(one, Box) and one.height == 14]
    scale = max(one.width for one in drawn) / 4
    assert [one.width / scale for one in drawn] == pytest.approx([1, 4, 2])
    assert [one.colour for one in drawn] == [COLOURS[0], COLOURS[1], COLOURS[1]]


def test_a_target_is_a_line_at_its_value() -> None:
    shapes = [one for one in chart(TWO).shapes if isinstance(one, Box)]
    (longest,) = [one for one in shapes if one.height == 14 and one.width > 300]
    (line,) = [one for one in shapes if one.colour == RED and one.height > 20]
    assert (line.x - longest.x) / longest.width == pytest.approx(3 / 4)


def test_svg_is_well_formed_whatever_the_words() -> None:
    root = ET.fromstring(svg(chart(TWO)))
    assert any(one.text == "Wait <min> (minutes)" for one in root.iter())


def test_a_png_opens_and_shows_the_bars() -> None:
    picture = Image.open(BytesIO(png(chart(TWO))))
    assert picture.size == (2 * chart(TWO).width, 2 * chart(TWO).height)
    assert picture.getpixel((2 * 195, 2 * 67)) == (0x1F, 0x6F, 0x8B)


def test_a_chart_without_a_value_is_empty_and_no_error() -> None:
    assert svg(chart(Bars("Nothing", "minutes", ("ours",), {"a": (None,)})))


def labels(bars: Bars) -> list[Text]:
    return [one for one in chart(bars).shapes if isinstance(one, Text) and one.size == 11]


def test_the_line_of_the_target_goes_through_no_value() -> None:
    for value in (0.5, 0.9, 0.97, 1.0, 1.2):
        bars = Bars("Late", "ratio", ("ours",), {"a": (value,), "b": (1.3,)}, 1.0, digits=3)
        (line,) = [
            one
            for one in chart(bars).shapes
            if isinstance(one, Box) and one.colour == RED and one.height > 20
        ]
        label = labels(bars)[0]
        assert not label.x - 1 < line.x < label.x + 7 * len(label.text)


def test_bars_of_unequal_length_do_not_bear_the_same_number() -> None:
    bars = Bars("Wait", "minutes", ("ours", "fifo"), {"a": (0.031, 0.042), "b": (1234.5, None)})
    assert [one.text for one in labels(bars)] == ["0.031", "0.042", "1234"]
