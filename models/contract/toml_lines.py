"""Where in a TOML file a value stands; `tomllib` reads values but tells no lines."""

from collections.abc import Sequence

Location = tuple[str | int, ...]
"""Keys and places in lists, as pydantic gives them: ``("views", 0, "expected", 2, "zone")``."""

_BLANK = " \t"
_BREAK = "\r\n"
_AFTER_SCALAR = ",]}#\r\n"
_AFTER_KEY = " \t=.]"


def line_of(text: str, location: Sequence[str | int]) -> int:
    """Line of a value, counted from 1; where there is none, that of the table it belongs into.

    Args:
        text: a document that `tomllib` accepts.
        location: of the value.
    """
    lines = _Scanner(text).scan()
    for end in range(len(location), 0, -1):
        line = lines.get(tuple(location[:end]))
        if line is not None:
            return line
    return 1


class _Scanner:
    """Goes through a document once and notes on which line each value begins."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._lines: dict[Location, int] = {}
        self._num_tables: dict[Location, int] = {}
        """Of each array of tables so far."""

    def scan(self) -> dict[Location, int]:
        table: Location = ()
        while self._skip(_BLANK + _BREAK, comments=True):
            if self._text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)
        return self._lines

    def _header(self) -> Location:
        is_array = self._text.startswith("[[", self._at)
        line = self._line()
        self._at += 2 if is_array else 1
        table: Location = ()
        keys = self._keys()
        for key in keys[:-1]:
            table = self._last((*table, key))
        table = (*table, keys[-1])
        if is_array:
            self._lines.setdefault(table, line)
            number = self._num_tables.get(table, 0)
            self._num_tables[table] = number + 1
            table = (*table, number)
        self._lines.setdefault(table, line)
        self._at = self._text.index("]", self._at) + (2 if is_array else 1)
        return table

    def _last(self, table: Location) -> Location:
        """The newest table where an array of tables is meant."""
        number = self._num_tables.get(table)
        return table if number is None else (*table, number - 1)

    def _pair(self, table: Location) -> None:
        line = self._line()
        for key in self._keys():
            table = (*table, key)
            self._lines.setdefault(table, line)
        self._at = self._text.index("=", self._at) + 1
        self._value(table)

    def _keys(self) -> list[str]:
        """A dotted key; the place behind it is the next character that counts."""
        keys = []
        while True:
            self._skip(_BLANK)
            if self._text[self._at] in "\"'":
                keys.append(self._string())
            else:
                begin = self._at
                while self._text[self._at] not in _AFTER_KEY:
                    self._at += 1
                keys.append(self._text[begin : self._at])
            self._skip(_BLANK)
            if self._text[self._at] != ".":
                return keys
            self._at += 1

    def _value(self, location: Location) -> None:
        self._skip(_BLANK)
        self._lines.setdefault(location, self._line())
        match self._text[self._at]:
            case '"' | "'":
                self._string()
            case "[":
                self._items(location)
            case "{":
                self._inline_table(location)
            case _:
                while self._at < len(self._text) and self._text[self._at] not in _AFTER_SCALAR:
                    self._at += 1

    def _items(self, location: Location) -> None:
        self._at += 1
        number = 0
        while self._skip(_BLANK + _BREAK + ",", comments=True) and self._text[self._at] != "]":
            self._value((*location, number))
            number += 1
        self._at += 1

    def _inline_table(self, location: Location) -> None:
        self._at += 1
        while self._skip(_BLANK + _BREAK + ",", comments=True) and self._text[self._at] != "}":
            self._pair(location)
        self._at += 1

    def _string(self) -> str:
        mark = self._text[self._at]
        mark = mark * 3 if self._text.startswith(mark * 3, self._at) else mark
        begin = self._at = self._at + len(mark)
        while not self._text.startswith(mark, self._at):
            self._at += 2 if mark[0] == '"' and self._text[self._at] == "\\" else 1
        end = self._at
        self._at += len(mark)
        return self._text[begin:end]

    def _skip(self, characters: str, *, comments: bool = False) -> bool:
        """Go to the next character that is none of these; false at the end."""
        while self._at < len(self._text):
            if comments and self._text[self._at] == "#":
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            elif self._text[self._at] in characters:
                self._at += 1
            else:
                return True
        return False

    def _line(self) -> int:
        return self._text.count("\n", 0, self._at) + 1
