"""A whole stack under a folder of its own, brought up, driven and taken down by the program `inkling`."""

import json
import math
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

BIN = os.environ["INKLING_BIN"]
INKLING = os.path.join(BIN, "inkling")
# Sanitizers make everything slower; no test's verdict depends on how long something takes.
PATIENCE = 600


class Failed(AssertionError):
    pass


class Stack:
    before = ()  # words before the program's: where it runs, if not here

    def __init__(self, home=None, **settings):
        self.home = home or tempfile.mkdtemp(prefix="ink-")
        self.environ = dict(os.environ, INKLING_HOME=self.home)
        for name, value in settings.items():
            self.environ["INKLING_" + name.upper()] = str(value)

    def path(self, *parts):
        return os.path.join(self.home, *parts)

    def start(self, *args, **options):
        """A process of `inkling`, not waited for."""
        return subprocess.Popen([*self.before, INKLING, *map(str, args)], env=self.environ, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

    def run(self, *args, **options):
        """Exit code, stdout, stderr."""
        done = subprocess.run([*self.before, INKLING, *map(str, args)], env=self.environ, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, **options)
        return done.returncode, done.stdout, done.stderr

    def ask(self, *args, code=0):
        """The JSON document of a command that must exit with `code`."""
        got, out, err = self.run(*args, "--json")
        try:
            document = json.loads(out)
        except ValueError:
            raise Failed(f"{args}: exit {got}, no JSON document: {out!r} {err!r}")
        if got != code:
            raise Failed(f"{args}: exit {got} instead of {code}: {out} {err}")
        return document

    def train_long(self, words, epochs, least_s, *more):
        """Trains with more and more epochs until a run takes so long, whatever the machine's speed, so that there is
        time to kill something in its middle: the words of that run, and its result. words: up to --epochs."""
        while True:
            begin = time.monotonic()
            result = self.ask(*words, epochs, *more)
            took = time.monotonic() - begin
            if took >= least_s:
                return (*words, epochs), result
            epochs = math.ceil(epochs * max(1.2, least_s / took))

    def up(self):
        code, out, err = self.run("up", "--detach", "--wait-ms", PATIENCE * 1000)
        if code:
            raise Failed(f"up: exit {code}: {out} {err}\n{self.logs()}")

    def down(self):
        self.run("down")

    def logs(self):
        text = []
        for folder, _, files in os.walk(self.path("logs")):
            for name in sorted(files):
                with open(os.path.join(folder, name), errors="replace") as file:
                    text.append(f"--- {name}\n" + file.read()[-4000:])
        return "\n".join(text)

    def pid(self, name):
        """Process of a service, or of Redis; 0 while it has none."""
        _, out, _ = self.run("status", "--json")
        status = json.loads(out)
        if name == "redis":
            return status["redis"]["pid"]
        return next(service["pid"] for service in status["services"] if service["name"] == name)

    def ready(self):
        code, out, _ = self.run("status", "--json")
        return code == 0 and all(service["ready"] for service in json.loads(out)["services"])

    def kill(self, name):
        pid = self.pid(name)
        if not pid:
            raise Failed(f"{name} has no process to kill")
        os.kill(pid, signal.SIGKILL)
        return pid

    def remove(self):
        shutil.rmtree(self.home, ignore_errors=True)


def tell(path, kind, **body):
    """What the dispatcher whose socket is there answers; no program of ours between."""
    import msgpack  # only tests that need it
    import zmq
    dealer = zmq.Context.instance().socket(zmq.DEALER)
    dealer.linger = 0
    dealer.connect("ipc://" + path)
    dealer.send_multipart([msgpack.packb({"v": 1, "type": kind, "id": 7}), msgpack.packb(body)])
    try:
        if not dealer.poll(10000):
            raise Failed(f"{kind}: no answer from the dispatcher")
        header, answer = map(msgpack.unpackb, dealer.recv_multipart())
    finally:
        dealer.close()
    if header["type"] == "error":
        raise Failed(f"{kind}: {answer}")
    return answer


def until(what, condition, patience=PATIENCE):
    """Waits until condition() is true, and returns what it returned."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise Failed(f"{what}: not within {patience} s")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def three_free_ports():
    """The first of three in a row, as a stack's services have them."""
    while True:
        first = free_port()
        try:
            for port in (first + 1, first + 2):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first
        except (OSError, OverflowError):
            continue


class StackTest(unittest.TestCase):
    """One stack for all tests of a class."""

    settings = {}

    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(**cls.settings)
        try:
            cls.before_up()
            cls.stack.up()
            cls.prepare()
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def before_up(cls):
        pass

    @classmethod
    def prepare(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        cls.stack.down()
        cls.stack.remove()
