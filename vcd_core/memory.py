"""Telling that memory ran out."""

# What those of PyTorch's allocators say whose errors are of no class of their own.
ALLOCATORS = ("DefaultCPUAllocator", "MPS backend out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a GPU's memory or the computer's did not suffice for PyTorch, which need not be loaded for this."""
    return type(error).__name__ == "OutOfMemoryError" or any(said in str(error) for said in ALLOCATORS)
