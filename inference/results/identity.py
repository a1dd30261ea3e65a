"""Which UIDs the results of an analysis carry: hashes of who made them and of everything they say.

The same content gives the same UIDs on every try. A corrected patient name, another operating
point, another runtime or one moved voxel is other content and gives other UIDs, so that a PACS
never holds two contents under one UID. The source's pixels are not hashed: they act only through
masks and numbers.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset

from firstread.uids import uid_from
from inference.mask import SourceMask
from inference.results import document, headers
from inference.results.analysis import PackageUsed


@dataclass(frozen=True, slots=True)
class ResultUids:
    """Every UID that the result objects of one analysis make up."""

    seg_series: str
    seg_instance: str
    dimension_organization: str
    sr_series: str
    sr_instance: str
    exam_tracking: str
    finding_tracking: tuple[str, ...]
    device: str


def content_digest(
    content: document.Json, masks: Sequence[SourceMask], sources: Sequence[Dataset]
) -> str:
    """Return the SHA-256 over all that may differ between two results of one package and version.

    Parameters
    ----------
    content
        Of :func:`inference.results.document.describe`: findings, verdict, operating point, runtime.
    masks
        Of the findings, in their order.
    sources
        Cleaned headers of the stack's instances, in the order of the stack.
    """
    digest = hashlib.sha256()
    parts = [document.encode(content)]
    for mask in masks:
        parts.append(repr((mask.start_zyx, mask.voxels.shape)).encode())
        parts.append(np.packbits(mask.voxels).tobytes())
    parts.extend(headers.describe(header).encode() for header in sources)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def result_uids(
    package: PackageUsed, software_version: str, digest: str, findings: int
) -> ResultUids:
    """Return the UIDs of the results with this content."""

    def uid(role: str) -> str:
        return uid_from(
            package.name, package.version, package.sha256, software_version, role, digest
        )

    return ResultUids(
        seg_series=uid("series seg"),
        seg_instance=uid("instance seg"),
        dimension_organization=uid("dimension organization seg"),
        sr_series=uid("series sr"),
        sr_instance=uid("instance sr"),
        exam_tracking=uid("exam"),
        finding_tracking=tuple(uid(f"finding {number}") for number in range(1, findings + 1)),
        device=device_uid(package.name),
    )


def device_uid(package_name: str) -> str:
    """Return the UID of the installed algorithm, the same in all of its versions (Device UID)."""
    return uid_from("device", "Firstread", package_name)
