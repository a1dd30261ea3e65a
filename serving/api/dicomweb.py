"""DICOMweb under ``/dicom-web``: STOW-RS, QIDO-RS, WADO-RS (docs/dicomweb.md).

Who asks sees the studies of its site, and our own results only while they are the visible ones;
everything else is not there (404). Source: PS3.18.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from serving.accounts.caller import Caller, Right
from serving.api import instances, metrics, pixel_work, qido, stow, wado
from serving.api.datasets import WRITTEN, Attributes, as_json, ordered, written
from serving.api.media_types import DICOM_JSON, JSON, choose
from serving.api.multipart import RelatedParser, boundary_of
from serving.api.negotiation import (
    EXPLICIT_LITTLE,
    accepted,
    frame_form,
    instance_forms,
    not_modified,
)
from serving.api.rendered import TYPES, Wish, read_wish
from serving.api.spool import Spool
from serving.archive.index import Filters, InstanceRow
from serving.errors import BadRequest, NotFound
from serving.http.dependencies import Service, caller, get_service
from serving.http.heads import answer_heads
from serving.http.origin import FORWARDED
from serving.studies.finding import (
    Page,
    ensure_visible,
    look_at_instances,
    search_instances,
    search_series,
    search_studies,
)
from serving.studies.receive import receive

PREFIX = "/dicom-web"
STUDIES = "/studies"
STUDY = "/studies/{study}"
SERIES = "/studies/{study}/series/{series}"
INSTANCE = "/studies/{study}/series/{series}/instances/{instance}"

THUMBNAIL_SIDE = 128
MOST_FRAMES = 1000

DEFAULT_PORTS = {"http": 80, "https": 443}

_UID = re.compile(r"[0-9.]{1,64}")
_FRAME = re.compile(r"[0-9]{1,9}")

router = APIRouter(prefix=PREFIX, tags=["DICOMweb"], default_response_class=Response)

Asking = Annotated[Service, Depends(get_service)]
Sender = Annotated[Caller, Depends(caller(Right.SEND))]
Reader = Annotated[Caller, Depends(caller(Right.READ))]


# --- store ----------------------------------------------------------------------------------------


@router.post(STUDIES)
async def store_instances(request: Request, service: Asking, sender: Sender) -> Response:
    """Store instances of any studies."""
    return await _store(request, service, sender, "")


@router.post(STUDY)
async def store_study(request: Request, service: Asking, sender: Sender, study: str) -> Response:
    """Store instances of one study."""
    if not _UID.fullmatch(study):
        raise BadRequest("the address holds no Study Instance UID")
    return await _store(request, service, sender, study)


async def _store(request: Request, service: Service, sender: Caller, study_uid: str) -> Response:
    media_type = choose(accepted(request), WRITTEN)
    boundary, kind = boundary_of(request.headers.get("content-type", ""))
    # A body above the ceiling is refused for that, as soon as it is read.
    coming_bytes = min(_length(request), service.settings.max_request_bytes)
    stow.ensure_room(service.store, service.settings, coming_bytes)
    parser = RelatedParser(boundary)
    intake = stow.Intake(service.store, service.settings, parser, stow.kind_of(kind), study_uid)
    uploads: stow.Uploads = request.app.state.uploads
    site_id = sender.site_id
    # Without a site nobody has the right to send.
    assert site_id is not None
    with uploads.one_of(site_id):
        arrivals = await stow.take_body(request.stream(), intake)
    answers = await run_in_threadpool(
        receive,
        service.engine,
        service.store,
        service.policy,
        site_id,
        arrivals,
        now=service.clock(),
    )
    figures: metrics.HttpFigures = request.app.state.http_figures
    figures.refuse(stow.refusals(answers, intake.failed))
    document = stow.response(arrivals, answers, intake.failed, _studies_url(request))
    return Response(
        written(document, media_type),
        status_code=stow.status_of(answers, intake.failed),
        media_type=media_type,
    )


def _length(request: Request) -> int:
    length = request.headers.get("content-length", "0")
    return int(length) if re.fullmatch(r"[0-9]{1,18}", length) else 0


# --- search ---------------------------------------------------------------------------------------


@router.get(STUDIES)
def search_all_studies(request: Request, service: Asking, reader: Reader) -> Response:
    """Search for studies."""
    search = qido.read_search(request.query_params.multi_items(), "studies")
    rows = search_studies(service.engine, reader, search.filters, _page(search))
    url = _studies_url(request)
    return _found(request, search, [qido.study_attributes(row, url) for row in rows])


@router.get("/series")
def search_all_series(request: Request, service: Asking, reader: Reader) -> Response:
    """Search for series of all studies."""
    return _search_series(request, service, reader, "")


@router.get(STUDY + "/series")
def search_series_of_study(
    request: Request, service: Asking, reader: Reader, study: str
) -> Response:
    """Search for series of a study."""
    ensure_visible(service.engine, reader, Filters((study,)))
    return _search_series(request, service, reader, study)


@router.get("/instances")
def search_all_instances(request: Request, service: Asking, reader: Reader) -> Response:
    """Search for instances of all studies."""
    return _search_instances(request, service, reader, "", "")


@router.get(STUDY + "/instances")
def search_instances_of_study(
    request: Request, service: Asking, reader: Reader, study: str
) -> Response:
    """Search for instances of a study."""
    ensure_visible(service.engine, reader, Filters((study,)))
    return _search_instances(request, service, reader, study, "")


@router.get(SERIES + "/instances")
def search_instances_of_series(
    request: Request, service: Asking, reader: Reader, study: str, series: str
) -> Response:
    """Search for instances of a series."""
    ensure_visible(service.engine, reader, Filters((study,), (series,)))
    return _search_instances(request, service, reader, study, series)


def _search_series(request: Request, service: Service, reader: Caller, study: str) -> Response:
    search = qido.read_search(request.query_params.multi_items(), "series", study)
    url = _studies_url(request)
    rows = search_series(
        service.engine, reader, search.filters, _page(search), with_study=not study
    )
    return _found(request, search, [qido.found_series(row, url) for row in rows])


def _search_instances(
    request: Request, service: Service, reader: Caller, study: str, series: str
) -> Response:
    search = qido.read_search(request.query_params.multi_items(), "instances", study, series)
    url = _studies_url(request)
    rows = search_instances(
        service.engine,
        reader,
        search.filters,
        _page(search),
        with_series=not series,
        with_study=not study,
    )
    return _found(request, search, [qido.found_instance(row, url) for row in rows])


def _page(search: qido.Search) -> Page:
    """Return what is read: one more than the limit says that there is more."""
    return Page(search.limit + 1, search.offset)


def _found(request: Request, search: qido.Search, found: list[Attributes]) -> Response:
    """Return what was found; one more than the limit says that there is more."""
    warnings = list(search.warnings)
    if len(found) > search.limit:
        found = found[: search.limit]
        warnings.append(qido.MORE_RESULTS)
    headers = {"Warning": ", ".join(warnings)} if warnings else {}
    media_type = choose(accepted(request), (DICOM_JSON, JSON))
    if not found:
        return Response(status_code=204, headers=headers)
    document = as_json([ordered(data_set) for data_set in found])
    return Response(document, media_type=media_type, headers=headers)


# --- retrieve -------------------------------------------------------------------------------------


@router.get(STUDY)
@router.get(SERIES)
@router.get(INSTANCE)
async def retrieve_instances(request: Request, service: Asking, reader: Reader) -> Response:
    """Retrieve the instances of a study or of a series, or one."""
    rows = await run_in_threadpool(_instances, request, service, reader)
    alone = "instance" in request.path_params
    ranges = accepted(request)
    forms = {
        syntax: instance_forms(ranges, syntax, alone=alone)
        for syntax in sorted({row.transfer_syntax_uid for row in rows})
    }
    retrieval = _retrieval(request, service)
    # The parts say their addresses, which begin with the host that was asked.
    tag = wado.tag_of(rows, retrieval.studies_url, request.url.path, repr(forms))
    if unchanged := not_modified(request, tag):
        return unchanged
    wanted = [instances.Wanted(row, forms[row.transfer_syntax_uid]) for row in rows]
    work: pixel_work.PixelWork = request.app.state.pixel_work
    return await instances.Given(retrieval, work, service.settings.free_bytes).response(wanted, tag)


@router.get(STUDY + "/metadata")
@router.get(SERIES + "/metadata")
@router.get(INSTANCE + "/metadata")
def retrieve_metadata(request: Request, service: Asking, reader: Reader) -> Response:
    """Retrieve the headers of the instances of a study, a series, or of one."""
    rows = _instances(request, service, reader)
    media_type = choose(accepted(request), WRITTEN)
    retrieval = _retrieval(request, service)
    codecs = sorted(rows[0].codecs.items())
    tag = wado.tag_of(rows, retrieval.studies_url, media_type, repr(codecs))
    return not_modified(request, tag) or wado.metadata_response(retrieval, rows, media_type, tag)


@router.get(INSTANCE + "/frames/{frames}")
async def retrieve_frames(
    request: Request, service: Asking, reader: Reader, frames: str
) -> Response:
    """Retrieve frames of an instance: ``1`` or ``1,2,3``."""
    (row,) = await run_in_threadpool(_instances, request, service, reader)
    return await _frames(request, service, row, _numbers(frames))


@router.get(INSTANCE + "/bulkdata/{path:path}")
async def retrieve_bulk_data(
    request: Request, service: Asking, reader: Reader, path: str
) -> Response:
    """Retrieve a long value that a header names by its address."""
    (row,) = await run_in_threadpool(_instances, request, service, reader)
    if path == wado.PIXEL_DATA:
        return await _frames(request, service, row, range(1, row.frames + 1))
    form = frame_form(accepted(request), EXPLICIT_LITTLE, alone=True)
    retrieval = _retrieval(request, service)
    tag = wado.tag_of([row], retrieval.studies_url, path, repr(form))
    if unchanged := not_modified(request, tag):
        return unchanged
    return await run_in_threadpool(wado.bulk_data_response, retrieval, row, path, form, tag)


async def _frames(
    request: Request, service: Service, row: InstanceRow, numbers: Sequence[int]
) -> Response:
    form = frame_form(accepted(request), row.transfer_syntax_uid, alone=len(numbers) == 1)
    retrieval = _retrieval(request, service)
    # A range says itself in few words, however many frames a header claims.
    tag = wado.tag_of([row], retrieval.studies_url, repr(numbers), repr(form))
    work = partial(wado.frames_response, retrieval, row, numbers, form, tag)
    return not_modified(request, tag) or await _run(request, work)


@router.get(INSTANCE + "/rendered")
@router.get(INSTANCE + "/frames/{frames}/rendered")
async def retrieve_rendered(request: Request, service: Asking, reader: Reader) -> Response:
    """Retrieve a frame as JPEG or PNG; of an instance the middle one."""
    (row,) = await run_in_threadpool(_instances, request, service, reader)
    wish = read_wish(request.query_params)
    frames = request.path_params.get("frames")
    number = (row.frames + 1) // 2
    if frames is not None:
        (number,) = _numbers(frames, most=1)
    return await _rendered(request, service, row, number, wish)


@router.get(STUDY + "/thumbnail")
@router.get(SERIES + "/thumbnail")
@router.get(INSTANCE + "/thumbnail")
async def retrieve_thumbnail(request: Request, service: Asking, reader: Reader) -> Response:
    """Retrieve a small picture: of a series or study the middle one of its images."""
    rows = await run_in_threadpool(_instances, request, service, reader)
    images = [row for row in rows if row.is_source and row.rows] or [r for r in rows if r.rows]
    if not images:
        raise NotFound("there is no image")
    row = images[len(images) // 2]
    query = {"viewport": f"{THUMBNAIL_SIDE},{THUMBNAIL_SIDE}", **request.query_params}
    return await _rendered(request, service, row, (row.frames + 1) // 2, read_wish(query))


async def _rendered(
    request: Request, service: Service, row: InstanceRow, number: int, wish: Wish
) -> Response:
    media_type = choose(accepted(request), TYPES)
    tag = wado.tag_of([row], str(number), repr(wish), media_type)
    retrieval = _retrieval(request, service)

    def picture() -> Response:
        data = wado.picture(retrieval, row, number, wish, media_type)
        return wado.spooled(Spool().add(data), len(data), media_type, tag)

    return not_modified(request, tag) or await _run(request, picture)


async def _run(request: Request, work: Callable[[], Response]) -> Response:
    mine: pixel_work.PixelWork = request.app.state.pixel_work
    return await mine.run(work)


def _numbers(text: str, most: int = MOST_FRAMES) -> list[int]:
    parts = text.split(",")
    if len(parts) > most or not all(map(_FRAME.fullmatch, parts)):
        raise BadRequest(f"frames are whole numbers with commas between them, at most {most}")
    numbers = [int(part) for part in parts]
    if min(numbers) < 1:
        raise BadRequest("frames are counted from 1")
    return numbers


# --- shared ---------------------------------------------------------------------------------------


def _studies_url(request: Request) -> str:
    """Return what the addresses of studies begin with, as who asks reaches us.

    Some clients leave the port out of Host; where no proxy stands between, it is the one they
    connected to.
    """
    settings = get_service(request).settings
    url = request.base_url
    if settings.secure_cookies:
        url = url.replace(scheme="https")
    elif url.port is None and not any(name in request.headers for name in FORWARDED):
        _, port = request.scope.get("server") or ("", None)
        url = url if port in (None, DEFAULT_PORTS.get(url.scheme)) else url.replace(port=port)
    return f"{str(url).rstrip('/')}{PREFIX}{STUDIES}"


def _retrieval(request: Request, service: Service) -> wado.Retrieval:
    return wado.Retrieval(service.store, _studies_url(request), service.clock())


def _instances(request: Request, service: Service, reader: Caller) -> tuple[InstanceRow, ...]:
    """Return the visible instances that an address names; the look is recorded."""
    filters = _filters(request.path_params)
    return look_at_instances(service.engine, reader, filters, service.clock())


def _filters(path: Mapping[str, str]) -> Filters:
    def uids(name: str) -> tuple[str, ...] | None:
        return (path[name],) if name in path else None

    return Filters(uids("study"), uids("series"), uids("instance"))


answer_heads(router)
