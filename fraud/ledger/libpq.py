"""The part of libpq that psycopg2 does not offer: pipelines and parameters in binary.

The functions are those of the libpq that psycopg2 itself is linked with, and work on
`connection.pgconn_ptr`, which psycopg2 gives away for this purpose
(https://www.postgresql.org/docs/current/libpq-pipeline-mode.html). None of them waits for the
server, since the connection is made nonblocking, so most keep the interpreter: to give it away
and get it back would cost more than they do. `sync`, `flush` and `send_much_prepared` give it away:
what they send may wake the server on this very processor. `flush_rest` sends what they left.
"""

from collections.abc import Sequence
from ctypes import CDLL, POINTER, PyDLL, c_char_p, c_int, c_void_p
from typing import Any

import psycopg2._psycopg

PGRES_COMMAND_OK, PGRES_TUPLES_OK = 1, 2
PGRES_PIPELINE_SYNC, PGRES_PIPELINE_ABORTED = 10, 11
CONNECTION_OK = 0
SQLSTATE = ord("C")
"""Of `PQresultErrorField`."""

_KEEPING = PyDLL(psycopg2._psycopg.__file__)
_GIVING = CDLL(psycopg2._psycopg.__file__)


def _function(name: str, result: Any, *arguments: Any, library: PyDLL | CDLL = _KEEPING) -> Any:
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    return function


_connection = _result = c_void_p
_texts, _numbers = POINTER(c_char_p), POINTER(c_int)

set_nonblocking = _function("PQsetnonblocking", c_int, _connection, c_int)
enter_pipeline = _function("PQenterPipelineMode", c_int, _connection)
exit_pipeline = _function("PQexitPipelineMode", c_int, _connection)
sync = _function("PQpipelineSync", c_int, _connection, library=_GIVING)
send_query = _function(
    *("PQsendQueryParams", c_int, _connection, c_char_p, c_int),
    *(c_void_p, c_void_p, c_void_p, c_void_p, c_int),
)
_SEND_PREPARED = (
    *("PQsendQueryPrepared", c_int, _connection, c_char_p, c_int),
    *(_texts, _numbers, _numbers, c_int),
)
send_prepared = _function(*_SEND_PREPARED)
send_much_prepared = _function(*_SEND_PREPARED, library=_GIVING)
flush = _function("PQflush", c_int, _connection, library=_GIVING)
flush_rest = _function("PQflush", c_int, _connection)
consume_input = _function("PQconsumeInput", c_int, _connection)
is_busy = _function("PQisBusy", c_int, _connection)
get_result = _function("PQgetResult", _result, _connection)
status = _function("PQstatus", c_int, _connection)
error_message = _function("PQerrorMessage", c_char_p, _connection)

result_status = _function("PQresultStatus", c_int, _result)
result_error = _function("PQresultErrorMessage", c_char_p, _result)
result_error_field = _function("PQresultErrorField", c_char_p, _result, c_int)
clear = _function("PQclear", None, _result)
row_count = _function("PQntuples", c_int, _result)
column_count = _function("PQnfields", c_int, _result)
column_type = _function("PQftype", c_int, _result, c_int)
is_null = _function("PQgetisnull", c_int, _result, c_int, c_int)
value = _function("PQgetvalue", c_void_p, _result, c_int, c_int)
value_length = _function("PQgetlength", c_int, _result, c_int, c_int)


class Parameters:
    """The parameters of a prepared statement, as `send_prepared` takes them.

    Args:
        formats: per parameter; 0 is text, 1 binary.
    """

    __slots__ = ("_count", "_formats", "_integers", "_texts")

    def __init__(self, formats: Sequence[int]) -> None:
        self._count = len(formats)
        self._texts, self._integers = c_char_p * self._count, c_int * self._count
        self._formats = self._integers(*formats)

    def __call__(self, values: Sequence[bytes | None], lengths: Sequence[int]) -> tuple[Any, ...]:
        return self._count, self._texts(*values), self._integers(*lengths), self._formats
