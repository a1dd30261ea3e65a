"""One family of errors, each with a stable code that the edges turn into an exit code or status.

==================== ==== ================= ===========================================
class                exit code              raised when
==================== ==== ================= ===========================================
FirstreadError       1    internal          base class; never raised itself
UsageError           2    usage             the command line does not say one clear thing
SeveralStudies       2    several-studies   more than one study, and no ``--study``
NothingReadable      3    nothing-readable  not one readable DICOM instance in the input
PackageError         6    package-...       model package missing, damaged or refused
OutputError          7    output-...        the result cannot be written
ConfigurationError   8    configuration     a configuration file is wrong
ServiceUnreachable   9    unreachable       a service that is needed does not answer
NotDelivered         10   not-delivered     a server does not take what is sent to it
==================== ==== ================= ===========================================

Exit codes 4 and 5 (not scored: resend, refuse) belong to a verdict, which is a value and no error.
All codes, with advice, are listed in ``docs/errors.md``.
"""

from typing import ClassVar


class FirstreadError(Exception):
    """Something that the caller can act on: a stable code, one sentence, and advice."""

    code: ClassVar[str] = "internal"
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice


class UsageError(FirstreadError):
    """The command line does not say one clear thing."""

    code = "usage"
    exit_code = 2
    http_status = 400


class SeveralStudies(UsageError):
    """The input holds more than one study and none was chosen."""

    code = "several-studies"


class NothingReadable(FirstreadError):
    """Not one readable DICOM instance in the input."""

    code = "nothing-readable"
    exit_code = 3
    http_status = 422


class PackageError(FirstreadError):
    """A model package cannot be used; subclasses say why."""

    code = "package-refused"
    exit_code = 6
    http_status = 503


class PackageMissing(PackageError):
    """No package of that name and version."""

    code = "package-missing"


class PackageDamaged(PackageError):
    """A file of the package is absent, foreign or changed."""

    code = "package-damaged"


class RuntimeUnavailable(PackageError):
    """The asked-for provider is not installed, or not on this machine."""

    code = "runtime-unavailable"


class OutputError(FirstreadError):
    """The result cannot be written."""

    code = "output-unwritable"
    exit_code = 7


class OutputExists(OutputError):
    """There is something at the place of the output already."""

    code = "output-exists"


class ConfigurationError(FirstreadError):
    """A configuration file is wrong; the message gives file, line and reason."""

    code = "configuration"
    exit_code = 8


class NotDelivered(FirstreadError):
    """A server answers, and does not take what is sent to it."""

    code = "not-delivered"
    exit_code = 10
    http_status = 502


class ServiceUnreachable(FirstreadError):
    """A service that is needed cannot be reached."""

    code = "unreachable"
    exit_code = 9
    http_status = 503
