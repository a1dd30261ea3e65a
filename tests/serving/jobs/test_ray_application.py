"""What can be said of the application without a Ray."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from firstread.errors import PackageMissing, ServiceUnreachable
from models.package import find_package
from serving.archive.store import Store
from serving.jobs import ray_replica
from serving.jobs.engine import EngineLost
from serving.jobs.ray_application import Plan, connect, identify, ray_environment, with_deadline
from serving.jobs.ray_engine import EngineUnavailable
from tests.serving.jobs.engines import a_shelf


def test_a_package_is_named_in_full() -> None:
    newest = find_package(check_files=False)
    assert identify(None) == identify(newest.description.name)
    assert identify(None).reference == newest.reference
    assert identify(None).sha256 == newest.sha256
    folder = identify(str(newest.folder))
    assert folder.reference == str(newest.folder)
    with pytest.raises(PackageMissing):
        identify("none@1.0.0")


def test_a_call_that_hangs_is_given_up_and_an_error_comes_through() -> None:
    assert with_deadline(lambda: 3, 5.0) == 3
    with pytest.raises(ZeroDivisionError):
        with_deadline(lambda: 1 // 0, 5.0)
    began_s = time.monotonic()
    with pytest.raises(ServiceUnreachable, match="has not answered"):
        with_deadline(lambda: time.sleep(2), 0.2)
    assert time.monotonic() - began_s < 1.5


def test_a_cluster_that_is_not_there_is_told_at_once() -> None:
    began_s = time.monotonic()
    with pytest.raises(ServiceUnreachable):
        connect("127.0.0.1:9")
    assert time.monotonic() - began_s < 5


def test_tokens_are_on_and_usage_reports_off_unless_a_cluster_knows_no_tokens() -> None:
    asked = ray_environment({})
    assert asked["RAY_AUTH_MODE"] == "token"
    assert asked["RAY_USAGE_STATS_ENABLED"] == "0"
    assert ray_environment({"RAY_AUTH_MODE": "disabled"})["RAY_AUTH_MODE"] == "disabled"


def test_no_module_of_ours_imports_ray_when_it_is_imported() -> None:
    modules = ["ray_application", "ray_engine", "ray_local", "ray_replica", "ray_reaper"]
    names = ", ".join(f"serving.jobs.{name}" for name in modules)
    code = f"import sys, serving.cli.commands, {names}; raise SystemExit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unavailable_engine_is_a_lost_one_whose_try_does_not_count() -> None:
    # The worker counts tries of what is lost, and none of what is unavailable.
    error = EngineUnavailable("no replica")
    assert isinstance(error, EngineLost)
    assert error.code == "engine-unavailable"


@pytest.mark.slow
def test_a_replica_says_what_it_used_and_asks_to_be_replaced_after_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_replica, "MOST_STUDIES", 1)
    package = identify(None)
    replica = ray_replica.AnalysisReplica(Plan(1, 1, package.reference, "balanced"), Store)
    replica.check_health()
    answer = replica.analyse(a_shelf(tmp_path).request())
    assert answer.package_sha256 == package.sha256
    assert "findings.json" in answer.files
    with pytest.raises(ray_replica.ReplicaIsOld):
        replica.check_health()
