"""What the other servers have in common: a model that Inkling exported, run by ONNX Runtime on one thread a call.

Environment: PEER_MODEL, its file; PEER_SIDE, height and width of its gray pixels; PEER_PORT."""
import os

import numpy
import onnxruntime

BATCH = 16
DELAY_MS = 1
SIDE, PORT = int(os.environ["PEER_SIDE"]), int(os.environ["PEER_PORT"])


class Model:
    def __init__(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["PEER_MODEL"], options, providers=["CPUExecutionProvider"])
        self.name = self.session.get_inputs()[0].name

    def run(self, rows):
        """rows: uint8 [n, side, side, 1] → float32 [n, classes]"""
        return self.session.run(["probabilities"], {self.name: rows})[0]


def pixels(data):
    return numpy.frombuffer(data, numpy.uint8).reshape(SIDE, SIDE, 1)
