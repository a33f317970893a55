"""Bad input gets an error that names the culprit and the remedy, the exit code of its kind, and harms nothing."""

import json
import os
import shutil
import socket
import struct
import unittest

from images import empty_png, texture
from stack import StackTest, Stack, until

import random

IMAGE = texture(5, 40, random.Random(1))


def fill(folder, count, data=IMAGE):
    os.makedirs(folder, exist_ok=True)
    for n in range(count):
        with open(os.path.join(folder, f"{n}.png"), "wb") as file:
            # Every file is another one.
            file.write(texture(n % 10, 24, random.Random(folder + str(n))) if data is IMAGE else data)


class BadInput(StackTest):
    @classmethod
    def prepare(cls):
        cls.good = cls.stack.path("good")
        for kind in ("left", "right"):
            fill(os.path.join(cls.good, kind), 20)
        cls.stack.ask("ingest", cls.good, "--name", "good", "--size", 16)
        cls.stack.ask("train", "good", "--width", 2, "--depth", 2, "--epochs", 1)

    def refused(self, code, *args, names=()):
        """The command exits with `code`, names `names`, and gives a remedy, for people and for programs."""
        got, out, err = self.stack.run(*args)
        self.assertEqual(got, code, f"{args}: {out} {err}")
        for name in names:
            self.assertIn(str(name), err)
        document = self.stack.ask(*args, code=code)
        error = document["error"]
        self.assertTrue(error["code"] and error["message"] and error["remedy"], document)
        for name in names:
            self.assertIn(str(name), error["message"] + error["remedy"])

    def test_wrong_usage(self):
        for args, name in [(("frobnicate",), "frobnicate"), (("train",), "DATASET"),
                           (("train", "good", "--lr", "0"), "lr"), (("train", "good", "--lr", "-1"), "lr"),
                           (("train", "good", "--lr", "nan"), "lr"), (("train", "good", "--lr", "x"), "lr"),
                           (("train", "good", "--dropout", "1"), "dropout"),
                           (("train", "good", "--dropout", "NaN"), "dropout"),
                           (("train", "good", "--batch", "0"), "batch"), (("train", "good", "--epochs", "0"), "epochs"),
                           (("train", "good", "--epochs", "1e99"), "epochs"),
                           (("train", "good", "--schedule", "soon"), "schedule"),
                           (("train", "good", "--precision", "fp8"), "precision"),
                           (("train", "good", "--augment", "melt"), "augment"),
                           (("train", "good", "--colour", "1"), "colour"), (("ingest", self.good), "name"),
                           (("ingest", self.good, "--name", "a/b"), "name"),
                           (("ingest", self.good, "--name", "x", "--size", "0"), "size"),
                           (("ingest", self.good, "--name", "x", "--fit", "squeeze"), "fit"),
                           (("predict", self.good, "--model", "good"), "out"), (("classify",), "FILE"),
                           (("promote", "good"), "@"), (("demo-data", self.stack.path("d"), "--count", "0"), "count")]:
            with self.subTest(args=args):
                got, out, err = self.stack.run(*args)
                self.assertEqual(got, 2, f"{args}: {out} {err}")
                self.assertIn(name, err)
                self.assertEqual(out, "")

    def test_not_there(self):
        for args, name in [(("train", "missing"), "missing"), (("evaluate", "missing", "good"), "missing"),
                           (("evaluate", "good", "missing"), "missing"), (("job", "show", "nothing"), "nothing"),
                           (("dataset", "show", "missing"), "missing"), (("model", "show", "good@99"), "99"),
                           (("promote", "good@99"), "99"), (("train", "good", "--init", "missing@1"), "missing"),
                           (("ingest", self.stack.path("no such folder"), "--name", "x"), "no such folder"),
                           (("classify", self.stack.path("no such file")), "no such file"),
                           (("predict", self.stack.path("nowhere"), "--model", "good", "--out",
                             self.stack.path("o.csv")), "nowhere")]:
            with self.subTest(args=args):
                got, out, err = self.stack.run(*args)
                self.assertEqual(got, 3, f"{args}: {out} {err}")
                self.assertIn(name, err)

    def test_folders_that_are_no_data_set(self):
        one = self.stack.path("one class")
        fill(os.path.join(one, "only"), 12)
        empty = self.stack.path("an empty class")
        fill(os.path.join(empty, "full"), 12)
        os.makedirs(os.path.join(empty, "void"))
        few = self.stack.path("few")
        fill(os.path.join(few, "many"), 30)
        fill(os.path.join(few, "samples"), 4)
        for folder, name in [(one, "only"), (empty, "void"), (few, "samples")]:
            with self.subTest(folder=folder):
                self.refused(1, "ingest", folder, "--name", "x", names=[name])
        got = self.stack.ask("ingest", self.good, "--name", "picked", "--size", 16, "--classes", "left,right")
        self.assertEqual(got["classes"], ["left", "right"])

    def test_damaged_files_are_counted_and_left_alone(self):
        folder = self.stack.path("damaged\nfölder")
        for kind in ("left", "right"):
            fill(os.path.join(folder, kind), 20)
        damage = {"empty.png": b"", "truncated.png": IMAGE[:len(IMAGE) // 2], "text.jpg": b"I am no picture.\n",
                  "huge.png": empty_png(30000, 30000), "new\nline é.png": IMAGE[:100]}
        for name, data in damage.items():
            with open(os.path.join(folder, "left", name), "wb") as file:
                file.write(data)
        good = os.path.join(folder, "right", "GOOD name ö.gif")  # its content is a PNG
        with open(good, "wb") as file:
            file.write(IMAGE)
        got = self.stack.ask("ingest", folder, "--name", "damaged", "--size", 16)
        self.assertEqual((got["images"], got["rejected"]), (41, len(damage)))
        with open(got["rejects"]) as file:
            listed = [json.loads(line) for line in file]
        self.assertEqual(len(listed), len(damage))
        for name in damage:
            self.assertTrue(any(name in str(value) for line in listed for value in line.values()),
                            f"{name!r} is not among {listed}")
            with open(os.path.join(folder, "left", name), "rb") as file:
                self.assertEqual(file.read(), damage[name])
        self.refused(1, "ingest", folder, "--name", "strict", "--size", 16, "--strict")

    def test_hostile_bytes_on_every_socket(self):
        """Raw ZMTP connections that say nonsense: everybody still works afterwards."""
        sockets = [os.path.join(place, name) for place, _, names in os.walk(self.stack.home) for name in names
                   if place.endswith("run") and not name.endswith(".pid")]
        rng, tried = random.Random(8), 0
        greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + bytes(1) + bytes(31)
        for path in sockets:
            for data in (b"", b"\xff" * 4000, greeting, greeting + b"\x04\xff" + rng.randbytes(300),
                         greeting + b"\x02" + struct.pack(">Q", 1 << 62), rng.randbytes(70000)):
                with socket.socket(socket.AF_UNIX) as talk:
                    talk.settimeout(5)
                    try:
                        talk.connect(path)
                        talk.sendall(data)
                    except OSError:
                        continue
                    tried += 1
        self.assertGreater(tried, 10)
        until("all services ready", self.stack.ready)
        image = os.path.join(self.good, "left", "0.png")
        self.assertIn("label", self.stack.ask("classify", image)[0])

    def test_cancel_and_retry(self):
        job = self.stack.ask("train", "good", "--epochs", 10000, "--model", "long", "--detach", "--batch", 1)["job"]
        until("the job runs", lambda: self.stack.ask("job", "show", job)["state"] == "running")
        self.assertTrue(self.stack.ask("job", "why", job))
        self.stack.ask("job", "cancel", job)
        until("the job has ended", lambda: self.stack.ask("job", "show", job)["state"] == "cancelled")
        self.stack.ask("job", "retry", job)
        until("the job runs again", lambda: self.stack.ask("job", "show", job)["state"] == "running")
        self.stack.ask("job", "cancel", job)
        until("the job has ended", lambda: self.stack.ask("job", "show", job)["state"] == "cancelled")
        self.stack.ask("model", "show", "long", code=3)

    def test_unreadable_folder(self):
        if os.geteuid() == 0:
            self.skipTest("SKIP: root reads every folder")
        folder = self.stack.path("locked")
        shutil.copytree(self.good, folder)
        os.chmod(os.path.join(folder, "left"), 0)
        try:
            self.refused(1, "ingest", folder, "--name", "locked", names=["left"])
        finally:
            os.chmod(os.path.join(folder, "left"), 0o755)


class Away(unittest.TestCase):
    def test_nothing_runs(self):
        stack = Stack()
        try:
            status = stack.ask("status", code=4)
            self.assertEqual(status["home"], stack.home)
            image = stack.path("x.png")
            with open(image, "wb") as file:
                file.write(IMAGE)
            for args in (("jobs",), ("workers",), ("models",), ("classify", image), ("train", "good")):
                document = stack.ask(*args, code=4)
                self.assertIn("inkling up", document["error"]["remedy"])
        finally:
            stack.remove()

    def test_stacks_beside_each_other_with_a_long_and_an_odd_home(self):
        first, second, third = stacks = Stack(), Stack(), Stack()
        roots = [stack.home for stack in stacks]
        for stack, name in ((second, "long" * 40), (third, "a b,c")):
            stack.environ["INKLING_HOME"] = stack.home = stack.path(name)
            os.makedirs(stack.home)
        try:
            for stack in stacks:
                stack.up()
            for stack in stacks:
                self.assertEqual(stack.ask("jobs"), [])
            self.assertEqual(len({stack.pid("redis") for stack in stacks}), 3)
            first.down()
            self.assertEqual(first.ask("status", code=4)["home"], first.home)
            second.ask("status")
            self.assertEqual(third.ask("status")["home"], third.home)
            # Its workers and its gateway are there as well.
            folder = third.path("pictures")
            for kind in ("left", "right"):
                fill(os.path.join(folder, kind), 20)
            third.ask("ingest", folder, "--name", "good", "--size", 16)
            third.ask("train", "good", "--width", 2, "--depth", 2, "--epochs", 1)
            self.assertIn("label", third.ask("classify", os.path.join(folder, "left", "0.png"))[0])
        finally:
            for stack in stacks:
                stack.down()
            for root in roots:
                shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    unittest.main(verbosity=2)
