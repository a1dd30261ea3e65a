"""What the settings ask of Ray."""

from serving.jobs.ray_application import Plan, identify
from serving.service.worker import threads_of
from serving.settings import Settings


def plan_of(settings: Settings) -> Plan:
    """Return the plan of an application, with the package by its full name.

    On an existing cluster the cores of this machine say nothing: without ``threads`` each analysis
    has one.

    Raises
    ------
    PackageError
        ``package-missing``, ``package-damaged``: found before anything is started.
    """
    threads = threads_of(settings) if settings.ray_address is None else settings.threads or 1
    return Plan(
        replicas=settings.workers,
        threads=threads,
        package=identify(settings.package).reference,
        operating_point=settings.operating_point,
    )
