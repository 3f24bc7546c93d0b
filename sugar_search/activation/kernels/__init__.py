"""Kernels that read tables: C on a CPU, Triton on a GPU, plain torch where neither is; and operators over them."""
