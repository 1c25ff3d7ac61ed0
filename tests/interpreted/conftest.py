"""Tests of the Triton kernels in Triton's interpreter, on the CPU.

`tests/core/test_kernels.py` starts pytest on this folder with TRITON_INTERPRET=1, which must be set before Triton is
imported. Without it the folder is not collected.
"""

import os

import pytest

if os.environ.get("TRITON_INTERPRET") != "1":
    collect_ignore_glob = ["test_*.py"]
else:
    import numpy as np
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle


@pytest.fixture(autouse=True, scope="session")
def products_of_bfloat16():
    """The interpreter keeps bfloat16 as its bits and would multiply those."""
    product = InterpreterBuilder.create_dot

    def as_float(handle):
        if handle.dtype.scalar != tl.bfloat16:
            return handle
        return TensorHandle((handle.data.astype(np.uint32) << 16).view(np.float32), tl.float32)

    def create_dot(builder, a, b, *rest):
        return product(builder, as_float(a), as_float(b), *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InterpreterBuilder, "create_dot", create_dot)
        yield
