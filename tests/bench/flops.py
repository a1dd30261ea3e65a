"""How many floating point operations a network's convolutions take."""

from collections.abc import Sequence
from math import prod

import onnx

CONVOLUTIONS = ("Conv", "ConvTranspose")


def convolution_flops(network: bytes, input_shape: Sequence[int]) -> int:
    """Return the operations of one run; a product and a sum count as two.

    Parameters
    ----------
    network
        ONNX, one input.
    input_shape
        (1, channels, z, y, x).
    """
    model = onnx.load_from_string(network)
    for size, side in zip(
        model.graph.input[0].type.tensor_type.shape.dim, input_shape, strict=True
    ):
        size.dim_value = side
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    weights = {weight.name: list(weight.dims) for weight in graph.initializer}
    total = 0
    for node in graph.node:
        if node.op_type in CONVOLUTIONS:
            # Every voxel of the larger side meets every weight of a filter once.
            voxels = shapes[node.output[0] if node.op_type == "Conv" else node.input[0]][2:]
            total += 2 * prod(voxels) * prod(weights[node.input[1]])
    return total
