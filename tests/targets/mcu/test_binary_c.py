"""Binary kernels as C sources: strict compilers take them, and they compute what they must."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np

import millijoule
from fixtures.binary_cases import attention_cases, embedding_case, linear_cases
from fixtures.kernels import types_of
from millijoule.converters.ops import VOCABULARY
from millijoule.targets.kernels import CPU_KERNELS
from millijoule.targets.mcu.csource import kernels_to_c
from millijoule.targets.target import get_target

INCLUDE = Path(millijoule.__file__).resolve().parent / "runtime" / "include"


def test_binary_kernels(tmp_path: Path) -> None:
    cases = [*linear_cases([(2, 65, 4), (1, 1100, 3)]), *attention_cases([(18, 2, 15)])]
    cases.append(embedding_case())
    target, forms = get_target("cortex-m7"), []
    for name, attrs, arrays, _ in cases:
        forms.append(CPU_KERNELS[name](attrs, types_of(arrays), target.isa))
    source = kernels_to_c({f"kernel{i}": form.func for i, form in enumerate(forms)}, target)
    (tmp_path / "kernels.h").write_text(source.header)
    (tmp_path / "kernels.c").write_text(source.source)
    strict = ["-std=c11", "-O2", "-Wall", "-Wextra", "-pedantic", "-Werror"]
    build = ["-shared", "-fPIC", f"-I{INCLUDE}", "kernels.c", "-o", "kernels.so", "-lm"]
    subprocess.run(["cc", *strict, *build], cwd=tmp_path, check=True)
    library = ctypes.CDLL(str(tmp_path / "kernels.so"))
    for i, ((name, attrs, arrays, expected), form) in enumerate(zip(cases, forms, strict=True)):
        results = VOCABULARY[name].results(attrs, types_of(arrays))
        operands = [form.packed[j](a) if j in form.packed else a for j, a in enumerate(arrays)]
        outputs = [np.zeros(t.shape, t.dtype) for t in (*results, *form.scratch)]
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (*operands, *outputs)]
        assert library[f"kernel{i}"](*pointers) == 0
        for got, want in zip(outputs, expected, strict=False):
            where = f"{name} {attrs}"
            if got.dtype == np.uint8:
                np.testing.assert_array_equal(got, want, where)
            else:  # multiply-adds are rounded twice
                np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-4, err_msg=where)
