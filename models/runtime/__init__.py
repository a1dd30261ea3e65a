"""Runtimes: arrays in, arrays out, behind one small protocol; the choice between them.

Providers, in the order of the automatic choice:

================ ======================================= ==========================================
provider         precision                               needs
================ ======================================= ==========================================
onnxruntime-cuda f32 (TF32 off)                          ``firstread[gpu]`` and a CUDA device
openvino-cpu     bf16 where the processor has AMX, else  ``firstread[cpu]``
                 f32
onnxruntime-cpu  f32: the reference of the others        ``firstread[cpu]`` or ``firstread[gpu]``
================ ======================================= ==========================================
"""

from models.runtime.choice import PROVIDERS, open_runtime
from models.runtime.protocol import Runtime

__all__ = ["PROVIDERS", "Runtime", "open_runtime"]
