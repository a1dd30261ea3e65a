"""``firstread phantom``: a synthetic chest CT with nodules whose truth is known."""

import unicodedata
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from firstread.errors import PackageError, UsageError
from serving.cli.output import progress_bar, say, tell, tell_json
from serving.cli.packages import locate

if TYPE_CHECKING:
    from inference.phantom import PhantomSpec

Word = TypeVar("Word", bound=StrEnum)


def phantom(
    out: Annotated[Path, typer.Argument(help="New folder for the instances and truth.json.")],
    nodules: Annotated[
        str, typer.Option(help="Diameters in mm, separated by commas; empty for none.")
    ] = "6,10,20",
    density: Annotated[str, typer.Option(help="solid, part-solid or ground-glass.")] = "solid",
    spacing: Annotated[float, typer.Option(help="Distance between slices in mm.")] = 1.25,
    slices: Annotated[int, typer.Option(help="Number of slices.")] = 300,
    matrix: Annotated[
        int, typer.Option(help="Rows and columns of a slice of 358 mm; fewer make larger pixels.")
    ] = 512,
    noise: Annotated[float, typer.Option(help="Noise in HU at 1.25 mm slices.")] = 25.0,
    seed: Annotated[int, typer.Option(help="Below 1000: demonstration and tests.")] = 1,
    names: Annotated[str, typer.Option(help="gb18030, utf-8 or latin.")] = "utf-8",
    as_json: Annotated[bool, typer.Option("--json", help="Print truth.json.")] = False,
) -> None:
    """Make a synthetic chest CT: OUT/*.dcm and OUT/truth.json, the same bytes for the same seed."""
    from inference.phantom import (
        Density,
        NameStyle,
        NoduleSpec,
        PhantomSpec,
        make_phantom,
        write_phantom,
    )
    from inference.phantom.writer import check_folder, truth

    check_folder(out)
    spec = PhantomSpec(
        tuple(
            NoduleSpec(diameter, _one_of(Density, density, "--density"))
            for diameter in _diameters_mm(nodules)
        ),
        slice_mm=spacing,
        slices=slices,
        matrix=matrix,
        noise_hu=noise,
        seed=seed,
        names=_one_of(NameStyle, names, "--names"),
    )
    with progress_bar() as progress:
        made = make_phantom(spec, progress)
        write_phantom(made, out, progress)
    for line in _why_not_scored(spec):
        say(f"note: {line}")
    if as_json:
        tell_json(truth(made))
        return
    tell(f"{slices} slices of {spacing:g} mm in {out}")
    for nodule in made.nodules:
        x, y, z = nodule.centre_lps_mm
        tell(
            f"  nodule {nodule.id}: {nodule.diameter_mm:g} mm {nodule.density}, "
            f"{nodule.laterality} lung, at ({x:.1f}, {y:.1f}, {z:.1f}) mm"
        )


def _why_not_scored(spec: "PhantomSpec") -> list[str]:
    """Return why ``analyse`` would not score such a phantom, by the limits of its own package."""
    from models.package import load_description

    try:
        package = load_description(locate(None))
    except PackageError:
        # A phantom needs no package, and analyse says what is wrong with it.
        return []
    limits = package.description.input_contract
    pixel_mm, most_pixel_mm = spec.in_plane_mm, limits.max_pixel_spacing_mm
    slice_mm, most_slice_mm = spec.slice_mm, limits.max_slice_spacing_mm
    found = (
        (pixel_mm > most_pixel_mm, f"pixels-too-large: {pixel_mm:g} mm, not {most_pixel_mm:g}"),
        (slice_mm > most_slice_mm, f"slices-too-thick: {slice_mm:g} mm, not {most_slice_mm:g}"),
        (
            spec.slices < limits.min_slices,
            f"too-few-slices: {spec.slices}, not {limits.min_slices}",
        ),
    )
    return [
        f"{package.reference} will not score this phantom ({why})" for holds, why in found if holds
    ]


def _diameters_mm(text: str) -> list[float]:
    # Commas and digits as a Chinese keyboard writes them are meant as what they look like.
    plain = unicodedata.normalize("NFKC", text).replace("、", ",")
    try:
        return [float(part) for part in plain.split(",") if part.strip()]
    except ValueError as error:
        raise UsageError(
            f"--nodules {text!r} is no list of numbers", advice="for instance --nodules 6,10,20"
        ) from error


def _one_of(kind: type[Word], value: str, option: str) -> Word:
    try:
        return kind(value)
    except ValueError as error:
        raise UsageError(
            f"{option} {value!r} is not known", advice="see firstread phantom --help"
        ) from error
