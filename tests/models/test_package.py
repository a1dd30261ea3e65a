"""Packages: whole and unchanged, or refused; found by name and version."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from firstread.errors import PackageDamaged, PackageError, PackageMissing
from models.package import (
    OPERATING_POINTS,
    Package,
    available_packages,
    find_package,
    load_description,
    load_package,
)
from tests.packages import describe, make_package

STAGE = describe("test_nodule", "1.0.0", {})["stages"][0]
POINT = describe("test_nodule", "1.0.0", {})["operating_points"]["balanced"]


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return make_package(tmp_path)


def test_a_whole_package_loads_with_its_identity(package: Package) -> None:
    again = load_package(package.folder)
    assert again.reference == "test_nodule@1.0.0"
    assert again.sha256 == package.sha256


@pytest.mark.parametrize("name", ["detect.onnx", "card.md"])
@pytest.mark.parametrize("at", [0, -1])
def test_one_changed_byte_is_refused(package: Package, name: str, at: int) -> None:
    path = package.folder / name
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(PackageDamaged, match=name):
        load_package(package.folder)


def test_bytes_that_change_after_loading_are_never_handed_out(package: Package) -> None:
    (package.folder / "detect.onnx").write_bytes(b"another network")
    with pytest.raises(PackageDamaged, match=r"detect\.onnx"):
        package.file_bytes("detect.onnx")


def test_another_description_is_another_identity(package: Package) -> None:
    path = package.folder / "model.yaml"
    path.write_text(path.read_text("utf-8") + "# a remark\n", "utf-8")
    assert load_package(package.folder).sha256 != package.sha256


def test_an_absent_file_is_refused(package: Package) -> None:
    (package.folder / "card.md").unlink()
    with pytest.raises(PackageDamaged, match=r"card\.md"):
        load_package(package.folder)


@pytest.mark.parametrize("name", ["extra.onnx", ".hidden"])
def test_a_file_that_is_not_listed_is_refused(package: Package, name: str) -> None:
    (package.folder / name).write_bytes(b"")
    with pytest.raises(PackageDamaged, match=name):
        load_package(package.folder)


def test_a_folder_that_is_not_listed_is_refused(package: Package) -> None:
    (package.folder / "more").mkdir()
    with pytest.raises(PackageDamaged, match="more"):
        load_package(package.folder)


@pytest.mark.parametrize("name", ["../card.md", "sub/card.md", "/etc/hostname", "..", "model.yaml"])
def test_a_listed_name_cannot_point_out_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(PackageDamaged, match="plain file name"):
        make_package(tmp_path, files={name: "0" * 64})


@pytest.mark.parametrize(
    "changes",
    [
        {"floor": 0.4},
        {"operating_points": {}, "floor": 0.0, "version": "1.0"},
        {"input_contract": {"max_slice_spacing": 3.0}},
        {"calibration": {"scale": 0.0}},
        {"stages": []},
        {"schema": "firstread/package/2"},
    ],
)
def test_a_description_that_breaks_the_schema_is_refused(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    version = str(changes.pop("version", "1.0.0"))
    with pytest.raises(PackageDamaged, match=r"model\.yaml"):
        make_package(tmp_path, version=version, **changes)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("preprocessing", {"hu_window": [400.0, -1000.0]}, "hu_window"),
        ("preprocessing", {"hu_window": [-1000.0, -1000.0]}, "hu_window"),
        ("preprocessing", {"size_multiple": 31}, "size_multiple"),
        ("input_contract", {"max_bridgeable_gap_mm": 5.9}, "max_bridgeable_gap_mm"),
        ("operating_points", {"high_sensitivity": POINT | {"threshold": 0.51}}, "operating points"),
        ("operating_points", {"few_alerts": POINT | {"threshold": 0.49}}, "operating points"),
        ("operating_points", {"balanced": None}, "operating points"),
        ("operating_points", {"few_alerts": None}, "operating points"),
        ("operating_points", {"high_sensitivity": None}, "operating points"),
    ],
)
def test_a_description_that_contradicts_itself_is_refused(
    tmp_path: Path, key: str, value: dict[str, Any], says: str
) -> None:
    document = describe("test_nodule", "1.0.0", {"detect.onnx": "0" * 64})
    holder = document["stages"][0] if key == "preprocessing" else document
    holder[key] |= value
    holder[key] = {name: kept for name, kept in holder[key].items() if kept is not None}
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(document), "utf-8")
    with pytest.raises(PackageDamaged, match=says):
        load_description(tmp_path)


def test_operating_points_may_share_one_threshold(tmp_path: Path) -> None:
    one = dict.fromkeys(OPERATING_POINTS, POINT)
    assert make_package(tmp_path, operating_points=one).description.floor < 0.5


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "segmentation"},
        {"stages": [STAGE, STAGE]},
        {"stages": [STAGE | {"role": "crop"}]},
    ],
)
def test_a_package_that_this_version_cannot_run_is_refused_and_not_half_run(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(PackageError, match="one detect stage") as caught:
        make_package(tmp_path, **changes)
    assert caught.value.code == "package-refused"
    assert "--package" in caught.value.advice


def test_a_stage_whose_file_is_not_listed_is_refused(package: Package) -> None:
    path = package.folder / "model.yaml"
    path.write_text(
        path.read_text("utf-8").replace("file: detect.onnx", "file: other.onnx"), "utf-8"
    )
    with pytest.raises(PackageDamaged, match=r"other\.onnx"):
        load_package(package.folder)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"{", b"- 1\n", b""])
def test_a_description_that_is_no_yaml_document_is_refused(package: Package, data: bytes) -> None:
    (package.folder / "model.yaml").write_bytes(data)
    with pytest.raises(PackageDamaged):
        load_package(package.folder)


def test_no_folder_and_no_description_are_missing_packages(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(PackageMissing):
            load_package(folder)


def test_the_description_alone_loads_without_weights(package: Package) -> None:
    (package.folder / "detect.onnx").unlink()
    assert load_description(package.folder).sha256 == package.sha256
    root = package.folder.parent.parent
    assert find_package("test_nodule", root, check_files=False).sha256 == package.sha256


def test_every_fault_of_a_package_has_exit_code_6_and_advice(tmp_path: Path) -> None:
    with pytest.raises(PackageError) as caught:
        find_package("lung@1.0.0", tmp_path)
    assert caught.value.exit_code == 6
    assert caught.value.advice


def test_the_newest_version_is_found_by_number_not_by_text(tmp_path: Path) -> None:
    for version in ("1.9.0", "1.10.0", "1.2.30"):
        make_package(tmp_path, version=version)
    assert available_packages(tmp_path)[0] == "test_nodule@1.10.0"
    assert find_package("test_nodule", tmp_path).reference == "test_nodule@1.10.0"
    assert find_package(None, tmp_path).reference == "test_nodule@1.10.0"
    assert find_package("test_nodule@1.9.0", tmp_path).reference == "test_nodule@1.9.0"


def test_without_a_name_several_names_are_no_choice(tmp_path: Path) -> None:
    make_package(tmp_path, name="one")
    make_package(tmp_path, name="two")
    with pytest.raises(PackageMissing) as caught:
        find_package(None, tmp_path)
    assert "one@1.0.0, two@1.0.0" in caught.value.advice


@pytest.mark.parametrize(
    "reference", ["test", "test_nodule@1", "test_nodule@", "@1.0.0", "", "../x"]
)
def test_a_reference_that_is_not_there_is_missing(package: Package, reference: str) -> None:
    with pytest.raises(PackageMissing):
        find_package(reference, package.folder.parent.parent)


def test_a_folder_that_names_another_package_is_refused(package: Package, tmp_path: Path) -> None:
    package.folder.rename(package.folder.with_name("2.0.0"))
    with pytest.raises(PackageDamaged, match="calls itself"):
        find_package("test_nodule@2.0.0", tmp_path)


def test_loading_a_package_imports_neither_torch_nor_a_runtime(package: Package) -> None:
    code = (
        "import sys; from pathlib import Path; from models.package import load_package; "
        f"load_package(Path({str(package.folder)!r})); "
        "heavy = {'torch', 'monai', 'onnx', 'onnxruntime', 'openvino', 'pydicom'}; "
        "assert not heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
