"""Keras on TensorFlow as a peer of tests/bench/train: same model, same batch, train_step as a graph without XLA (the
faster way on a CPU). Arguments: fp32 or bf16 (mixed precision), batch."""
import sys
import time

import numpy
import keras

precision, batch = sys.argv[1], int(sys.argv[2])
if precision == "bf16":
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
layers = keras.layers


def paper():
    stack = [layers.Input((96, 96, 1))]
    for filters in (64, 128, 256, 512):
        for _ in range(2):
            stack += [layers.Conv2D(filters, 3, padding="same", use_bias=False), layers.BatchNormalization(),
                      layers.ReLU()]
        stack += [layers.MaxPooling2D(), layers.Dropout(0.2)]
    stack += [layers.Flatten(), layers.Dense(256, activation="relu"), layers.Dropout(0.2),
              layers.Dense(1, activation="sigmoid", dtype="float32")]
    return keras.Sequential(stack)


model = paper()
model.compile(optimizer=keras.optimizers.Adam(1e-4), loss="binary_crossentropy", jit_compile=False)
images = numpy.random.rand(batch, 96, 96, 1).astype("float32")
labels = numpy.random.randint(0, 2, (batch, 1)).astype("float32")
print('{"choices": "keras=%s"}' % keras.__version__, flush=True)
for line in sys.stdin:
    words = line.split()
    start = time.monotonic()
    if words[0] == "train":
        for _ in range(int(words[1])):
            model.train_on_batch(images, labels)
    else:
        for _ in range(int(words[2])):
            model.predict_on_batch(images[: int(words[1])])
    print("%.6f" % (time.monotonic() - start), flush=True)
