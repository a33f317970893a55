"""Triton (nvidia-pytriton) with a model that Inkling exported, as the model `tiny`. Bodies are those of Inkling's own
gateway: the Open Inference Protocol with binary tensors. See peer_onnx.py."""
import numpy
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from peer_onnx import BATCH, DELAY_MS, PORT, SIDE, Model


def main():
    model = Model()

    @batch
    def infer(pixels):
        return {"probabilities": model.run(pixels)}

    config = TritonConfig(http_port=PORT, http_address="127.0.0.1", allow_grpc=False, allow_metrics=False)
    with Triton(config=config) as server:
        server.bind(model_name="tiny", infer_func=infer,
                    inputs=[Tensor(name="pixels", dtype=numpy.uint8, shape=(SIDE, SIDE, 1))],
                    outputs=[Tensor(name="probabilities", dtype=numpy.float32, shape=(-1,))],
                    config=ModelConfig(max_batch_size=BATCH,
                                       batcher=DynamicBatcher(max_queue_delay_microseconds=DELAY_MS * 1000)))
        server.serve()


if __name__ == "__main__":
    main()
