"""Face detectors in published ONNX layouts that take a pure red cell of their grid for the middle of a face."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, save

CELL = 8  # pixels at the working size
HALF = 2  # the face reaches so many cells from the middle of the marker, to every side
POINTS = ((-1.0, -1.0), (1.0, -0.75), (0.0, 0.0), (-0.5, 1.0), (0.5, 1.25))
"""The landmarks, in cells about the middle of the marker."""


def write_yunet(path: Path) -> Path:
    """YuNet's inputs and outputs: blue first, 0 to 255."""
    graph = _Graph()
    for stride in (8, 16, 32):
        share = 1 / (255 * stride**2) if stride == CELL else 0.0
        red = graph.convolution(stride, weights=[[-share, -share, share]], bias=[0.0], name=f"red_{stride}")
        middle = 0.5
        box = [middle, middle, float(np.log(2 * HALF)), float(np.log(2 * HALF))]
        points = [middle + value for point in POINTS for value in point]
        for name, values in (("cls", None), ("obj", None), ("bbox", box), ("kps", points)):
            maps = red if values is None else graph.constant_maps(stride, values)
            graph.output(maps, f"{name}_{stride}", columns=len(values or [0]), batched=True)
    return graph.write(path)


def write_model_pack(folder: Path) -> Path:
    """insightface's: SCRFD (red first, -1 to 1) with two anchors a cell, the second of which finds nothing, and
    ArcFace, whose embedding is a face's mean colour."""
    folder.mkdir(parents=True)
    graph = _Graph()
    anchors = {}
    for stride in (8, 16, 32):
        share = 1 / (2 * stride**2) if stride == CELL else 0.0
        # Anchors lie on the corners of cells: the marker's middle is half a cell further.
        box = [HALF - 0.5, HALF - 0.5, HALF + 0.5, HALF + 0.5]
        points = [0.5 + value for point in POINTS for value in point]
        # (red - green - blue) / 2 of values in [-1, 1] is 1.5 for pure red; 0.5 less makes it 1.
        score = graph.convolution(
            stride, weights=[[share, -share, -share], [0.0] * 3], bias=[-0.5, -1.0], name=f"heat_{stride}"
        )
        anchors[stride] = score, graph.constant_maps(stride, box * 2), graph.constant_maps(stride, points * 2)
    for kind, columns in enumerate((1, 4, 10)):
        for stride in (8, 16, 32):
            graph.output(anchors[stride][kind], f"{('score', 'bbox', 'kps')[kind]}_{stride}", columns, batched=False)
    graph.write(folder / "det.onnx")

    colour = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["embedding"]),
        ],
        "arcface",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 112, 112])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", 3])],
    )
    _save(colour, folder / "recognition.onnx")
    return folder


class _Graph:
    """Convolutions whose kernels are as large as their strides, and outputs with channels last."""

    def __init__(self) -> None:
        self.nodes, self.outputs, self.constants = [], [], []

    def constant(self, values, name: str, kind=TensorProto.FLOAT) -> str:
        values = np.asarray(values, np.int64 if kind == TensorProto.INT64 else np.float32)
        self.constants.append(helper.make_tensor(name, kind, values.shape, values.flatten()))
        return name

    def convolution(self, stride: int, weights: Sequence[Sequence[float]], bias: Sequence[float], name: str) -> str:
        kernel = np.broadcast_to(np.asarray(weights)[:, :, None, None], (len(weights), 3, stride, stride))
        inputs = ["input", self.constant(kernel, f"{name}.weight"), self.constant(bias, f"{name}.bias")]
        sizes = {"kernel_shape": [stride, stride], "strides": [stride, stride]}
        self.nodes.append(helper.make_node("Conv", inputs, [name], **sizes))
        return name

    def constant_maps(self, stride: int, values: Sequence[float]) -> str:
        return self.convolution(stride, [[0.0] * 3] * len(values), values, f"maps_{stride}_{len(self.nodes)}")

    def output(self, maps: str, name: str, columns: int, *, batched: bool) -> None:
        shape = self.constant([1, -1, columns] if batched else [-1, columns], f"{name}.shape", TensorProto.INT64)
        self.nodes.append(helper.make_node("Transpose", [maps], [f"{name}.last"], perm=[0, 2, 3, 1]))
        self.nodes.append(helper.make_node("Reshape", [f"{name}.last", shape], [name]))
        axes = [1, None, columns] if batched else [None, columns]
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, axes))

    def write(self, path: Path) -> Path:
        image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, None, None])
        return _save(helper.make_graph(self.nodes, "markers", [image], self.outputs, self.constants), path)


def _save(graph, path: Path) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=7)
    save(model, str(path))
    return path
