"""Real scans as volumes, read plainly with pydicom: for tests of what comes after reading."""

from functools import cache

import numpy as np
import pydicom

from inference.volume import Grid, Volume
from tests.shared import SHARED


@cache
def a_scan(case: str) -> Volume:
    """Return ``data/<case>`` of the shared folder, for example ``ct/lidc-idri-0001``."""
    headers = [pydicom.dcmread(path) for path in sorted((SHARED / "data" / case).iterdir())]
    direction = np.array(headers[0].ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(*direction)
    places = {round(float(normal @ np.array(h.ImagePositionPatient, float)), 2): h for h in headers}
    slices = [places[place] for place in sorted(places)]
    origins = np.array([s.ImagePositionPatient for s in slices], float)
    rows, columns = (float(spacing) for spacing in slices[0].PixelSpacing)
    hu = np.stack(
        [s.pixel_array * float(s.RescaleSlope) + float(s.RescaleIntercept) for s in slices]
    )
    grid = Grid(origins, direction[0], direction[1], (rows, columns), (hu.shape[1], hu.shape[2]))
    return Volume(np.maximum(np.rint(hu), -1024).astype(np.int16), grid)
