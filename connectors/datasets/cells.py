"""Cells of Arrow columns as JSON: what each becomes, and how much text it is at least. Knows nothing of files.

Dates, times and durations are text, in any range; bytes are base64, decimals text, maps objects, numbers that are not
finite null. A null member of a struct is left out: a table cannot leave a key out itself.
"""

from base64 import b64encode
from collections.abc import Callable
from math import isfinite
from typing import Any
from uuid import UUID

import orjson

from connectors.datasets.moments import date_text, duration_text, time_text, timestamp_text, zone_of

Array = Any  # of pyarrow, which has no types, and is imported only where a table is read
Kind = Any


class NotJSON:
    """A cell that JSON cannot hold. `problem` is one of `Line.problem`, `reason` says it to a person."""

    def __init__(self, problem: str, reason: str) -> None:
        self.problem = problem
        self.reason = reason


def cells(array: Array) -> list[Any]:
    """Return each cell as `orjson` writes it: None for null, at any depth a NotJSON for what JSON cannot hold."""
    for fits, read in _READERS:
        if fits(array.type):
            return read(array)
    return [cell if cell is None else str(cell) for cell in array.to_pylist()]


def sizes(array: Array) -> Array:
    """Return an int64 array: how many bytes of JSON each cell becomes at least. Makes no object for a cell."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if _is_extension(kind):
        return sizes(array.storage)
    if pa.types.is_dictionary(kind):
        used = pc.unique(array.indices.drop_null())  # of a few rows not all that the dictionary holds
        of_used = sizes(array.dictionary.take(used))
        return pc.fill_null(of_used.take(pc.index_in(array.indices, value_set=used)), 0)
    made = pc.cast(array.is_valid(), pa.int64())
    if _is_bytes(kind):
        return pc.add(made, pc.fill_null(pc.cast(pc.binary_length(_plain_bytes(array)), pa.int64()), 0))
    if pa.types.is_struct(kind):
        for member in array.flatten():
            made = pc.add(made, sizes(member))
    elif _is_list(kind):
        starts, ends, children = _inside(array)
        for child in children:
            running = pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(pc.add(sizes(child), 1))])
            made = pc.add(made, pc.subtract(running.take(ends), running.take(starts)))
    return made


def text_cell(text: bytes) -> str | NotJSON:
    """Return the text of a cell."""
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        found = f"byte {text[error.start]:#04x} at byte {error.start} of the text"
        return NotJSON("invalid_utf8", f"not UTF-8: {found}")


def not_json(value: object) -> NotJSON | None:
    """Return the first NotJSON inside a value that `cells` gave, or None."""
    if isinstance(value, NotJSON):
        return value
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next(filter(None, map(not_json, members)), None)


def _is_extension(kind: Kind) -> bool:
    import pyarrow as pa

    return isinstance(kind, pa.BaseExtensionType)


def _is_text(kind: Kind) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_bytes(kind: Kind) -> bool:
    """True for text, too."""
    from pyarrow import types

    is_view = types.is_binary_view(kind) or types.is_fixed_size_binary(kind)
    return bool(_is_text(kind) or types.is_binary(kind) or types.is_large_binary(kind) or is_view)


def _is_list(kind: Kind) -> bool:
    """True for maps, too, which are lists of pairs."""
    from pyarrow import types

    is_view = types.is_list_view(kind) or types.is_large_list_view(kind)
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return bool(is_list or is_view or types.is_map(kind))


def _plain_bytes(array: Array) -> Array:
    """Return text or bytes as a column of bytes: text that is not UTF-8 can be looked at, and views have a length."""
    import pyarrow as pa

    is_plain = pa.types.is_fixed_size_binary(array.type)
    return array if is_plain else array.cast(pa.large_binary())


def _children(array: Array) -> tuple[Array, ...]:
    import pyarrow as pa

    return (array.keys, array.items) if pa.types.is_map(array.type) else (array.values,)


def _inside(array: Array) -> tuple[Array, Array, list[Array]]:
    """Return where each list starts and ends among its children, and those: a slice has all children of the whole."""
    import pyarrow.compute as pc

    starts, ends = _spans(array)
    first, last = pc.min(starts).as_py() or 0, pc.max(ends).as_py() or 0
    children = [child.slice(first, last - first) for child in _children(array)]
    return pc.subtract(starts, first), pc.subtract(ends, first), children


def _spans(array: Array) -> tuple[Array, Array]:
    """Return where each list starts and ends among the children of the whole array."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if pa.types.is_fixed_size_list(kind):
        first, size = array.offset, kind.list_size
        starts = pa.array([at * size for at in range(first, first + len(array))], pa.int64())
        return starts, pc.add(starts, size)
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return array.offsets, pc.add(array.offsets, array.sizes)
    return array.offsets[:-1], array.offsets[1:]


def _texts(array: Array) -> list[Any]:
    try:
        return list(array.to_pylist())
    except UnicodeDecodeError:
        return [cell if cell is None else text_cell(cell) for cell in _plain_bytes(array).to_pylist()]


def _structs(array: Array) -> list[Any]:
    names = [array.type.field(at).name for at in range(array.type.num_fields)]
    members = [cells(member) for member in array.flatten()]
    rows = zip(*members, strict=True) if members else [()] * len(array)
    made = [{name: cell for name, cell in zip(names, row, strict=True) if cell is not None} for row in rows]
    return _with_nulls(array, made)


def _lists(array: Array) -> list[Any]:
    return _with_nulls(array, [values for (values,) in _sliced(array)])


def _maps(array: Array) -> list[Any]:
    return _with_nulls(array, [_object(keys, items) for keys, items in _sliced(array)])


def _sliced(array: Array) -> list[tuple[list[Any], ...]]:
    """Return of each list its slice of the cells of each child."""
    starts, ends, children = _inside(array)
    inside = [cells(child) for child in children]
    spans = zip(starts.to_pylist(), ends.to_pylist(), strict=True)
    return [tuple(values[start:end] for values in inside) for start, end in spans]


def _object(keys: list[Any], items: list[Any]) -> dict[str, Any] | NotJSON:
    broken = next(filter(None, map(not_json, keys)), None)
    if broken is not None:
        return broken
    names = [key if isinstance(key, str) else orjson.dumps(key).decode() for key in keys]
    made = dict(zip(names, items, strict=True))
    if len(made) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        return NotJSON("malformed_json", f"the key {twice!r} stands twice in one map")
    return made


def _with_nulls(array: Array, made: list[Any]) -> list[Any]:
    if not array.null_count:
        return made
    return [None if is_null else cell for is_null, cell in zip(array.is_null().to_pylist(), made, strict=True)]


def _extensions(array: Array) -> list[Any]:
    """The cells of what an extension type is stored as: its own class may run code, as Ray's that unpickles does."""
    name = getattr(array.type, "extension_name", "")
    if name == "arrow.uuid":
        return [cell if cell is None else str(UUID(bytes=cell)) for cell in array.storage.to_pylist()]
    if name == "arrow.bool8":
        return [cell if cell is None else bool(cell) for cell in array.storage.to_pylist()]
    return cells(array.storage)


def _runs(array: Array) -> list[Any]:
    import pyarrow.compute as pc

    return cells(pc.run_end_decode(array))


def _floats(array: Array) -> list[Any]:
    import pyarrow as pa

    wide = array.cast(pa.float32()) if pa.types.is_float16(array.type) else array
    return [cell if cell is not None and isfinite(cell) else None for cell in wide.to_pylist()]


def _counted(array: Array, text: Callable[[int], str]) -> list[Any]:
    """The text of cells that are stored as a number: of days, or of a unit of time."""
    import pyarrow as pa

    is_short = pa.types.is_date32(array.type) or pa.types.is_time32(array.type)
    counts = array.cast(pa.int32() if is_short else pa.int64()).to_pylist()
    return [cell if cell is None else text(cell) for cell in counts]


def _dates(array: Array) -> list[Any]:
    import pyarrow as pa

    return _counted(array, date_text if pa.types.is_date32(array.type) else _date_of_ms)


def _date_of_ms(milliseconds: int) -> str:
    return date_text(milliseconds // 86_400_000)


def _times(array: Array) -> list[Any]:
    unit = array.type.unit
    return _counted(array, lambda count: time_text(count, unit))


def _timestamps(array: Array) -> list[Any]:
    unit, zone = array.type.unit, zone_of(array.type.tz)
    return _counted(array, lambda count: timestamp_text(count, unit, zone))


def _durations(array: Array) -> list[Any]:
    unit = array.type.unit
    return _counted(array, lambda count: duration_text(count, unit))


def _type(name: str) -> Callable[[Kind], bool]:
    def fits(kind: Kind) -> bool:
        from pyarrow import types

        return bool(getattr(types, f"is_{name}")(kind))

    return fits


_READERS: list[tuple[Callable[[Kind], bool], Callable[[Array], list[Any]]]] = [
    (_is_extension, _extensions),
    (_is_text, _texts),
    (_is_bytes, lambda array: [cell if cell is None else b64encode(cell).decode() for cell in array.to_pylist()]),
    (_type("integer"), lambda array: list(array.to_pylist())),
    (_type("boolean"), lambda array: list(array.to_pylist())),
    (_type("floating"), _floats),
    (_type("struct"), _structs),
    (_type("map"), _maps),
    (_is_list, _lists),
    (_type("dictionary"), lambda array: cells(array.dictionary_decode())),
    (_type("run_end_encoded"), _runs),
    (_type("date"), _dates),
    (_type("time"), _times),
    (_type("timestamp"), _timestamps),
    (_type("duration"), _durations),
]
