"""A node pack for benchmarks: how much memory a sampler's steps take, seen from inside ComfyUI.

Models and prompts are there before the first step and do not count.
"""

import importlib.util
from pathlib import Path

from comfy.patcher_extension import WrappersMP
from comfy_api.latest import ComfyExtension, io

_spec = importlib.util.spec_from_file_location(
    f"{__name__}.harness", Path(__file__).resolve().parents[1] / "harness.py"
)
harness = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(harness)

peak = 0  # of the last sampling, in bytes


def _measured(executor, *args, **kwargs):
    global peak
    with harness.LiveStorages() as live:
        samples = executor(*args, **kwargs)
    peak = live.peak
    return samples


class WatchMemory(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema("BenchmarkWatchMemory", inputs=[io.Model.Input("model")], outputs=[io.Model.Output()])

    @classmethod
    def execute(cls, model) -> io.NodeOutput:
        watched = model.clone()
        watched.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, "benchmark", _measured)
        return io.NodeOutput(watched)


class ShowMemory(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema("BenchmarkShowMemory", inputs=[io.Latent.Input("sampled")], outputs=[], is_output_node=True)

    @classmethod
    def execute(cls, sampled) -> io.NodeOutput:
        return io.NodeOutput(ui={"bytes": [peak]})


class LiveMemory(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [WatchMemory, ShowMemory]


async def comfy_entrypoint() -> LiveMemory:
    return LiveMemory()
