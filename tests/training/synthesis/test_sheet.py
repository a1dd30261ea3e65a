"""The contact sheet."""

from pathlib import Path

import numpy as np
from PIL import Image

from training.synthesis.bank import make_bank
from training.synthesis.insertion import Mix
from training.synthesis.shapes import sphere
from training.synthesis.sheet import draw_sheet


def test_a_sheet_shows_every_insertion_that_found_a_place(tmp_path: Path) -> None:
    hu = np.full((64, 64, 64), -850, np.float32)
    bank = make_bank([sphere(8)], 1.25, 1.25, 40, np.random.default_rng(0))

    count = draw_sheet(
        tmp_path / "sheet.png",
        hu,
        np.ones(hu.shape, bool),
        (),
        bank,
        count=6,
        rng=np.random.default_rng(1),
        mix=Mix(edge_share=0),
    )

    assert count == 6
    with Image.open(tmp_path / "sheet.png") as picture:
        assert np.asarray(picture).std() > 10
