"""A run's record in MLflow: parameters, data list, curves, and the package at the end.

MLflow is imported when a run begins, never with this module. The record lies in one SQLite file and
a folder of artifacts beside it; a server is needed only to look at it.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EXPERIMENT = "lung_nodule"


@dataclass(frozen=True, slots=True)
class Tracked:
    """A run that is being recorded.

    Attributes
    ----------
    run_id
        MLflow's.
    """

    run_id: str

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Add one point to each curve."""
        import mlflow

        mlflow.log_metrics(dict(values), step=step)

    def artifacts(self, path: Path, folder: str) -> None:
        """Keep a copy of a file, or of all files of a folder."""
        import mlflow

        if path.is_dir():
            mlflow.log_artifacts(str(path), folder)
        else:
            mlflow.log_artifact(str(path), folder)


@contextmanager
def tracked_run(root: Path, parameters: Mapping[str, Any], resumed_run: str) -> Iterator[Tracked]:
    """Record what happens inside; a stopped run can be taken up again.

    Parameters
    ----------
    root
        Folder of ``mlflow.db`` and ``mlflow-artifacts``; made where it is absent.
    parameters
        Written when the run begins.
    resumed_run
        Id of the run to go on with; empty begins a new one.
    """
    import mlflow

    logging.getLogger("alembic").setLevel(logging.WARNING)
    root.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(f"sqlite:///{(root / 'mlflow.db').resolve()}")
    if mlflow.get_experiment_by_name(EXPERIMENT) is None:
        mlflow.create_experiment(EXPERIMENT, (root / "mlflow-artifacts").resolve().as_uri())
    mlflow.set_experiment(EXPERIMENT)
    with mlflow.start_run(run_id=resumed_run or None) as run:
        if not resumed_run:
            mlflow.log_params(dict(parameters))
        yield Tracked(run.info.run_id)
