"""What every runtime can do and say."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Outputs = Mapping[str, NDArray[np.float32]]


class Runtime(Protocol):
    """One network, loaded and ready; results do not depend on the number of threads."""

    @property
    def provider(self) -> str:
        """Its name in :data:`models.runtime.PROVIDERS`; stands in every result."""
        ...

    @property
    def precision(self) -> str:
        """``f32`` or ``bf16``: what the convolutions are computed in."""
        ...

    @property
    def version(self) -> str:
        """Of the library."""
        ...

    @property
    def processor(self) -> str:
        """What computes: vendor, family and the vector units that choose a kernel, or the GPU."""
        ...

    def run(self, volume: NDArray[np.float32]) -> Outputs:
        """Run the network once.

        Parameters
        ----------
        volume
            float32 (1, 1, z, y, x), normalised as the package says; each side a multiple of its
            ``size_multiple``. Not written to.

        Returns
        -------
        Output name -> float32 array, new at every call. A runtime may know an output by further
        names too.
        """
        ...
