"""A model leaves as an ONNX file: from a stack that is here or elsewhere, whole or not at all, and it says what it is."""

import hashlib
import json
import os
import pathlib
import signal
import socket
import stat
import struct
import unittest

from images import textures
from onnx_file import initialisers, metadata, values
from stack import until
from test_uploads import Far, digest_of


def tensors(path):
    """Name and bytes of the tensors of a safetensors file."""
    data = pathlib.Path(path).read_bytes()
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    return {name: data[8 + size:][slice(*entry["data_offsets"])] for name, entry in header.items()}


class Redis:
    """What the dispatcher has stored, for tests that need something stored that no Inkling of today would store."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")

    def ask(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
        line = self.file.readline()
        if line[:1] == b"$":
            return self.file.read(int(line[1:]) + 2)[:-2]
        assert line[:1] == b":", line
        return int(line[1:])

    def close(self):
        self.file.close()
        self.socket.close()


class Export(Far):
    @classmethod
    def prepare(cls):
        super().prepare()
        cls.images = cls.stack.path("images")
        textures(cls.images, 12, 16, 20, kinds=2)
        cls.stack.ask("ingest", cls.images, "--name", "two", "--size", 16, "--subtract-mean")
        for model in ("two", "two", "spoilt", "newer"):
            cls.stack.ask("train", "two", "--model", model, "--epochs", 1, "--width", 8)

    def artefact(self, model):
        shown = self.stack.ask("model", "show", model)
        return shown, pathlib.Path(self.files, shown["path"])

    def test_near_and_far(self):
        shown, folder = self.artefact("two")
        texts = []
        for side in (self.client, self.stack):
            to = side.path("made.onnx")
            done = side.ask("export", "two", "--format", "onnx", "--out", to)
            texts.append(pathlib.Path(to).read_bytes())
            self.assertEqual(done, {"model": "two", "version": 1, "digest": shown["digest"], "format": "onnx",
                                    "out": to, "bytes": len(texts[-1])})
            self.assertEqual(stat.S_IMODE(os.stat(to).st_mode), 0o644)
            self.assertEqual([name for name in os.listdir(side.home) if "made.onnx" in name], ["made.onnx"])
        self.assertEqual(*texts)
        about = json.loads((folder / "model.json").read_text())
        self.assertEqual(metadata(texts[0]), {
            "model": "two", "version": "1", "model_sha256": digest_of(folder / "model.json"),
            "weights_sha256": digest_of(folder / "model.safetensors"), "classes": '["kind-0","kind-1"]',
            "recipe": about["recipe"], "recipe_sha256": hashlib.sha256(about["recipe"].encode()).hexdigest()})
        self.assertIn("mean 1", about["recipe"])
        wanted = tensors(folder / "model.safetensors")
        self.assertGreater(len(wanted), 20)
        got = initialisers(texts[0])
        self.assertEqual({name: got[name] for name in wanted}, wanted)
        self.assertEqual(set(got) - set(wanted), {"mean", "full"})

    def test_a_version_and_the_usual_place(self):
        place = self.folder("place")
        place.mkdir()
        for version, words in ((1, ["two"]), (2, ["two@2"])):  # the second replaces the first
            code, out, err = self.client.run("export", *words, cwd=place)
            self.assertEqual((code, out, err), (0, f"two@{version} is in {place}/two.onnx\n", ""))
            data = (place / "two.onnx").read_bytes()
            self.assertEqual((metadata(data)["version"], values(data, 5)), (str(version), [version]))
        self.assertEqual(os.listdir(place), ["two.onnx"])

    def test_refused(self):
        place = str(self.folder("place"))
        os.mkdir(place)
        to = os.path.join(place, "x.onnx")
        self.refused("export", "none", "--out", to, code=3, name="NOT_FOUND", words="none", remedy="inkling models")
        self.refused("export", "two@99", "--out", to, code=3, name="NOT_FOUND", words="99", remedy="inkling models")
        self.refused("export", "two", "--out", to, "--format", "h5", code=2, name="USAGE", words="h5", remedy="onnx")
        self.refused("export", "two", "--out", os.path.join(place, "no", "x.onnx"), code=3, name="NOT_FOUND",
                     words=os.path.join(place, "no", "x.onnx"), remedy="--out")
        os.mkfifo(os.path.join(place, "fifo"))
        for odd in (place, os.path.join(place, "fifo")):
            self.refused("export", "two", "--out", odd, code=2, name="USAGE", words=odd, remedy="--out")
        self.assertEqual(os.listdir(place), ["fifo"])

    def test_interrupted(self):
        place = str(self.folder("place"))
        os.mkdir(place)
        to = os.path.join(place, "x.onnx")
        pathlib.Path(to).write_text("what was there")
        service = self.stack.pid("blobs")
        os.kill(service, signal.SIGSTOP)
        try:
            process = self.client.start("export", "two", "--out", to)
            until("it has begun", lambda: len(os.listdir(place)) > 1)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            os.kill(service, signal.SIGCONT)
        self.assertEqual(process.returncode, 130, err)
        self.assertEqual(os.listdir(place), ["x.onnx"])
        self.assertEqual(pathlib.Path(to).read_text(), "what was there")

    def test_damaged(self):
        _, folder = self.artefact("spoilt")
        with open(folder / "model.safetensors", "r+b") as file:
            file.seek(1000)
            byte = file.read(1)
            file.seek(1000)
            file.write(bytes([byte[0] ^ 1]))
        to = self.client.path("spoilt.onnx")
        self.refused("export", "spoilt@1", "--out", to, code=3, name="NOT_FOUND", words="model.safetensors",
                     remedy="gone or damaged")
        self.assertFalse([name for name in os.listdir(self.client.home) if name.startswith("spoilt")])

    def test_made_by_a_newer_inkling(self):
        shown, folder = self.artefact("newer")
        text = (folder / "model.json").read_text().replace('"schema": 1', '"schema": 2')
        (folder / "model.json").write_text(text)
        redis = Redis(self.stack.path("run", "redis.sock"))
        self.addCleanup(redis.close)
        record = redis.ask("HGET", "m:newer", 1)
        self.assertIn(shown["digest"].encode(), record)
        redis.ask("HSET", "m:newer", 1, record.replace(shown["digest"].encode(), digest_of(folder / "model.json").encode()))
        for side in (self.client, self.stack):
            to = side.path("newer.onnx")
            self.refused("export", "newer@1", "--out", to, code=1, name="UNSUPPORTED", words="newer@1", remedy="at least as new",
                         client=side)
            self.assertFalse([name for name in os.listdir(side.home) if name.startswith("newer")])


if __name__ == "__main__":
    unittest.main(verbosity=2)
