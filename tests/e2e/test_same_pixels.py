"""Does the gateway see the very pixels of training? Files of every format are ingested, and what the model says of the
data set's pixels must be what the gateway says of the files, through each of its doors."""

import base64
import csv
import json
import pathlib
import struct
import subprocess
import unittest
import urllib.request

from stack import BIN, PATIENCE, StackTest

MAKE = pathlib.Path(BIN).parent / "tests" / "make_images"


def single(number):
    """As the nearest float of 32 bits."""
    return struct.unpack("f", struct.pack("f", float(number)))[0]


class SamePixels(StackTest):
    @classmethod
    def prepare(cls):
        cls.images = pathlib.Path(cls.stack.path("images"))
        subprocess.run([MAKE, cls.images], check=True, timeout=PATIENCE)
        cls.files = sorted(path.relative_to(cls.images).as_posix() for path in cls.images.glob("*/*"))
        cls.url = cls.stack.ask("status")["gateway"]["http"]
        for name, options in (("gray", ("--size", 32)), ("color", ("--size", 48, "--color", "--fit", "pad")),
                              ("mean", ("--size", 24, "--color", "--subtract-mean", "--fit", "crop"))):
            done = cls.stack.ask("ingest", cls.images, "--name", name, *options)
            assert not done.get("rejected"), done
            cls.stack.ask("train", name, "--width", 4, "--epochs", 1, "--lr", 0.003, "--model", name)

    def said_of_the_data_set(self, model):
        """File → label and probability."""
        out = self.stack.path(f"{model}.csv")
        self.stack.ask("predict", model, "--split", "all", "--model", model, "--out", out)
        with open(out, newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual(sorted(row["file"] for row in rows), self.files)
        return {row["file"]: (row["label"], float(row["probability"])) for row in rows}

    def post(self, path, body, **fields):
        request = urllib.request.Request(self.url + path, body, {name.replace("_", "-"): value
                                                                 for name, value in fields.items()})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)

    def check(self, model):
        said = self.said_of_the_data_set(model)
        self.assertGreater(len(set(said.values())), len(said) // 3)  # else nothing would be compared
        over_zmq = self.stack.ask("classify", *(self.images / name for name in self.files), "--model", model)
        contents = [(self.images / name).read_bytes() for name in self.files]
        tensor = {"name": "image", "shape": [len(contents)], "datatype": "BYTES",
                  "data": [base64.b64encode(content).decode() for content in contents]}
        inferred = self.post(f"/v2/models/{model}.image/infer", json.dumps({"inputs": [tensor]}).encode())
        outputs = {output["name"]: output["data"] for output in inferred["outputs"]}
        for index, name in enumerate(self.files):
            with self.subTest(model=model, file=name):
                label, probability = said[name]
                answer, = self.post(f"/v1/classify/{model}", contents[index])
                self.assertEqual(answer["label"], label)
                self.assertAlmostEqual(answer["probability"], probability, delta=6e-7)  # the table has six digits
                exactly = single(answer["probability"])
                self.assertEqual(over_zmq[index]["label"], label)
                self.assertEqual(single(over_zmq[index]["probability"]), exactly)
                self.assertEqual(outputs["label"][index], label)
                self.assertEqual(single(max(outputs["probabilities"][2 * index:2 * index + 2])), exactly)

    def test_gray(self):
        self.check("gray")

    def test_color(self):
        self.check("color")

    def test_mean(self):
        self.check("mean")


if __name__ == "__main__":
    unittest.main(verbosity=2)
