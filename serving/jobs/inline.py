"""The engine ``inline``: analyses in the worker's own process, with everything warm.

A crash of native code ends the worker; the supervisor starts another one and gives the study back.
"""

from serving.jobs.analysis import OpenObjects, Warm, analyse_objects
from serving.jobs.engine import Analysed, AnalysisRequest


class InlineEngine:
    """See :class:`serving.jobs.engine.Engine`; one study at a time.

    Parameters
    ----------
    open_objects
        Opens a store by its folder.
    """

    name = "inline"
    slots = 1

    def __init__(self, open_objects: OpenObjects) -> None:
        self.warm = Warm(open_objects)

    def analyse(self, request: AnalysisRequest) -> Analysed:
        """Analyse one study here; see :class:`serving.jobs.engine.Engine`."""
        return analyse_objects(request, self.warm)

    def healthy(self) -> bool:
        """Whether it would take a study: it is this process, and it answers."""
        return True

    def close(self) -> None:
        """Nothing of it outlives the process."""
