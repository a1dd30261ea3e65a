"""A run's configuration: checked before anything is computed."""

import json
from pathlib import Path

import pytest
import yaml

from firstread.errors import ConfigurationError
from training.configuration import (
    RESERVED_PATIENTS,
    ignored_regions_path,
    read_configuration,
    refuse_reserved,
)

SHIPPED = Path(__file__).resolve().parents[2] / "configs" / "training" / "lung_nodule.yaml"


def changed(tmp_path: Path, **changes: object) -> Path:
    """The shipped configuration with some keys replaced, beside its own list of ignored regions."""
    values = yaml.safe_load(SHIPPED.read_text("utf-8"))
    for key, value in changes.items():
        values[key] = {**values[key], **value} if isinstance(value, dict) else value
    (tmp_path / "ignore_regions.json").write_bytes(
        (SHIPPED.parent / "ignore_regions.json").read_bytes()
    )
    path = tmp_path / "made.yaml"
    path.write_text(yaml.safe_dump(values, allow_unicode=True), "utf-8")
    return path


def test_the_shipped_configuration_is_valid_and_its_list_is_locked() -> None:
    configuration = read_configuration(SHIPPED)
    assert configuration.package.name == "lung_nodule"
    assert configuration.phantoms.first_seed >= 1000


def test_a_changed_list_of_ignored_regions_refuses_to_train(tmp_path: Path) -> None:
    path = changed(tmp_path)
    with (tmp_path / "ignore_regions.json").open("a") as stream:
        stream.write(" ")
    with pytest.raises(ConfigurationError, match="SHA-256"):
        read_configuration(path)


def test_every_ignored_region_says_what_was_seen() -> None:
    listed = json.loads(
        ignored_regions_path(SHIPPED, read_configuration(SHIPPED)).read_text("utf-8")
    )
    assert all(region["reading"] and region["diameter_mm"] > 0 for region in listed["regions"])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"phantoms": {"first_seed": 999}}, "1000"),
        ({"phantoms": {"first_validation_seed": 1010}}, "different seeds"),
        ({"patches": {"shape_zyx": [48, 60, 64]}}, "multiples of 16"),
        ({"loop": {"learning_rates": 1}}, "[Ee]xtra"),
        ({"insertions": {"validation_share": 2}}, "less than or equal to 1"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        read_configuration(changed(tmp_path, **changes))


@pytest.mark.parametrize(
    "patient", [*sorted(RESERVED_PATIENTS), "lidc-idri-0003", " QIN-LSC-0049 "]
)
def test_patients_that_are_kept_for_acceptance_are_refused(patient: str) -> None:
    with pytest.raises(ConfigurationError, match="acceptance"):
        refuse_reserved(patient)


def test_other_patients_are_not() -> None:
    refuse_reserved("LIDC-IDRI-0001")
