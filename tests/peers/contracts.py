"""The input contracts that the compared series are judged by."""

from models.package import InputContract, find_package
from tests.inference.gate.hand import COARSE


def geometry_contract() -> InputContract:
    """Return what ``truth.json`` of the geometry cases assumes of a package: coarse pixels."""
    return COARSE


def scan_contract() -> InputContract:
    """Return the limits of the package that ships; its weights are not read.

    Raises
    ------
    PackageMissing
        ``package-missing``
    """
    return find_package(check_files=False).description.input_contract
