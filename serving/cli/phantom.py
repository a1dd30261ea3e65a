"""``firstread phantom``: a synthetic chest CT with nodules whose truth is known."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from firstread.errors import UsageError
from serving.cli.output import progress_bar, tell, tell_json

Word = TypeVar("Word", bound=StrEnum)


def phantom(
    out: Annotated[Path, typer.Argument(help="New folder for the instances and truth.json.")],
    nodules: Annotated[
        str, typer.Option(help="Diameters in mm, separated by commas; empty for none.")
    ] = "6,10,20",
    density: Annotated[str, typer.Option(help="solid, part-solid or ground-glass.")] = "solid",
    spacing: Annotated[float, typer.Option(help="Distance between slices in mm.")] = 1.25,
    slices: Annotated[int, typer.Option(help="Number of slices.")] = 300,
    matrix: Annotated[int, typer.Option(help="Rows and columns of a slice.")] = 512,
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


def _diameters_mm(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",") if part.strip()]
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
