"""What TVM's CUDA C includes under NVRTC, instead of the C++ library of the toolkit."""

from __future__ import annotations

_INTEGERS = """
namespace cuda { namespace std {
typedef signed char int8_t; typedef unsigned char uint8_t;
typedef short int16_t; typedef unsigned short uint16_t;
typedef int int32_t; typedef unsigned int uint32_t;
typedef long long int64_t; typedef unsigned long long uint64_t;
} }
"""


def _set(name: str, types: str) -> str:
    """A trait that is true for ``types``."""
    members = "".join(f"template <> struct {name}<{t}> : yes {{}};" for t in types.split(", "))
    return f"template <class T> struct {name} : no {{}}; {members}"


_SIGNED, _REAL = "signed char, short, int, long, long long", "float, double"
_UNSIGNED = "bool, unsigned char, unsigned short, unsigned int, unsigned long, unsigned long long"

_TRAITS = f"""
namespace cuda {{ namespace std {{
struct yes {{ static constexpr bool value = true; }};
struct no {{ static constexpr bool value = false; }};
template <class A, class B> struct is_same : no {{}};
template <class A> struct is_same<A, A> : yes {{}};
template <class A, class B> constexpr bool is_same_v = is_same<A, B>::value;
{_set("is_integral", f"{_SIGNED}, {_UNSIGNED}")}
{_set("is_signed", f"{_SIGNED}, {_REAL}")}
{_set("is_unsigned", _UNSIGNED)}
{_set("is_floating_point", _REAL)}
template <bool C, class T = void> struct enable_if {{}};
template <class T> struct enable_if<true, T> {{ typedef T type; }};
template <bool C, class A, class B> struct conditional {{ typedef A type; }};
template <class A, class B> struct conditional<false, A, B> {{ typedef B type; }};
}} }}
"""

HEADERS = {"cuda/std/cstdint": _INTEGERS, "cuda/std/type_traits": _TRAITS}
