"""What the GPU kernels compile to, without a GPU: Triton's compiler and the ptxas and cuobjdump that come with it."""

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from vcd_core.kernels.attention import kernel_sizes
from vcd_core.kernels.noise import BLOCK

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
ATTENTION_TARGETS = (80, 86, 89, 90)
NOISE_TARGETS = (75, *ATTENTION_TARGETS)
# dtype, width of a head, frames: the widths of SD1.5, the widest head with most frames in every dtype.
ATTENTION_VARIANTS = (("fp16", 40, 16), ("fp16", 80, 32), ("fp16", 160, 32), ("bf16", 160, 32), ("fp32", 160, 32))
NOISE_VARIANTS = (("AR(1) scan", "fp32"), ("AR(1) scan", "fp16"), ("Philox AR(1)", "fp32"))


@dataclass(frozen=True)
class Resources:
    """Of one thread the registers and the bytes spilled; of one program the bytes of shared memory.

    `ptx` and `sass` are the code, SASS as cuobjdump prints it.
    """

    registers: int
    spilled: int
    shared: int
    ptx: str
    sass: str


@cache
def attention_resources(dtype: str, width: int, frames: int, capability: int) -> Resources:
    from vcd_core.kernels.attention_triton import temporal_attention_kernel

    sizes = kernel_sizes(frames, width, DTYPES[dtype])
    warps = sizes.pop("num_warps")
    # Triton finds out at a launch that pointers and strides are multiples of 16, as all of SD1.5's are.
    aligned = ("q", "k", "v", "out", "_image", "_position")
    return _compile(temporal_attention_kernel, dtype, {**sizes, "MASKED": True}, aligned, capability, warps)


@cache
def noise_resources(name: str, dtype: str, capability: int) -> Resources:
    from vcd_core.kernels.noise_triton import ar1_kernel, philox_ar1_kernel

    kernel = {"AR(1) scan": ar1_kernel, "Philox AR(1)": philox_ar1_kernel}[name]
    sizes = {"CONTINUES": True, "BLOCK": BLOCK}
    return _compile(kernel, dtype, sizes, ("white", "previous", "out"), capability, warps=4)


TENSORS = ("q", "k", "v", "out", "white", "previous")
FLOATS = ("scale", "gamma", "innovation")


def _compile(kernel, dtype: str, constants: dict, aligned: tuple[str, ...], capability: int, warps: int) -> Resources:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    def kind(name: str) -> str:
        if name in constants:
            return "constexpr"
        if name in TENSORS:
            return f"*{dtype}"
        return {"visible": "*i1", "seed": "i64"}.get(name, "fp32" if name in FLOATS else "i32")

    names = kernel.arg_names
    attributes = {
        (index,): [["tt.divisibility", 16]]
        for index, name in enumerate(names)
        if name in aligned or name.endswith(tuple(end for end in aligned if end.startswith("_")) or "?")
    }
    source = ASTSource(kernel, {name: kind(name) for name in names}, constants, attributes)
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": warps})

    tools = Path(triton.__file__).parent / "backends/nvidia/bin"
    with tempfile.TemporaryDirectory() as folder:
        ptx, cubin = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        ptx.write_text(compiled.asm["ptx"])
        cubin.write_bytes(compiled.asm["cubin"])
        name = f"sm_{capability}a" if capability >= 90 else f"sm_{capability}"
        report = _run(tools, "ptxas", "-v", f"--gpu-name={name}", str(ptx), "-o", os.devnull)
        sass = _run(tools, "cuobjdump", "-sass", str(cubin))
    return Resources(
        registers=int(re.search(r"Used (\d+) registers", report)[1]),
        spilled=sum(int(count) for count in re.findall(r"(\d+) bytes spill", report)),
        shared=compiled.metadata.shared,
        ptx=compiled.asm["ptx"],
        sass=sass,
    )


def _run(tools: Path, tool: str, *arguments: str) -> str:
    environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', '')}"}  # cuobjdump asks nvdisasm
    finished = subprocess.run([tools / tool, *arguments], env=environment, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise RuntimeError(f"{tool}: {finished.stderr or finished.stdout}")
    return finished.stdout + finished.stderr
