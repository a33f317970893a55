"""LitServe with a model that Inkling exported. Bodies are JSON, the only kind it knows besides forms: the pixels are
base64 in {"pixels": …}. See peer_onnx.py."""
import base64

import litserve
import numpy

from peer_onnx import BATCH, DELAY_MS, PORT, Model, pixels


class Api(litserve.LitAPI):
    def setup(self, device):
        self.model = Model()

    def decode_request(self, request):
        return pixels(base64.b64decode(request["pixels"]))

    def batch(self, inputs):
        return numpy.stack(inputs)

    def predict(self, x):
        return self.model.run(x)

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        return {"probabilities": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Api(max_batch_size=BATCH, batch_timeout=DELAY_MS / 1000), accelerator="cpu",
                                workers_per_device=1)
    server.run(port=PORT, host="127.0.0.1", log_level="error", generate_client_file=False)
