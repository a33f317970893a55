"""Does ONNX Runtime, given an exported model and the pixels of a data set, answer as the stack does?

Needs a Python that has onnxruntime and numpy, which Debian 12 does not package; in a virtual environment:

    python3 -m venv DIR && DIR/bin/pip install onnxruntime
    cd tests/e2e && INKLING_BIN=../../build/bin DIR/bin/python -B -m unittest -v test_onnxruntime

INKLING_IMAGES, a folder with one folder of images per class, has real images go the same way."""

import csv
import hashlib
import json
import os
import pathlib
import struct
import unittest

from images import textures
from stack import StackTest

try:
    import numpy
    import onnxruntime
    MISSING = ""
except ImportError as error:
    MISSING = f"NOT TESTED: exported models need onnxruntime, and this Python has none: {error}"

MODELS = {  # name: options of ingest, options of train
    "plain": (("--size", 32), ()),
    "centred": (("--size", 33, "--subtract-mean"), ("--depth", 2)),
    "color": (("--size", 24, "--color", "--subtract-mean", "--fit", "crop"), ("--depth", 3)),
}
CLOSE = 1e-4  # of two probabilities
ROUNDED = 5e-7  # what the six digits of a CSV file leave out


def pixels_of(folder):
    """From the SHA-256 of each image file to its pixels, [height][width][channels] (common/shard/shard.h)."""
    found = {}
    for shard in sorted(pathlib.Path(folder).glob("*.shard")):
        data = shard.read_bytes()
        images, height, width, channels = struct.unpack_from("<QIII", data, 16)
        pixels, _, digests = struct.unpack_from("<QQQ", data, 40)
        size = height * width * channels
        for i in range(images):
            digest = data[digests + 32 * i:digests + 32 * (i + 1)].hex()
            image = numpy.frombuffer(data, numpy.uint8, size, pixels + size * i)
            found[digest] = image.reshape(height, width, channels)
    return found


def digest_of(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


class Runtime(StackTest):
    @classmethod
    def setUpClass(cls):
        if MISSING:
            raise unittest.SkipTest(MISSING)
        super().setUpClass()

    def make(self, name, images, ingest, train):
        """Trains a model and exports it: where the data set is, and what runs the model."""
        self.stack.ask("ingest", images, "--name", name, *ingest)
        self.stack.ask("train", name, "--width", 8, "--epochs", 2, "--seed", 3, *train)
        made = self.stack.ask("export", name, "--out", self.stack.path(name + ".onnx"))
        shown = self.stack.ask("dataset", "show", name)
        return self.stack.path("files", shown["path"]), onnxruntime.InferenceSession(made["out"])

    def answers(self, session, pixels):
        """Label and probability of each image, by its digest; all in one batch."""
        classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
        table, = session.run(["probabilities"], {"pixels": numpy.stack(list(pixels.values()))})
        self.assertEqual(table.shape, (len(pixels), len(classes)))
        self.assertLess(abs(table.sum(axis=1) - 1).max(), 1e-5)
        return {digest: dict(zip(classes, map(float, row))) for digest, row in zip(pixels, table)}

    def agree(self, name, images, ingest, train):
        folder, session = self.make(name, images, ingest, train)
        pixels = pixels_of(folder)
        answers = self.answers(session, pixels)
        out, off = self.stack.path(name + ".csv"), 0
        self.stack.ask("predict", name, "--split", "all", "--model", name, "--out", out)
        with open(out, newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual(len(rows), len(pixels))
        for row in rows:
            answer = answers[digest_of(os.path.join(images, row["file"]))]
            off = max(off, abs(answer[row["label"]] - float(row["probability"])))
            self.assertGreater(answer[row["label"]], max(answer.values()) - CLOSE)
        self.assertLess(off, CLOSE + ROUNDED)
        files = [os.path.join(images, row["file"]) for row in rows][::7]
        for file, said in zip(files, self.stack.ask("classify", *files, "--model", name)):
            off = max(off, abs(answers[digest_of(file)][said["label"]] - said["probability"]))
        self.assertLess(off, CLOSE + ROUNDED)
        spread = {round(float(row["probability"]), 3) for row in rows}
        print(f"{name}: {len(rows)} images, {len(spread)} different probabilities; the furthest is {off:.2g} off", flush=True)
        self.assertGreater(len(spread), 5)  # a model that says the same of all would agree as well
        return pixels, answers, session

    def test_drawn_images(self):
        for classes, (name, (ingest, train)) in zip((2, 2, 4), MODELS.items()):
            with self.subTest(name):
                images = textures(self.stack.path("images-" + name), 30, 36, seed=7, kinds=classes)
                pixels, answers, session = self.agree(name, images, ingest, train)
                for digest in list(pixels)[::9]:  # an image alone is what it is among others
                    alone = self.answers(session, {digest: pixels[digest]})
                    for label, value in alone[digest].items():
                        self.assertAlmostEqual(value, answers[digest][label], delta=1e-5)

    def test_real_images(self):
        images = os.environ.get("INKLING_IMAGES")
        if not images:
            self.skipTest("SKIP: there are no real images in INKLING_IMAGES")
        self.agree("real", os.path.abspath(images), ("--size", 96), ("--epochs", 4))
        self.agree("real-color", os.path.abspath(images), ("--size", 64, "--color", "--subtract-mean", "--fit", "pad"), ())


if __name__ == "__main__":
    unittest.main(verbosity=2)
