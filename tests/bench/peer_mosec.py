"""Mosec with a model that Inkling exported. A body is the bare pixels, an answer the bare probabilities. See
peer_onnx.py."""
import sys

import numpy
from mosec import Server, Worker

from peer_onnx import BATCH, DELAY_MS, PORT, Model, pixels


class Api(Worker):
    def __init__(self):
        super().__init__()
        self.model = Model()

    def deserialize(self, data):
        return pixels(data)

    def forward(self, data):
        return list(self.model.run(numpy.stack(data)))

    def serialize(self, data):
        return data.tobytes()


if __name__ == "__main__":
    sys.argv[1:] = ["--port", str(PORT), "--address", "127.0.0.1", "--log-level", "error"]
    server = Server()
    server.append_worker(Api, num=1, max_batch_size=BATCH, max_wait_time=DELAY_MS)
    server.run()
