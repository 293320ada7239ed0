"""MessagePack, as much of it as the worker's protocol needs, strict and bounded.

nil, bool, int, float, str, bin, array and map with string keys. Everything else is refused: extension types, the
reserved byte, keys that are not strings, keys that repeat, text that is not UTF-8, bytes after the value, nesting
deeper than `MAX_DEPTH`, and containers that claim more items than there are bytes left.
"""

import struct

MAX_DEPTH = 32

_INT_MIN = -(1 << 63)
_INT_MAX = (1 << 64) - 1


class MessagePackError(ValueError):
    """The bytes are not a value this codec accepts, or the value cannot be written."""


def pack(value):
    """Returns the encoding of `value` as bytes."""
    parts = []
    _pack(value, parts.append, 0)
    return b"".join(parts)


def unpack(data):
    """Returns the one value that `data` (bytes-like) encodes."""
    reader = _Reader(data)
    value = reader.value(0)
    if reader.position != reader.end:
        raise MessagePackError("%d bytes after the value" % (reader.end - reader.position))
    return value


def _pack(value, out, depth):
    if depth > MAX_DEPTH:
        raise MessagePackError("nested deeper than %d" % MAX_DEPTH)
    if value is None:
        out(b"\xc0")
    elif value is True:
        out(b"\xc3")
    elif value is False:
        out(b"\xc2")
    elif isinstance(value, int):
        out(_pack_int(int(value)))
    elif isinstance(value, float):
        out(struct.pack(">Bd", 0xCB, value))
    elif isinstance(value, str):
        try:
            raw = value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise MessagePackError("text is not valid Unicode: %s" % error) from None
        out(_header(len(raw), 0xA0, 31, 0xD9, 0xDA, 0xDB))
        out(raw)
    elif isinstance(value, (bytes, bytearray, memoryview)):
        raw = bytes(value)
        out(_header(len(raw), None, -1, 0xC4, 0xC5, 0xC6))
        out(raw)
    elif isinstance(value, (list, tuple)):
        out(_header(len(value), 0x90, 15, None, 0xDC, 0xDD))
        for item in value:
            _pack(item, out, depth + 1)
    elif isinstance(value, dict):
        out(_header(len(value), 0x80, 15, None, 0xDE, 0xDF))
        for key, item in value.items():
            if not isinstance(key, str):
                raise MessagePackError("a key must be a string, not %s" % type(key).__name__)
            _pack(key, out, depth + 1)
            _pack(item, out, depth + 1)
    else:
        raise MessagePackError("cannot encode %s" % type(value).__name__)


def _pack_int(value):
    if 0 <= value <= 0x7F:
        return struct.pack(">B", value)
    if -32 <= value < 0:
        return struct.pack(">b", value)
    if value < _INT_MIN or value > _INT_MAX:
        raise MessagePackError("integer out of range: %d bits" % value.bit_length())
    formats = _POSITIVE if value > 0 else _NEGATIVE
    for low, high, code, form in formats:
        if low <= value <= high:
            return struct.pack(form, code, value)
    raise AssertionError("unreachable: every integer in range has a format")


_POSITIVE = (
    (0, 0xFF, 0xCC, ">BB"),
    (0, 0xFFFF, 0xCD, ">BH"),
    (0, 0xFFFFFFFF, 0xCE, ">BI"),
    (0, _INT_MAX, 0xCF, ">BQ"),
)
_NEGATIVE = (
    (-0x80, 0, 0xD0, ">Bb"),
    (-0x8000, 0, 0xD1, ">Bh"),
    (-0x80000000, 0, 0xD2, ">Bi"),
    (_INT_MIN, 0, 0xD3, ">Bq"),
)


def _header(length, fix, fix_max, code8, code16, code32):
    if length <= fix_max:
        return struct.pack(">B", fix | length)
    if code8 is not None and length <= 0xFF:
        return struct.pack(">BB", code8, length)
    if length <= 0xFFFF:
        return struct.pack(">BH", code16, length)
    if length <= 0xFFFFFFFF:
        return struct.pack(">BI", code32, length)
    raise MessagePackError("too long: %d" % length)


# code -> struct format of a number
_NUMBERS = {
    0xCA: ">f",
    0xCB: ">d",
    0xCC: ">B",
    0xCD: ">H",
    0xCE: ">I",
    0xCF: ">Q",
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
# code -> (kind, struct format of the length)
_SIZED = {
    0xC4: ("bin", ">B"),
    0xC5: ("bin", ">H"),
    0xC6: ("bin", ">I"),
    0xD9: ("str", ">B"),
    0xDA: ("str", ">H"),
    0xDB: ("str", ">I"),
    0xDC: ("array", ">H"),
    0xDD: ("array", ">I"),
    0xDE: ("map", ">H"),
    0xDF: ("map", ">I"),
}


class _Reader:
    def __init__(self, data):
        self.view = memoryview(data).cast("B")
        self.position = 0
        self.end = len(self.view)

    def value(self, depth):
        if depth > MAX_DEPTH:
            raise MessagePackError("nested deeper than %d" % MAX_DEPTH)
        code = self._take(1)[0]
        if code <= 0x7F:
            return code
        if code >= 0xE0:
            return code - 0x100
        if code <= 0x8F:
            return self._map(code & 0x0F, depth)
        if code <= 0x9F:
            return self._array(code & 0x0F, depth)
        if code <= 0xBF:
            return self._text(code & 0x1F)
        if code in _CONSTANTS:
            return _CONSTANTS[code]
        if code in _NUMBERS:
            return self._number(_NUMBERS[code])
        if code not in _SIZED:
            raise MessagePackError("type byte 0x%02x is not accepted" % code)
        kind, form = _SIZED[code]
        length = self._number(form)
        if kind == "bin":
            return bytes(self._take(length))
        if kind == "str":
            return self._text(length)
        if kind == "array":
            return self._array(length, depth)
        return self._map(length, depth)

    def _take(self, length):
        if length > self.end - self.position:
            raise MessagePackError(
                "cut short: %d bytes needed, %d left" % (length, self.end - self.position)
            )
        start = self.position
        self.position = start + length
        return self.view[start : self.position]

    def _number(self, form):
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _text(self, length):
        try:
            return str(self._take(length), "utf-8")
        except UnicodeDecodeError as error:
            raise MessagePackError("text is not UTF-8: %s" % error) from None

    def _claim(self, items):
        # Every item takes at least one byte, so a bigger claim is a lie that would only cost memory.
        if items > self.end - self.position:
            raise MessagePackError("%d items claimed, %d bytes left" % (items, self.end - self.position))

    def _array(self, length, depth):
        self._claim(length)
        return [self.value(depth + 1) for _ in range(length)]

    def _map(self, length, depth):
        self._claim(2 * length)
        result = {}
        for _ in range(length):
            key = self.value(depth + 1)
            if not isinstance(key, str):
                raise MessagePackError("a key must be a string, not %s" % type(key).__name__)
            if key in result:
                raise MessagePackError("key %r appears twice" % key)
            result[key] = self.value(depth + 1)
        return result
