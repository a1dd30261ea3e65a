"""Pictures: windows as the standard has them, on the way that a client goes."""

import io
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom import Dataset, Sequence

from serving.api import pixel_work, wado
from serving.api.rendered import MOST_PIXELS, VoiFunction, Window, read_wish, render, windowed
from serving.errors import BadRequest
from tests.serving.api.a_server import Server, a_server
from tests.serving.api.images import JPEG_LS, SEG, an_image

WINDOWS = st.builds(
    Window,
    st.floats(-2000, 2000),
    st.floats(1, 4000),
    st.sampled_from(VoiFunction),
)


@pytest.fixture(scope="module")
def running(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def server(running: Server) -> Server:
    running.forget()
    return running


def picture(server: Server, file: bytes, query: str = "", path: str = "/rendered") -> Any:
    """Store a file and return its picture as an array, without loss."""
    answer = server.stow(file)
    url = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    answer = server.client.get(f"{url}{path}?{query}", headers={"Accept": "image/png"})
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content))).astype(int)


def of_hu(*values: float, **attributes: Any) -> bytes:
    """Return a CT image of one row of these HU."""
    pixels = np.array([[values]], np.int16) + 1024
    return an_image(pixels, RescaleIntercept="-1024", RescaleSlope="1", **attributes)


@given(WINDOWS)
def test_a_window_never_falls_and_ends_at_black_and_white(window: Window) -> None:
    values = np.linspace(-30000, 30000, 1001)
    grey = windowed(values, window)
    assert (np.diff(grey.astype(int)) >= 0).all()
    assert (grey[0], grey[-1]) == (0, 255)


def test_a_linear_window_is_that_of_the_standard() -> None:
    # PS3.3 C.11.2.1.2.1: c 2048, w 4096 is the whole of 12 bits; c 2048, w 1 a threshold.
    values = np.array([0.0, 2047.0, 2048.0, 4095.0])
    assert windowed(values, Window(2048, 4096)).tolist() == [0, 127, 128, 255]
    assert windowed(values, Window(2048, 1)).tolist() == [0, 0, 255, 255]
    exact = Window(127.5, 255, VoiFunction.LINEAR_EXACT)
    assert windowed(np.arange(256.0), exact).tolist() == list(range(256))
    sigmoid = Window(0, 100, VoiFunction.SIGMOID)
    assert windowed(np.array([-50.0, 0.0, 50.0]), sigmoid).tolist() == [30, 128, 225]


def test_the_window_of_the_request_stands_above_that_of_the_header(server: Server) -> None:
    file = of_hu(-1000, 0, 40, 80, 1000, WindowCenter="0", WindowWidth="10")
    assert picture(server, file).tolist() == [[0, 142, 255, 255, 255]]
    asked = picture(server, file, "window=40,80,linear-exact")
    assert asked.tolist() == [[0, 0, 128, 255, 255]]


def test_a_ct_without_a_window_is_shown_as_lung(server: Server) -> None:
    assert picture(server, of_hu(-1350, -600, 150)).tolist() == [[0, 128, 255]]


def test_the_first_of_several_windows_counts(server: Server) -> None:
    file = of_hu(0, 100, WindowCenter=["50", "1000"], WindowWidth=["101", "2000"])
    assert picture(server, file).tolist() == [[1, 255]]


def test_others_without_a_window_are_shown_from_least_to_most(server: Server) -> None:
    file = an_image(np.array([[[3, 5, 7]]], np.uint8), modality="MR")
    assert picture(server, file).tolist() == [[0, 128, 255]]


def test_monochrome1_is_inverted(server: Server) -> None:
    file = of_hu(-1350, 150, PhotometricInterpretation="MONOCHROME1")
    assert picture(server, file).tolist() == [[255, 0]]


def test_bits_above_the_stored_ones_do_not_count(server: Server) -> None:
    pixels = np.array([[[0xF001, 0x0FFF]]], np.uint16)
    file = an_image(pixels, BitsStored=12, HighBit=11, WindowCenter="2048", WindowWidth="4096")
    assert picture(server, file).tolist() == [[0, 255]]


def test_a_segmentation_is_black_and_white(server: Server) -> None:
    bits = np.array([[[True, False]], [[False, True]], [[True, True]]])
    file = an_image(bits, sop_class=SEG, modality="SEG")
    assert picture(server, file, path="/frames/2/rendered").tolist() == [[0, 255]]


def test_each_frame_of_an_enhanced_image_has_its_window(server: Server) -> None:
    pixels = np.array([[[0, 100]], [[0, 100]]], np.int16)
    frames = []
    for center in (0, 100):
        voi = Dataset()
        voi.WindowCenter, voi.WindowWidth = center, 1
        frame = Dataset()
        frame.FrameVOILUTSequence = Sequence([voi])
        frames.append(frame)
    transformation = Dataset()
    transformation.RescaleIntercept, transformation.RescaleSlope = -50, 1
    shared = Dataset()
    shared.PixelValueTransformationSequence = Sequence([transformation])
    file = an_image(
        pixels,
        PerFrameFunctionalGroupsSequence=Sequence(frames),
        SharedFunctionalGroupsSequence=Sequence([shared]),
    )
    assert picture(server, file, path="/frames/1/rendered").tolist() == [[0, 255]]
    assert picture(server, file, path="/frames/2/rendered").tolist() == [[0, 0]]


@pytest.mark.parametrize("compressed", ["", JPEG_LS])
def test_colour_is_colour(server: Server, compressed: str) -> None:
    pixels = np.zeros((1, 8, 8, 3), np.uint8)
    pixels[..., 0], pixels[0, :4, :, 1] = 200, 100
    file = an_image(pixels, modality="OT", compressed=compressed)
    assert (picture(server, file) == pixels[0]).all()


def test_planes_of_colour_are_put_together(server: Server) -> None:
    planes = np.zeros((1, 3, 4, 4), np.uint8)
    planes[0, 2] = 77
    file = an_image(planes.reshape(1, 4, 4, 3), modality="OT", PlanarConfiguration=1)
    assert (picture(server, file) == [0, 0, 77]).all()


def test_a_viewport_keeps_the_shape(server: Server) -> None:
    file = an_image()
    assert picture(server, file, "viewport=32,32").shape == (20, 32)
    assert picture(server, file, "viewport=128,128").shape == (80, 128)
    assert picture(server, file, "viewport=10,10,0,0,20,20").shape == (10, 10)
    assert picture(server, file, path="/thumbnail").shape == (80, 128)


def test_a_picture_is_not_enlarged_without_end(server: Server) -> None:
    rows, columns = picture(server, an_image(), "viewport=8192,8192").shape
    assert MOST_PIXELS * 0.99 < rows * columns < MOST_PIXELS * 1.01
    assert columns / rows == pytest.approx(64 / 40, rel=0.01)


def test_few_pictures_are_made_at_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = server.stow(an_image())
    url = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    at_once, most, lock = 0, 0, threading.Lock()
    real = render

    def slowly(*arguments: Any) -> bytes:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.05)
        with lock:
            at_once -= 1
        return real(*arguments)

    monkeypatch.setattr(wado, "render", slowly)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: server.client.get(f"{url}/rendered"), range(6)))
    assert {answer.status_code for answer in answers} == {200}
    assert most == pixel_work.AT_ONCE


def test_jpeg_is_the_first_choice_and_png_the_second(server: Server) -> None:
    answer = server.stow(an_image())
    url = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    for accept, kind, status in (
        ("*/*", "image/jpeg", 200),
        ("image/*", "image/jpeg", 200),
        ("image/png, image/jpeg;q=0.5", "image/png", 200),
        ("image/webp, image/png;q=0.1", "image/png", 200),
        ("image/webp", "application/problem+json", 406),
    ):
        answer = server.client.get(f"{url}/rendered", headers={"Accept": accept})
        assert (answer.status_code, answer.headers["content-type"]) == (status, kind)


@pytest.mark.parametrize(
    "query",
    [
        "window=1",
        "window=a,b",
        "window=1,0",
        "window=1,0.5,linear",
        "window=nan,1",
        "window=1,inf",
        "window=1,2,cubic",
        "viewport=1",
        "viewport=0,1",
        "viewport=9999,1",
        "viewport=1,1,0,0,0,0",
        "viewport=1,1,0,0,999,1",
        "quality=0",
        "quality=x",
        "quality=²",
        "quality=" + "1" * 5000,
        "viewport=1," + "1" * 5000,
    ],
    ids=lambda query: query[:20],
)
def test_a_wish_that_is_none_is_refused(server: Server, query: str) -> None:
    answer = server.stow(an_image())
    url = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    assert server.client.get(f"{url}/rendered?{query}").status_code == 400


def test_a_palette_is_not_shown_wrong(server: Server) -> None:
    answer = server.stow(an_image(PhotometricInterpretation="PALETTE COLOR"))
    url = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    assert server.client.get(f"{url}/rendered").status_code == 406


def test_a_wish_is_read() -> None:
    wish = read_wish({"window": "-600,1500,LINEAR-EXACT", "quality": "75"})
    assert wish.window == Window(-600, 1500, VoiFunction.LINEAR_EXACT)
    assert wish.quality == 75
    with pytest.raises(BadRequest):
        read_wish({"window": ","})
