"""Does tritonclient, as it is, speak with the gateway?

Needs a Python that has tritonclient[http], which Debian does not package; in a virtual environment:

    python3 -m venv DIR && DIR/bin/pip install 'tritonclient[http]'
    cd tests/e2e && INKLING_BIN=../../build/bin DIR/bin/python -B -m unittest -v test_tritonclient"""

import struct
import unittest

from http_peer import SIZE, drawn
from images import textures
from stack import StackTest, until

try:
    import numpy
    import tritonclient.http
    from tritonclient.utils import InferenceServerException
    MISSING = ""
except ImportError as error:
    MISSING = f"NOT TESTED: tritonclient is needed, and this Python has none: {error}"

IMAGES = 7


class Triton(StackTest):
    @classmethod
    def setUpClass(cls):
        if MISSING:
            raise unittest.SkipTest(MISSING)
        super().setUpClass()

    @classmethod
    def prepare(cls):
        images = textures(cls.stack.path("images"), 12, SIZE, seed=7, kinds=3)
        cls.stack.ask("ingest", images, "--name", "tiny", "--size", SIZE)
        cls.stack.ask("train", "tiny", "--width", 4, "--epochs", 1, "--seed", 1)
        until("the model is served", cls.stack.ready)
        url = cls.stack.ask("status")["gateway"]["http"].removeprefix("http://")
        cls.client = tritonclient.http.InferenceServerClient(url=url, concurrency=4)
        cls.addClassCleanup(cls.client.close)
        pixels, cls.files = zip(*map(drawn, range(IMAGES)))
        cls.pixels = numpy.frombuffer(b"".join(pixels), numpy.uint8).reshape(IMAGES, SIZE, SIZE, 1)

    def infer(self, model, name, datatype, data, binary_in, binary_out, **more):
        given = tritonclient.http.InferInput(name, data.shape, datatype)
        given.set_data_from_numpy(data, binary_data=binary_in)
        wanted = [tritonclient.http.InferRequestedOutput(output, binary_data=binary_out) for output in ("probabilities", "label")]
        result = self.client.infer(model, [given], outputs=wanted, **more)
        labels = [label.decode() if isinstance(label, bytes) else label for label in result.as_numpy("label")]
        return result, result.as_numpy("probabilities"), labels

    def test_health_and_metadata(self):
        self.assertTrue(self.client.is_server_live() and self.client.is_server_ready())
        self.assertIn("binary_tensor_data", self.client.get_server_metadata()["extensions"])
        for model, name, datatype, shape in (("tiny", "pixels", "UINT8", [-1, SIZE, SIZE, 1]), ("tiny.image", "image", "BYTES", [-1])):
            self.assertTrue(self.client.is_model_ready(model) and self.client.is_model_ready(model, "1"))
            told = self.client.get_model_metadata(model)
            self.assertEqual(told["inputs"], [{"name": name, "datatype": datatype, "shape": shape}])
            self.assertEqual([output["name"] for output in told["outputs"]], ["probabilities", "label"])
            self.assertEqual(self.client.get_model_config(model)["name"], model)
        self.assertFalse(self.client.is_model_ready("nobody"))

    def test_the_same_bits_in_every_form(self):
        table, labels = self.infer("tiny", "pixels", "UINT8", self.pixels, True, True)[1:]
        self.assertEqual((table.shape, table.dtype), ((IMAGES, 3), numpy.float32))
        floats = self.pixels.astype(numpy.float32) / numpy.float32(255)
        files = numpy.array(self.files, dtype=object)
        for binary_in in (True, False):
            for binary_out in (True, False):
                forms = [("tiny", "pixels", "UINT8", self.pixels), ("tiny", "pixels", "FP32", floats)]
                if binary_in:  # in JSON, tritonclient sends BYTES as text, which image files are not
                    forms.append(("tiny.image", "image", "BYTES", files))
                for model, name, datatype, data in forms:
                    for rows in (slice(0, IMAGES), slice(2, 3)):
                        result, got, said = self.infer(model, name, datatype, data[rows], binary_in, binary_out,
                                                       request_id="q", model_version="1", timeout=60000000, priority=1)
                        self.assertEqual(got.astype(numpy.float32).tobytes(), table[rows].tobytes(), (model, datatype, binary_in, binary_out))
                        self.assertEqual(said, labels[rows])
                        response = result.get_response()
                        self.assertEqual((response["id"], response["model_name"], response["model_version"]), ("q", model, "1"))

    def test_classes(self):
        given = tritonclient.http.InferInput("pixels", self.pixels.shape, "UINT8")
        given.set_data_from_numpy(self.pixels)
        wanted = [tritonclient.http.InferRequestedOutput("probabilities", class_count=2)]
        best = self.client.infer("tiny", [given], outputs=wanted).as_numpy("probabilities")
        table, labels = self.infer("tiny", "pixels", "UINT8", self.pixels, True, True)[1:]
        self.assertEqual(best.shape, (IMAGES, 2))
        for row, label, (first, _) in zip(table, labels, best):
            value, index, name = first.decode().split(":")
            self.assertEqual((struct.pack("<f", float(value)), int(index), name), (row.max().tobytes(), row.argmax(), label))

    def test_many_at_once(self):
        _, table, _ = self.infer("tiny", "pixels", "UINT8", self.pixels, True, True)
        asked = []
        for i in range(200):
            given = tritonclient.http.InferInput("pixels", [1, SIZE, SIZE, 1], "UINT8")
            given.set_data_from_numpy(self.pixels[i % IMAGES:i % IMAGES + 1])
            asked.append(self.client.async_infer("tiny", [given], request_id=str(i)))
        for i, one in enumerate(asked):
            result = one.get_result()
            self.assertEqual(result.get_response()["id"], str(i))
            self.assertEqual(result.as_numpy("probabilities").tobytes(), table[i % IMAGES].tobytes())

    def test_the_repository(self):
        def state():
            return {entry["name"]: entry["state"] for entry in self.client.get_model_repository_index()}

        self.assertEqual(state(), {"tiny": "READY", "tiny.image": "READY"})
        self.client.unload_model("tiny")
        until("it is unloaded", lambda: set(state().values()) <= {"UNAVAILABLE"})
        self.assertFalse(self.client.is_model_ready("tiny"))
        with self.assertRaises(InferenceServerException) as refused:
            self.infer("tiny", "pixels", "UINT8", self.pixels, True, True)
        self.assertIn("tiny", refused.exception.message())
        self.client.load_model("tiny")
        self.assertTrue(self.client.is_model_ready("tiny"))
        self.infer("tiny", "pixels", "UINT8", self.pixels, True, True)

    def test_errors_say_what_to_do(self):
        for data, says in ((self.pixels[:, :5], f"[n,{SIZE},{SIZE},1]"), (self.pixels.astype(numpy.int8), "UINT8")):
            given = tritonclient.http.InferInput("pixels", data.shape, "INT8" if data.dtype == numpy.int8 else "UINT8")
            given.set_data_from_numpy(data)
            with self.assertRaises(InferenceServerException) as refused:
                self.client.infer("tiny", [given])
            self.assertIn(says, refused.exception.message())
            self.assertEqual(refused.exception.status(), "400")


if __name__ == "__main__":
    unittest.main()
