# pyright: basic
"""Sums over contiguous float64 windows, added up in sixteen fixed lanes.

A compiler may not regroup floating-point additions, so a plain loop adds one number after the other and a processor
that could add four at once does not. These sums say their own grouping: numbers 0, 16, 32, … of a window go to lane 0,
1, 17, … to lane 1, and so on; the lanes are added pairwise at the end, the rest that fills no four lanes last. The
grouping depends on nothing but the window's length, so equal windows give equal bits, whatever else is computed and
whatever the width of the machine's registers.

Windows are given by the address of their first number (:func:`address` of an array and a place in it), because handing
arrays from one compiled function to the next counts their references, which costs more than adding up a month.
Whoever calls keeps the array alive and the window inside it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import Signature
from numba.extending import intrinsic

_WIDTH = 4
_VECTORS = 4
_DOUBLE = ir.DoubleType()
_LANES = ir.VectorType(_DOUBLE, _WIDTH)
Values = list[Any]
_inlined: Any = intrinsic
"""Numba hands an intrinsic its types; what compiled code calls has one argument less."""


def _constant(kind: Any, value: float) -> Any:
    return ir.Constant(kind, [value] * _WIDTH) if isinstance(kind, ir.VectorType) else ir.Constant(kind, value)


def _spread(builder: Any, scalar: Any) -> Any:
    """A scalar in every lane."""
    first = builder.insert_element(ir.Constant(_LANES, ir.Undefined), scalar, ir.IntType(32)(0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), _WIDTH), [0] * _WIDTH)
    return builder.shuffle_vector(first, ir.Constant(_LANES, ir.Undefined), mask)


def _magnitude(builder: Any, value: Any) -> Any:
    """|value|."""
    kind = value.type
    name = f"llvm.fabs.{'v4f64' if isinstance(kind, ir.VectorType) else 'f64'}"
    return builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), name), [value])


def _load(builder: Any, pointer: Any, index: Any, kind: Any) -> Any:
    at = builder.gep(pointer, [index])
    if kind is _DOUBLE:
        return builder.load(at)
    return builder.load(builder.bitcast(at, kind.as_pointer()), align=8)


def _reduce(builder: Any, n: Any, term: Callable[[Any, Any], Values], count: int) -> Values:
    """``count`` sums over 0 … n−1 of what ``term(index, kind)`` gives, by the lanes of the module."""
    one = n.type

    def total(kind: Any) -> list[Any]:
        return [cgutils.alloca_once_value(builder, _constant(kind, 0.0)) for _ in range(count)]

    def add(to: list[Any], values: Values) -> None:
        for place, value in zip(to, values, strict=True):
            builder.store(builder.fadd(builder.load(place), value), place)

    lanes = [total(_LANES) for _ in range(_VECTORS)]
    rest = total(_DOUBLE)
    step = one(_WIDTH * _VECTORS)
    full = builder.and_(n, one(-_WIDTH * _VECTORS))
    fours = builder.and_(n, one(-_WIDTH))
    with cgutils.for_range_slice(builder, one(0), full, step, one) as (i, _):
        for v in range(_VECTORS):
            add(lanes[v], term(builder.add(i, one(v * _WIDTH)), _LANES))
    with cgutils.for_range_slice(builder, full, fours, one(_WIDTH), one) as (i, _):
        add(lanes[0], term(i, _LANES))
    with cgutils.for_range_slice(builder, fours, n, one(1), one) as (i, _):
        add(rest, term(i, _DOUBLE))
    out: Values = []
    for k in range(count):
        a, b, c, d = (builder.load(lanes[v][k]) for v in range(_VECTORS))
        four = builder.fadd(builder.fadd(a, b), builder.fadd(c, d))
        w, x, y, z = (builder.extract_element(four, ir.IntType(32)(j)) for j in range(_WIDTH))
        out.append(builder.fadd(builder.fadd(builder.fadd(w, x), builder.fadd(y, z)), builder.load(rest[k])))
    return out


_PAIR = types.UniTuple(types.float64, 2)
Intrinsic = tuple[Signature, Callable[..., Any]]


def _pointer(builder: Any, place: Any) -> Any:
    return builder.inttoptr(place, _DOUBLE.as_pointer())


@_inlined
def address(typingctx: Any, a: Any, i: Any) -> Intrinsic:
    """Address of a[i], for a contiguous float64 array."""
    if not (isinstance(a, types.Array) and a.ndim == 1 and a.layout == "C" and a.dtype == types.float64):
        raise TypeError(f"a contiguous float64 array is needed, got {a}")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.ptrtoint(builder.gep(data, [args[1]]), ir.IntType(64))

    return types.int64(a, types.int64), codegen


@_inlined
def total(typingctx: Any, a: Any, n: Any) -> Intrinsic:
    """Σ a[k], k = 0 … n−1."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        p = _pointer(builder, args[0])
        return _reduce(builder, args[1], lambda k, kind: [_load(builder, p, k, kind)], 1)[0]

    return types.float64(types.int64, types.int64), codegen


@_inlined
def dot(typingctx: Any, a: Any, b: Any, n: Any) -> Intrinsic:
    """Σ a[k] b[k]."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        p, q = _pointer(builder, args[0]), _pointer(builder, args[1])

        def term(k: Any, kind: Any) -> Values:
            return [builder.fmul(_load(builder, p, k, kind), _load(builder, q, k, kind))]

        return _reduce(builder, args[2], term, 1)[0]

    return types.float64(types.int64, types.int64, types.int64), codegen


@_inlined
def dots(typingctx: Any, a: Any, b: Any, w: Any, n: Any) -> Intrinsic:
    """Σ a[k] w[k] and Σ b[k] w[k]."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        p, q, weights = (_pointer(builder, place) for place in args[:3])

        def term(k: Any, kind: Any) -> Values:
            weight = _load(builder, weights, k, kind)
            return [builder.fmul(_load(builder, p, k, kind), weight), builder.fmul(_load(builder, q, k, kind), weight)]

        return context.make_tuple(builder, signature.return_type, _reduce(builder, args[3], term, 2))

    return _PAIR(types.int64, types.int64, types.int64, types.int64), codegen


@_inlined
def squares(typingctx: Any, a: Any, n: Any, centre: Any) -> Intrinsic:
    """Σ (a[k] − centre)²."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        p, wide = _pointer(builder, args[0]), _spread(builder, args[2])

        def term(k: Any, kind: Any) -> Values:
            d = builder.fsub(_load(builder, p, k, kind), args[2] if kind is _DOUBLE else wide)
            return [builder.fmul(d, d)]

        return _reduce(builder, args[1], term, 1)[0]

    return types.float64(types.int64, types.int64, types.float64), codegen


@_inlined
def products(typingctx: Any, a: Any, b: Any, n: Any, centre: Any) -> Intrinsic:
    """Σ (a[k] − centre)² and Σ (a[k] − centre) b[k]."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        p, q = _pointer(builder, args[0]), _pointer(builder, args[1])
        wide = _spread(builder, args[3])

        def term(k: Any, kind: Any) -> Values:
            d = builder.fsub(_load(builder, p, k, kind), args[3] if kind is _DOUBLE else wide)
            return [builder.fmul(d, d), builder.fmul(d, _load(builder, q, k, kind))]

        return context.make_tuple(builder, signature.return_type, _reduce(builder, args[2], term, 2))

    return _PAIR(types.int64, types.int64, types.int64, types.float64), codegen


@_inlined
def rises(typingctx: Any, p: Any, w: Any, n: Any) -> Intrinsic:
    """Σ w[k] max(c, 0) and Σ w[k] |c| of the changes c = p[k] − p[k−1]; p[−1] is there too."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        price, weights = _pointer(builder, args[0]), _pointer(builder, args[1])
        before = builder.gep(price, [args[2].type(-1)])

        def term(k: Any, kind: Any) -> Values:
            change = builder.fsub(_load(builder, price, k, kind), _load(builder, before, k, kind))
            zero = _constant(kind, 0.0)
            up = builder.select(builder.fcmp_ordered(">", change, zero), change, zero)
            weight = _load(builder, weights, k, kind)
            return [builder.fmul(weight, up), builder.fmul(weight, _magnitude(builder, change))]

        return context.make_tuple(builder, signature.return_type, _reduce(builder, args[2], term, 2))

    return _PAIR(types.int64, types.int64, types.int64), codegen
