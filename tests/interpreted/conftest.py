"""Tests of the Triton kernels in Triton's interpreter, on the CPU.

`tests/core/test_kernels.py` starts pytest on this folder with TRITON_INTERPRET=1, which must be set before Triton is
imported. Without it the folder is not collected.
"""

import os

if os.environ.get("TRITON_INTERPRET") != "1":
    collect_ignore_glob = ["test_*.py"]
