"""A terminal that a program is run under, and what stands on its screen: enough of one for what `inkling` draws."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios


class Screen:
    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.lines, self.row, self.column = [""], 0, 0  # lines: all since the beginning
        self.rest = ""
        self.wrapped = []  # lines that were too long

    def feed(self, text):
        text = self.rest + text
        self.rest = ""
        at = 0
        while at < len(text):
            if text[at] == "\033":
                match = re.compile(r"\033\[([0-9;]*)([A-Za-z])").match(text, at)
                if not match:
                    if len(text) - at > 16:
                        raise AssertionError(f"an escape sequence that no terminal test knows: {text[at:at + 20]!r}")
                    self.rest = text[at:]
                    return
                self.control(match[2], match[1])
                at = match.end()
                continue
            self.character(text[at])
            at += 1

    def control(self, letter, arguments):
        if letter == "A":
            self.row -= int(arguments or 1)
            if self.row < max(0, len(self.lines) - self.rows):
                raise AssertionError("the cursor was moved above the screen")
        elif letter == "K":
            self.lines[self.row] = self.lines[self.row][:self.column]
        elif letter == "J":
            self.lines[self.row] = self.lines[self.row][:self.column]
            del self.lines[self.row + 1:]
        elif letter != "m":
            raise AssertionError(f"unknown control {letter}")

    def character(self, character):
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self.row += 1
            if self.row == len(self.lines):
                self.lines.append("")
        else:
            if self.column == self.columns:
                self.wrapped.append(self.lines[self.row])
                self.character("\n")
                self.column = 0
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[:self.column] + character + line[self.column + 1:]
            self.column += 1

    def text(self):
        return "\n".join(line.rstrip() for line in self.lines)


class Run:
    """A command under a terminal of its own. looked(screen) is called after all that it writes."""

    def __init__(self, command, env, columns=100, rows=30):
        self.screen = Screen(columns, rows)
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen(command, env={**env, "TERM": "xterm"}, stdin=slave, stdout=slave, stderr=slave,
                                        start_new_session=True)
        os.close(slave)

    def follow(self, looked, patience):
        undecoded = b""
        while True:
            if not select.select([self.master], [], [], patience)[0]:
                self.process.kill()
                raise AssertionError(f"silent for {patience} s: {self.screen.text()}")
            try:
                part = os.read(self.master, 65536)
            except OSError:  # the other end is closed
                part = b""
            if not part:
                break
            undecoded += part
            cut = len(undecoded)
            while cut > 0 and cut > len(undecoded) - 4:
                try:
                    self.screen.feed(undecoded[:cut].decode())
                    break
                except UnicodeDecodeError:
                    cut -= 1
            undecoded = undecoded[cut:]
            looked(self.screen)
        os.close(self.master)
        return self.process.wait()
