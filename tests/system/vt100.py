# SPDX-License-Identifier: MIT
"""A small model of an ANSI terminal: feed it what came over the serial line, read what its screen shows. Only what full-screen
programs over a serial console use: cursor movement, clearing, and attributes (which are dropped)."""
import re

COLUMNS, ROWS = 80, 25
SEQUENCE = re.compile(rb"\x1b\[([0-9;?=]*)([@-~])|\x1b[()][0-9A-Za-z]|\x1b[0-9A-Za-z=>]")


class Screen:
    def __init__(self, columns=COLUMNS, rows=ROWS):
        self.columns, self.rows = columns, rows
        self.row = self.column = 0
        self.pending = b""  # an escape sequence that has not ended
        self.clear()

    def clear(self):
        self.cells = [[" "] * self.columns for _ in range(self.rows)]

    def text(self):
        return "\n".join("".join(row).rstrip() for row in self.cells)

    def feed(self, data):
        data = self.pending + bytes(data)
        self.pending = b""
        i = 0
        while i < len(data):
            if data[i] != 0x1B:
                self.put(data[i])
                i += 1
                continue
            match = SEQUENCE.match(data, i)
            if match:
                if match[2]:
                    self.control(match[1].decode(), match[2].decode())
                i = match.end()
            elif len(data) - i < 24:
                self.pending = data[i:]
                return
            else:
                i += 1

    def put(self, byte):
        if byte == 0x0A:
            self.newline()
        elif byte == 0x0D:
            self.column = 0
        elif byte == 0x08:
            self.column = max(0, self.column - 1)
        elif byte >= 0x20:
            if self.column >= self.columns:
                self.column = 0
                self.newline()
            self.cells[self.row][self.column] = chr(byte)
            self.column += 1

    def newline(self):
        if self.row + 1 < self.rows:
            self.row += 1
        else:
            self.cells = self.cells[1:] + [[" "] * self.columns]

    def control(self, parameters, final):
        numbers = [int(n) if n.isdigit() else 0 for n in parameters.split(";")]
        first = max(1, numbers[0])
        if final in "Hf":
            column = numbers[1] if len(numbers) > 1 else 1
            self.row = min(self.rows, first) - 1
            self.column = min(self.columns, max(1, column)) - 1
        elif final == "A":
            self.row = max(0, self.row - first)
        elif final == "B":
            self.row = min(self.rows - 1, self.row + first)
        elif final == "C":
            self.column = min(self.columns - 1, self.column + first)
        elif final == "D":
            self.column = max(0, self.column - first)
        elif final == "J":
            self.erase_display(numbers[0])
        elif final == "K":
            self.erase_line(numbers[0])

    def erase_display(self, how):
        if how == 2:
            self.clear()
            return
        self.erase_line(how)
        rows = range(self.row + 1, self.rows) if how == 0 else range(self.row)
        for row in rows:
            self.cells[row] = [" "] * self.columns

    def erase_line(self, how):
        at = min(self.column, self.columns - 1)
        start, stop = {0: (at, self.columns), 1: (0, at + 1)}.get(how, (0, self.columns))
        self.cells[self.row][start:stop] = [" "] * (stop - start)
