"""Somebody else's client library stores, searches and retrieves, as it comes."""

import io
from collections.abc import Iterator

import numpy as np
import pydicom
import pytest
import requests
from dicomweb_client import DICOMwebClient
from PIL import Image
from pydicom import Dataset

from tests.serving.api.a_server import Server, a_server, bearer
from tests.serving.api.images import JPEG_LS, SEG, a_ramp, an_image
from tests.serving.studies.a_study import SR, an_instance
from tests.shared import SHARED, needs_shared

FRAMES = a_ramp(frames=3)


def read(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data))


@pytest.fixture(scope="module")
def server(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[DICOMwebClient]:
    with requests.Session() as session:
        session.headers.update(bearer(server.token))
        client = DICOMwebClient(server.url, session=session)
        client.set_http_retry_params(retry=False)
        yield client


@pytest.fixture(scope="module")
def sent(client: DICOMwebClient) -> list[Dataset]:
    """Return what was stored: single and multi-frame, compressed, a SEG and an SR."""
    data_sets = [
        read(an_image(number=1, WindowCenter="0", WindowWidth="2000")),
        read(an_image(FRAMES, number=2, compressed=JPEG_LS)),
        read(an_image(FRAMES > 0, number=3, sop_class=SEG, modality="SEG")),
        read(an_instance(4, sop_class=SR, modality="SR", MediaStorageSOPInstanceUID=None)),
    ]
    answer = client.store_instances(data_sets)
    assert len(answer.ReferencedSOPSequence) == 4
    assert "FailedSOPSequence" not in answer
    return data_sets


def test_it_finds_what_it_stored(client: DICOMwebClient, sent: list[Dataset]) -> None:
    (study,) = client.search_for_studies(search_filters={"PatientName": "王*"}, fields=["StudyID"])
    found = Dataset.from_json(study)
    assert found.StudyInstanceUID == sent[0].StudyInstanceUID
    assert list(found.ModalitiesInStudy) == ["CT", "SEG", "SR"]
    assert len(client.search_for_series(found.StudyInstanceUID)) == 3
    assert len(client.search_for_instances(found.StudyInstanceUID)) == 4
    assert client.search_for_studies(search_filters={"PatientID": "nobody"}) == []
    assert len(client.search_for_instances(limit=2, offset=1)) == 2
    assert len(client.search_for_instances(get_remaining=True, limit=1)) == 4


def test_it_retrieves_what_it_stored(client: DICOMwebClient, sent: list[Dataset]) -> None:
    study = sent[0].StudyInstanceUID
    assert len(client.retrieve_study(study)) == 4
    assert len(client.retrieve_series(study, sent[0].SeriesInstanceUID)) == 2
    for data_set in sent:
        uids = study, data_set.SeriesInstanceUID, data_set.SOPInstanceUID
        same = client.retrieve_instance(*uids)
        assert same == data_set
        assert same.file_meta.TransferSyntaxUID == data_set.file_meta.TransferSyntaxUID


def test_it_reads_metadata_and_bulk_data(client: DICOMwebClient, sent: list[Dataset]) -> None:
    study = sent[0].StudyInstanceUID
    assert len(client.retrieve_study_metadata(study)) == 4
    assert len(client.retrieve_series_metadata(study, sent[0].SeriesInstanceUID)) == 2
    uids = study, sent[0].SeriesInstanceUID, sent[0].SOPInstanceUID
    metadata = client.retrieve_instance_metadata(*uids)
    header = Dataset.from_json(metadata, bulk_data_uri_handler=lambda _: b"")
    assert str(header.PatientName) == "Wang^XiaoDong=王^小东"
    (pixels,) = client.retrieve_bulkdata(metadata["7FE00010"]["BulkDataURI"])
    assert pixels == sent[0].PixelData


def test_it_retrieves_frames(client: DICOMwebClient, sent: list[Dataset]) -> None:
    uids = sent[1].StudyInstanceUID, sent[1].SeriesInstanceUID, sent[1].SOPInstanceUID
    frames = client.retrieve_instance_frames(*uids, frame_numbers=[1, 3])
    assert frames == [FRAMES[0].tobytes(), FRAMES[2].tobytes()]
    (jls,) = client.retrieve_instance_frames(
        *uids, frame_numbers=[2], media_types=(("image/jls", JPEG_LS),)
    )
    assert jls.startswith(b"\xff\xd8")


def test_it_retrieves_pictures(client: DICOMwebClient, sent: list[Dataset]) -> None:
    uids = sent[0].StudyInstanceUID, sent[0].SeriesInstanceUID, sent[0].SOPInstanceUID
    for kind, form in (("image/jpeg", "JPEG"), ("image/png", "PNG")):
        data = client.retrieve_instance_rendered(
            *uids, media_types=(kind,), params={"window": "0,2000,linear"}
        )
        image = Image.open(io.BytesIO(data))
        assert (image.format, image.size) == (form, (64, 40))
        assert np.asarray(image)[0, 0] < np.asarray(image)[-1, -1]
    uids = sent[2].StudyInstanceUID, sent[2].SeriesInstanceUID, sent[2].SOPInstanceUID
    data = client.retrieve_instance_frames_rendered(*uids, [3], media_types=("image/png",))
    assert set(np.asarray(Image.open(io.BytesIO(data))).ravel()) == {255}


@pytest.mark.slow
@needs_shared
def test_real_files_of_every_transfer_syntax_come_back(client: DICOMwebClient) -> None:
    folder = SHARED / "data" / "conformance" / "cornerstone"
    syntaxes = set()
    for path in sorted(folder.iterdir()):
        with path.open("rb") as stream:
            data_set = pydicom.dcmread(stream)
            stream.seek(0)
            raw = stream.read()
        uids = data_set.StudyInstanceUID, data_set.SeriesInstanceUID, data_set.SOPInstanceUID
        answer = _store_bytes(client, raw)
        if answer.status_code != 200:
            # The files of one scanner's slice share their UIDs: the first is kept.
            assert answer.status_code == 409, path.name
            continue
        syntaxes.add(data_set.file_meta.TransferSyntaxUID)
        metadata = client.retrieve_instance_metadata(*uids)
        assert metadata["00080018"]["Value"] == [data_set.SOPInstanceUID]
        if "PixelData" in data_set:
            (frame,) = client.retrieve_instance_frames(*uids, frame_numbers=[1])
            assert len(frame) == data_set.Rows * data_set.Columns * data_set.BitsAllocated // 8
    assert syntaxes


def _store_bytes(client: DICOMwebClient, data: bytes) -> requests.Response:
    head = b"--b\r\nContent-Type: application/dicom\r\n\r\n"
    return client._session.post(
        f"{client.base_url}/studies",
        data=head + data + b"\r\n--b--\r\n",
        headers={"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'},
        timeout=60,
    )
