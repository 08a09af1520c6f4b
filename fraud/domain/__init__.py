"""The language of the field: pure values and functions, no I/O, no clock."""
