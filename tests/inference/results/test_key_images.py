"""Key images: the same bytes again, the right way up, nothing of the patient in them."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from firstread.messages import Language, sentence
from inference.results.document import describe
from inference.results.key_images import _chinese, _latin, _letter, _views, draw_key_image, windowed
from inference.volume import Grid
from tests.inference.results.a_series import Spec, an_analysis, written

UPRIGHT = Spec()
ROTATED = Spec(orientation=(-1.0, 0.0, 0.0, 0.0, -1.0, 0.0))


def picture(spec: Spec = UPRIGHT, index: int = 0) -> np.ndarray:
    analysis = an_analysis(spec)
    return np.asarray(Image.open(io.BytesIO(draw_key_image(analysis, analysis.findings[index]))))


def test_the_same_analysis_gives_the_same_bytes() -> None:
    once = draw_key_image(an_analysis(), an_analysis().findings[0])
    assert once == (written(an_analysis()) / "key_images" / "1.png").read_bytes()


def grid_of(spec: Spec) -> Grid:
    volume = an_analysis(spec).volume
    assert volume is not None
    return volume.grid


def test_a_scan_stored_upside_down_is_shown_the_right_way_up() -> None:
    for spec, flips in ((UPRIGHT, (False, False)), (ROTATED, (True, True))):
        whole, *_ = _views(an_analysis(spec).findings[0], grid_of(spec))
        assert whole.flips == flips


@pytest.mark.parametrize(
    ("direction", "letter"),
    [((1, 0, 0), "L"), ((-1, 0, 0), "R"), ((0, 1, 0), "P"), ((0, -1, 0), "A"), ((0, 0, 1), "H")],
)
def test_letters_name_the_side_of_the_patient(direction: tuple[int, ...], letter: str) -> None:
    assert _letter(np.array(direction, float)) == letter


def test_the_frame_lies_around_the_finding_in_the_whole_slice() -> None:
    finding = an_analysis().findings[0]
    grid = grid_of(UPRIGHT)
    whole, bare, _ = _views(finding, grid)
    outline = np.array(finding.outline_xy) * grid.spacing_yx_mm[::-1]
    for view in (whole, bare):
        points = np.array(view.place(outline)) - view.origin
        assert points.min() > 0
        assert points.max() < view.side_pixels


def test_the_outline_is_drawn_on_one_enlargement_and_not_on_the_other() -> None:
    shown = picture().astype(int)
    is_coloured = np.abs(shown[..., 0] - shown[..., 2]) > 60
    bare, measured = is_coloured[:316, 648:], is_coloured[324:640, 648:]
    assert bare.sum() == 0
    assert measured.sum() > 100


def test_the_lung_window_is_centred_at_minus_600_and_1500_wide() -> None:
    hu = np.array([-1500, -1350, -600, 150, 3000], np.int16)
    assert windowed(hu).tolist() == [0, 0, 128, 255, 255]


def test_every_character_of_the_chinese_sentence_has_a_glyph() -> None:
    missing = bytes(_chinese(20).getmask("\uffff"))
    for character in sentence("result.not-a-diagnosis", Language.ZH_CN):
        assert bytes(_chinese(20).getmask(character)) != missing


def test_the_english_sentence_has_glyphs_too() -> None:
    missing = bytes(_latin(20).getmask("\uffff"))
    for character in sentence("result.not-a-diagnosis", Language.EN).replace(" ", ""):
        assert bytes(_latin(20).getmask(character)) != missing


def test_another_patient_name_changes_no_pixel() -> None:
    other = an_analysis(Spec(name="Li^Si=李^四"))
    assert np.array_equal(
        picture(), np.asarray(Image.open(io.BytesIO(draw_key_image(other, other.findings[0]))))
    )


def test_a_finding_at_the_edge_of_the_slice_can_be_drawn() -> None:
    analysis = an_analysis()
    finding = analysis.findings[0]
    at_edge = replace(
        finding, outline_xy=tuple((x - finding.outline_xy[0][0], y) for x, y in finding.outline_xy)
    )
    assert Image.open(io.BytesIO(draw_key_image(analysis, at_edge))).size == (964, 736)


def test_the_key_image_counts_from_1_what_the_document_counts_from_0(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts: list[str] = []

    def write(_: object, place: object, text: str, **__: object) -> None:
        texts.append(text)

    monkeypatch.setattr("PIL.ImageDraw.ImageDraw.text", write)
    analysis = an_analysis()
    finding = analysis.findings[0]
    draw_key_image(analysis, finding)
    document = describe(analysis)["findings"][0]
    slices = len(analysis.slices)
    assert 0 <= document["slices"][0] <= document["key_slice"] <= document["slices"][1] < slices
    assert any(f"slice {document['key_slice'] + 1} of {slices} " in text for text in texts)
