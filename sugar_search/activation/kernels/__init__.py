"""Kernels that read tables: C on a CPU, Triton on a GPU, plain torch where neither is; one set of operators over them."""
