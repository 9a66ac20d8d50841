"""Targets ``jetson-*``: CUDA kernels by TVM, launched over the driver API by some lines of C.

`pipeline` lowers Relax to fused TIR functions, `schedule` binds them to threads, `cuda` makes
CUDA C and a launch table of them, `nvrtc` machine code for every GPU, `build` the bundle. On the
device there is neither TVM nor the CUDA toolkit: the program is ``libmodel.so`` with the machine
code inside, and it opens the driver's ``libcuda.so.1``.
"""
