"""Asking the processor for memory before it is written to."""

from typing import Any

from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

_INT = ir.IntType(32)
_FOR_WRITING, _KEEP, _DATA = _INT(1), _INT(3), _INT(1)


def _prefetch(_context: Any, table: Any, _row: Any, _column: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        table_type = signature.args[0]
        array = context.make_array(table_type)(context, builder, arguments[0])
        item: Any = cgutils.get_item_pointer
        place = item(context, builder, table_type, array, list(arguments[1:]), wraparound=False)
        address = builder.bitcast(place, ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [address.type, _INT, _INT, _INT])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [address.type], kind)
        builder.call(fetch, [address, _FOR_WRITING, _KEEP, _DATA])
        return context.get_dummy_value()

    return types.void(table, types.intp, types.intp), generate


def _not_compiled(table: Any, row: int, column: int) -> None:
    """Stands in where numba is told not to compile."""


prefetch: Any = _not_compiled if vars(config)["DISABLE_JIT"] else intrinsic(_prefetch)
"""In compiled code: begin to fetch the cache line of `table[row, column]`."""
