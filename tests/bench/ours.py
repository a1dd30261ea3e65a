"""Firstread on one study, stage by stage, in a process of its own.

::

    python -m tests.bench.ours STUDY OUT [--package NAME@VERSION] [--packages ROOT] [--provider P]

The study is analysed once to warm up (libraries, decoder child, the network's kernels for this
shape, page cache), and once more with every stage timed.
"""

import argparse
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.dicom.reader import open_upload
from inference.pipeline import Timings, analyse
from inference.results import document, headers
from inference.results.analysis import Analysis
from inference.results.identity import content_digest, result_uids
from inference.results.key_images import draw_key_image
from inference.results.seg import build_seg
from inference.results.sr import build_sr
from inference.results.writing import write_results
from models.package import SHIPPED, Package, find_package
from models.runtime import Runtime, open_runtime
from models.runtime.protocol import Outputs
from tests.bench.flops import convolution_flops
from tests.bench.parts import Stopwatch


@dataclass(slots=True)
class RecordedTimings(Timings):
    """The pipeline's timings, kept by the bench's watch."""

    watch: Stopwatch = field(default_factory=Stopwatch)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block by the watch."""
        with self.watch.stage(name):
            yield


@dataclass(slots=True)
class DetectionSteps:
    """Turns the steps that the detection tells of into stages of their own."""

    watch: Stopwatch
    names: tuple[str, ...] = ("resample", "network", "decode")
    opened: ExitStack = field(default_factory=ExitStack)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """End the step that is done and begin the next."""
        if stage == "detect":
            assert total == len(self.names)
            self.opened.close()
            if done < total:
                self.opened.enter_context(self.watch.stage(self.names[done]))


@dataclass(slots=True)
class NotingRuntime:
    """A runtime that notes what goes through it; the numbers are the runtime's own."""

    inner: Runtime
    input_shape: tuple[int, ...] = ()
    output_bytes: int = 0
    provider: str = field(init=False)
    precision: str = field(init=False)
    version: str = field(init=False)
    processor: str = field(init=False)

    def __post_init__(self) -> None:
        self.provider, self.precision = self.inner.provider, self.inner.precision
        self.version, self.processor = self.inner.version, self.inner.processor

    def run(self, volume: NDArray[np.float32]) -> Outputs:
        """Run the network once."""
        outputs = self.inner.run(volume)
        self.input_shape = volume.shape
        self.output_bytes = sum(array.nbytes for array in outputs.values())
        return outputs


def main() -> None:
    """Analyse twice, report the second time."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ours")
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--package")
    parser.add_argument("--packages", type=Path, default=SHIPPED)
    parser.add_argument("--provider")
    given = parser.parse_args()
    package = find_package(given.package, given.packages)
    cold = Stopwatch()
    with cold.stage("cold"):
        runtime = NotingRuntime(open_runtime(package, given.provider))
        run(given.study, given.out, package, runtime, Stopwatch())
    watch = Stopwatch()
    analysis = run(given.study, given.out, package, runtime, watch)
    build_again(analysis, watch)
    watch.report(
        cold_wall_s=cold.spans[0].end_s - cold.spans[0].start_s,
        **facts(analysis, given.out, package, runtime),
    )
    shutil.rmtree(given.out)


def run(
    study: Path, out: Path, package: Package, runtime: NotingRuntime, watch: Stopwatch
) -> Analysis:
    """Analyse once from files to files."""
    with watch.stage("total"), ExitStack() as opened:
        with watch.stage("read"):
            upload = opened.enter_context(open_upload([study]))
        timings = RecordedTimings(watch=watch)
        analysis = analyse(
            upload, package, lambda: runtime, timings=timings, progress=DetectionSteps(watch)
        )
        with watch.stage("results"):
            write_results(analysis, out, replace=True)
    return analysis


def build_again(analysis: Analysis, watch: Stopwatch) -> None:
    """Build each result once more, alone: what the stage ``results`` is made of."""
    codecs = analysis.study.codecs if analysis.study else {}
    content = document.describe(analysis)
    with watch.stage("results: headers"):
        sources = [headers.clean_header(instance, codecs) for instance in analysis.instances]
    digest = content_digest(content, [finding.mask for finding in analysis.findings], sources)
    count = len(analysis.findings)
    uids = result_uids(analysis.package, analysis.software_version, digest, count)
    with watch.stage("results: SEG"):
        seg = build_seg(analysis, sources, uids) if count else None
    with watch.stage("results: SR"):
        build_sr(analysis, sources, seg, uids)
    with watch.stage("results: key images"):
        for finding in analysis.findings:
            draw_key_image(analysis, finding)


def facts(
    analysis: Analysis, out: Path, package: Package, runtime: NotingRuntime
) -> dict[str, object]:
    """Return what the limits are computed from, and what came out."""
    assert analysis.volume is not None, f"not scored: {analysis.verdict.status}"
    network = package.file_bytes(package.description.stages[0].file)
    return {
        "package": package.reference,
        "runtime": f"{runtime.provider} {runtime.version}, {runtime.precision}",
        "verdict": str(analysis.verdict.status),
        "findings": len(analysis.findings),
        "candidates": len(analysis.candidates),
        "files": len(analysis.instances),
        "voxels": list(analysis.volume.hu.shape),
        "network_shape": list(runtime.input_shape),
        "network_flops": convolution_flops(network, runtime.input_shape),
        "output_bytes": runtime.output_bytes,
        "written_bytes": sum(path.stat().st_size for path in out.rglob("*") if path.is_file()),
        "picture_bytes": sum(_raw_bytes(path) for path in out.glob("key_images/*.png")),
    }


def _raw_bytes(picture: Path) -> int:
    with Image.open(picture) as image:
        return image.width * image.height * len(image.getbands())


if __name__ == "__main__":
    main()
