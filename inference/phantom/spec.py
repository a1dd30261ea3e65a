"""What a phantom is made from, and what is known of it afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from firstread.errors import UsageError
from inference.dicom.instance import Vector
from inference.lungs import Laterality
from inference.mask import SourceMask
from inference.volume import Volume

# The field of view that the chest is drawn for (512 pixels of 0.7 mm); another scales the chest.
NATURAL_FIELD_MM = 358.4
# Seeds below this are for demonstration and tests, training uses others.
FIRST_TRAINING_SEED = 1000
# A chest at the thinnest slices takes 750; memory, not anatomy, is the limit here.
MOST_SLICES = 2000
# Study ID and Accession Number hold 16 characters.
LARGEST_SEED = 999_999_999
SMALLEST_NODULE_MM, LARGEST_NODULE_MM = 2.0, 60.0


class Density(StrEnum):
    """How a nodule looks against the lung."""

    SOLID = "solid"
    PART_SOLID = "part-solid"
    GROUND_GLASS = "ground-glass"


class NameStyle(StrEnum):
    """Patient's name and descriptions: script, and Specific Character Set (0008,0005)."""

    GB18030 = "gb18030"
    UTF8 = "utf-8"
    LATIN = "latin"


class PixelStyle(StrEnum):
    """How HU are stored."""

    UNSIGNED_12 = "unsigned-12"
    """12 of 16 bits, Rescale Intercept -1024."""
    SIGNED_16 = "signed-16"
    """16 bits, two's complement, Rescale Intercept 0."""


@dataclass(frozen=True, slots=True)
class NoduleSpec:
    """A sphere that is wanted in a lung."""

    diameter_mm: float
    density: Density = Density.SOLID


@dataclass(frozen=True, slots=True)
class PhantomSpec:
    """Everything that decides a phantom's voxels and headers.

    Attributes
    ----------
    nodules
        Wanted spheres, placed in this order.
    slice_mm
        Slice thickness, and the distance between slices.
    slices, matrix
        Number of slices; rows and columns of each. The lungs are whole within the slices: their
        height follows ``slices * slice_mm``, up to a natural one.
    pixel_mm
        Pixel spacing; None keeps the field of view at 358.4 mm. The chest is scaled to the field.
    noise_hu
        Standard deviation in the middle of the body at 1.25 mm slices; thicker ones have less.
    seed
        Below 1000: demonstration and tests.
    patient
        Patient's Name (0010,0010) in the script of ``names``; empty: the style's own.
    """

    nodules: tuple[NoduleSpec, ...] = ()
    slice_mm: float = 1.25
    slices: int = 300
    matrix: int = 512
    pixel_mm: float | None = None
    noise_hu: float = 25.0
    seed: int = 1
    names: NameStyle = NameStyle.UTF8
    pixels: PixelStyle = PixelStyle.UNSIGNED_12
    patient: str = ""

    def __post_init__(self) -> None:
        checks = (
            (0.4 <= self.slice_mm <= 10, "slices of 0.4 to 10 mm"),
            (self.slices <= MOST_SLICES, f"at most {MOST_SLICES} slices"),
            (
                self.slices * self.slice_mm >= 80 and self.slices >= 12,
                "at least 12 slices and 80 mm",
            ),
            (64 <= self.matrix <= 1024, "a matrix of 64 to 1024"),
            (150 <= self.field_mm <= 500, "a field of view (matrix x pixel) of 150 to 500 mm"),
            (0 <= self.noise_hu <= 200, "noise of 0 to 200 HU"),
            (0 <= self.seed <= LARGEST_SEED, f"a seed of 0 to {LARGEST_SEED}"),
            (
                all(SMALLEST_NODULE_MM <= n.diameter_mm <= LARGEST_NODULE_MM for n in self.nodules),
                f"nodules of {SMALLEST_NODULE_MM:.0f} to {LARGEST_NODULE_MM:.0f} mm",
            ),
        )
        for holds, what in checks:
            if not holds:
                raise UsageError(f"a phantom needs {what}")

    @classmethod
    def spheres(
        cls,
        diameters_mm: Sequence[float],
        density: Density = Density.SOLID,
        *,
        slice_mm: float = 1.25,
        slices: int = 300,
        matrix: int = 512,
        seed: int = 1,
    ) -> "PhantomSpec":
        """Return a spec of spheres that share one density."""
        nodules = tuple(NoduleSpec(float(d), density) for d in diameters_mm)
        return cls(nodules, slice_mm=slice_mm, slices=slices, matrix=matrix, seed=seed)

    @property
    def in_plane_mm(self) -> float:
        """Pixel spacing, rounded as the header writes it."""
        return round(NATURAL_FIELD_MM / self.matrix if self.pixel_mm is None else self.pixel_mm, 4)

    @property
    def field_mm(self) -> float:
        """Side of the square field of view."""
        return self.in_plane_mm * self.matrix


@dataclass(frozen=True, slots=True, eq=False)
class PhantomNodule:
    """One sphere as it lies in the phantom: exact, not measured.

    Attributes
    ----------
    centre_index
        (z, y, x) of the volume's grid, fractional.
    volume_mm3
        Of the sphere, not of the mask.
    mask
        The voxels of the grid whose centres lie inside the sphere.
    """

    id: int
    centre_lps_mm: Vector
    centre_index: Vector
    diameter_mm: float
    volume_mm3: float
    density: Density
    laterality: Laterality
    mask: SourceMask


@dataclass(frozen=True, slots=True, eq=False)
class Phantom:
    """A synthetic chest CT and the truth about it."""

    spec: PhantomSpec
    volume: Volume
    nodules: tuple[PhantomNodule, ...]
