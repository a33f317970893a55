"""Writes the golden files beside it: what PyTorch and Keras compute, in float64, for a few networks.

    python3 make.py            (needs torch, keras with TensorFlow, numpy)

Inputs and weights are not stored. They come from the counter-based generator (common/base/philox.h),
implemented here once more, with the formulas of common/nn/nn.h and tests/unit/nn/support.h.
The network is stored in the engine's own text form.
"""
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import math
import pathlib
import subprocess
import sys

import numpy as np

# One framework a process: their copies of LLVM do not bear each other.
SOURCE = sys.argv[1] if len(sys.argv) > 1 else None
if SOURCE == "pytorch":
    import torch

    torch.set_default_dtype(torch.float64)
elif SOURCE == "keras":
    import keras
    import tensorflow as tf

    keras.backend.set_floatx("float64")

F = np.float32
LR, BETA1, BETA2, EPSILON = (float(F(x)) for x in (1e-3, 0.9, 0.999, 1e-7))
STEP, POSITION, DROPOUT_SEED, MEANS = 5, 2, 0x1234567890, (F(120.5), F(90), F(0), F(0))


# --- Numbers

def philox(key, c0, c1, c2, c3):
    """Philox4x32-10 of arrays of counters: uint32 [n, 4]."""
    mask = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    c0, c1, c2, c3 = (x.astype(np.uint64) for x in np.broadcast_arrays(
        *(np.asarray(c, dtype=np.uint64) for c in (c0, c1, c2, c3))))
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = ((p1 >> shift) ^ c1 ^ np.uint64(k0), p1 & mask,
                          (p0 >> shift) ^ c3 ^ np.uint64(k1), p0 & mask)
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def words(key, count, c1, c2, c3):
    """Word i % 4 of counter {i / 4, c1, c2, c3}, for i below count."""
    return philox(key, np.arange((count + 3) // 4), c1, c2, c3).reshape(-1)[:count]


def uniform(bits):
    return (bits >> np.uint32(8)).astype(F) * F(2.0**-24)


def make_pixels(net, count, seed):
    size = net.height * net.width * net.channels
    images = [words(seed, size, n, 0x9127, 0) >> np.uint32(24) for n in range(count)]
    return np.stack(images).reshape(count, net.height, net.width, net.channels)


def make_labels(net, count, seed):
    bits = philox(seed, np.arange(count), 0, 0x1ABE, 0)[:, 0].astype(np.uint64)
    return ((bits * np.uint64(net.classes)) >> np.uint64(32)).astype(np.int64)


RANGES = {"bias": (-0.2, 0.4), "gamma": (0.5, 1), "beta": (-0.2, 0.4), "mean": (-0.3, 0.6),
          "variance": (0.5, 1)}


def make_param(tensor, index, seed):
    count = math.prod(tensor.dims)
    if tensor.role == "weight":
        area = math.prod(tensor.dims[2:])
        limit = F(math.sqrt(6 / (area * (tensor.dims[0] + tensor.dims[1]))))
        data = limit * (F(2) * uniform(words(seed, count, 0, 0x1417, index)) - F(1))
    else:
        low, span = RANGES[tensor.role]
        data = F(low) + F(span) * uniform(words(seed, count, 0, 0x7A11, index))
    return data.astype(np.float64).reshape(tensor.dims)


def make_moment(tensor, index, seed, part):
    u = uniform(words(seed, math.prod(tensor.dims), 0, 0x7A12 + part, index))
    data = F(0.02) * u - F(0.01) if part == 0 else F(1e-4) * u
    return data.astype(np.float64).reshape(tensor.dims)


def make_mask(layer, index, shape, count):
    """Factors of dropout, [count, y, x, c]; behind a flatten y = x = 1."""
    size = math.prod(shape)
    bits = np.stack([words(DROPOUT_SEED, size, POSITION + n, STEP, index) for n in range(count)])
    kept = bits >= math.ceil(float(F(layer["rate"])) * 2**32)
    return (kept / (1 - float(F(layer["rate"])))).reshape(count, *shape)


# --- Networks

class Tensor:
    def __init__(self, layer, role, dims):
        self.layer, self.role, self.dims = layer, role, dims
        self.trained = role not in ("mean", "variance")


class Net:
    """The text form, its layers, shapes in front of them (y, x, c) and tensors."""

    def __init__(self, text):
        self.text = text
        first, *rest = text.strip().split("\n")
        _, size, _, classes = first.split()
        self.height, self.width, self.channels = map(int, size.split("x"))
        self.classes = int(classes)
        self.layers, self.shapes, self.tensors = [], [], []
        shape = (self.height, self.width, self.channels)
        for index, line in enumerate(rest):
            kind, *args = line.split()
            layer = {"kind": kind, "bias": "bias" in args}
            self.layers.append(layer)
            self.shapes.append(shape)
            if kind == "conv":
                layer["units"], layer["kernel"] = int(args[0]), int(args[2])
                self.add(index, "weight", (layer["units"], shape[2]) + 2 * (layer["kernel"],))
                shape = (*shape[:2], layer["units"])
            elif kind == "dense":
                layer["units"] = int(args[0])
                self.add(index, "weight", (layer["units"], shape[2]))
                shape = (1, 1, layer["units"])
            elif kind == "batch-norm":
                layer["momentum"], layer["epsilon"] = float(F(args[1])), float(F(args[3]))
                for role in ("gamma", "beta", "mean", "variance"):
                    self.add(index, role, (shape[2],))
            elif kind == "dropout":
                layer["rate"] = float(args[0])
            elif kind == "max-pool":
                shape = (shape[0] // 2, shape[1] // 2, shape[2])
            elif kind == "flatten":
                shape = (1, 1, math.prod(shape))
            if layer["bias"]:
                self.add(index, "bias", (layer["units"],))

    def add(self, layer, role, dims):
        self.tensors.append(Tensor(layer, role, dims))

    def of_layer(self, index):
        return [i for i, tensor in enumerate(self.tensors) if tensor.layer == index]


def vgg(size, width, classes, dense, dropout):
    lines = [f"input {size}x{size}x1 classes {classes}"]
    for block in range(4):
        lines += 2 * [f"conv {width << block} kernel 3",
                      "batch-norm momentum 0.99 epsilon 0.001", "relu"]
        lines += ["max-pool", f"dropout {dropout}"]
    lines += ["flatten", f"dense {dense} bias", "relu", f"dropout {dropout}"]
    lines += ["dense 1 bias", "sigmoid"] if classes == 2 else [f"dense {classes} bias", "softmax"]
    return Net("\n".join(lines) + "\n")


class Case:
    def __init__(self, name, net, batch, seed, weighted, sampled, stepped=True):
        self.name, self.net, self.batch, self.seed = name, net, batch, seed
        self.weighted, self.sampled, self.stepped = weighted, sampled, stepped
        self.total = batch + 3
        self.params = [make_param(t, i, seed) for i, t in enumerate(net.tensors)]
        means = np.asarray(MEANS[: net.channels], dtype=np.float64)
        self.input = (make_pixels(net, batch, seed) - means) / 255
        self.labels = make_labels(net, batch, seed)
        self.weights = 0.5 + 0.25 * np.arange(batch) if weighted else np.ones(batch)

    def moment(self, index, part):
        return make_moment(self.net.tensors[index], index, self.seed, part)


# --- PyTorch

def torch_forward(case, params, training):
    net = case.net
    x = torch.tensor(case.input).permute(0, 3, 1, 2)
    moving = {}
    for index, layer in enumerate(net.layers):
        at = net.of_layer(index)
        kind = layer["kind"]
        if kind == "conv":
            bias = params[at[1]] if layer["bias"] else None
            x = torch.nn.functional.conv2d(x, params[at[0]], bias, padding=layer["kernel"] // 2)
        elif kind == "dense":
            x = torch.nn.functional.linear(x, params[at[0]], params[at[1]] if layer["bias"] else None)
        elif kind == "batch-norm":
            gamma, beta, mean, variance = (params[i] for i in at)
            if training:  # PyTorch moves by the sample variance: Keras' population variance is set here
                axes = (0, 2, 3)[: x.dim() - 1]
                keep = layer["momentum"]
                moving[at[2]] = keep * mean + (1 - keep) * x.mean(axes)
                moving[at[3]] = keep * variance + (1 - keep) * x.var(axes, correction=0)
            x = torch.nn.functional.batch_norm(x, None if training else mean,
                                               None if training else variance, gamma, beta,
                                               training, 0, layer["epsilon"])
        elif kind == "relu":
            x = torch.relu(x)
        elif kind == "max-pool":
            x = torch.nn.functional.max_pool2d(x, 2)
        elif kind == "flatten":
            x = x.flatten(1)
        elif kind == "dropout" and training:
            mask = torch.tensor(make_mask(layer, index, net.shapes[index], case.batch))
            x = x * (mask.permute(0, 3, 1, 2) if x.dim() == 4 else mask.flatten(1))
    return x, moving


def torch_adam(case, params, trained):
    """Keras' epsilon stands beside √v before the correction of the second moment, PyTorch's behind."""
    correction = math.sqrt(1 - BETA2 ** (STEP + 1))
    adam = torch.optim.Adam(trained.values(), LR, (BETA1, BETA2), EPSILON / correction)
    for index, param in trained.items():
        adam.state[param] = {"step": torch.tensor(float(STEP)),
                             "exp_avg": torch.tensor(case.moment(index, 0)),
                             "exp_avg_sq": torch.tensor(case.moment(index, 1))}
    adam.step()


def run_torch(case):
    net = case.net
    params = [torch.tensor(p, requires_grad=t.trained) for p, t in zip(case.params, net.tensors)]
    trained = {i: p for i, p in enumerate(params) if net.tensors[i].trained}
    labels, weights = torch.tensor(case.labels), torch.tensor(case.weights)
    with torch.no_grad():
        logits, _ = torch_forward(case, params, False)
        p = torch.sigmoid(logits)
        p = torch.cat([1 - p, p], 1) if net.classes == 2 and logits.shape[1] == 1 else \
            torch.softmax(logits, 1)
    logits, moving = torch_forward(case, params, True)
    if logits.shape[1] == 1:
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            logits[:, 0], labels.double(), weights, reduction="sum")
    else:
        loss = (torch.nn.functional.cross_entropy(logits, labels, reduction="none") * weights).sum()
    (loss / case.total).backward()
    gradients = {i: p.grad.numpy().copy() for i, p in trained.items()}
    torch_adam(case, params, trained)
    after = {i: p.detach().numpy() for i, p in trained.items()}
    after.update({i: m.detach().numpy() for i, m in moving.items()})
    return p.numpy(), float(loss.detach()), gradients, after


# --- Keras

def keras_layout(data):
    """Canonical form to Keras' and, for the kernels, from it."""
    return {4: lambda: data.transpose(2, 3, 1, 0), 2: lambda: data.T, 1: lambda: data}[data.ndim]()


def canonical(data):
    return {4: lambda: data.transpose(3, 2, 0, 1), 2: lambda: data.T, 1: lambda: data}[data.ndim]()


def keras_layers(net):
    made = []
    for layer in net.layers:
        kind = layer["kind"]
        if kind == "conv":
            made.append(keras.layers.Conv2D(layer["units"], layer["kernel"], padding="same",
                                            use_bias=layer["bias"]))
        elif kind == "dense":
            made.append(keras.layers.Dense(layer["units"], use_bias=layer["bias"]))
        elif kind == "batch-norm":
            made.append(keras.layers.BatchNormalization(momentum=layer["momentum"],
                                                        epsilon=layer["epsilon"]))
        elif kind == "max-pool":
            made.append(keras.layers.MaxPooling2D(2))
        elif kind == "relu":
            made.append(keras.layers.ReLU())
        elif kind == "flatten":  # channel-major, as the engine has it
            made.append(keras.Sequential([keras.layers.Permute((3, 1, 2)), keras.layers.Flatten()]))
        else:
            made.append(None)
    return made


def keras_forward(case, layers, training):
    x = tf.constant(case.input)
    for index, (layer, made) in enumerate(zip(case.net.layers, layers)):
        if layer["kind"] == "dropout" and training:
            mask = make_mask(layer, index, case.net.shapes[index], case.batch)
            x = x * tf.constant(mask if len(x.shape) == 4 else mask.reshape(case.batch, -1))
        elif made is not None:
            x = made(x, training=training)
    return x


def run_keras(case):
    net = case.net
    layers = keras_layers(net)
    keras_forward(case, layers, False)  # builds them
    for index, made in enumerate(layers):
        at = net.of_layer(index)
        if at:
            made.set_weights([keras_layout(case.params[i]) for i in at])
    logits = keras_forward(case, layers, False)
    if logits.shape[1] == 1:
        p = tf.sigmoid(logits).numpy()
        p = np.concatenate([1 - p, p], 1)
    else:
        p = tf.nn.softmax(logits).numpy()
    trained = {}
    for index, made in enumerate(layers):
        at = [i for i in net.of_layer(index) if net.tensors[i].trained]
        trained.update(zip(at, made.trainable_variables if at else []))
    with tf.GradientTape() as tape:
        logits = keras_forward(case, layers, True)
        if logits.shape[1] == 1:
            losses = keras.losses.BinaryCrossentropy(from_logits=True, reduction=None)(
                case.labels[:, None].astype(np.float64), logits)
        else:
            losses = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)(
                case.labels, logits)
        loss = tf.reduce_sum(losses * case.weights)
        scaled = loss / case.total
    variables = list(trained.values())
    gradients = tape.gradient(scaled, [v.value for v in variables])
    adam = keras.optimizers.Adam(LR, BETA1, BETA2, EPSILON)
    adam.build(variables)
    adam.iterations.assign(STEP)
    for slot, part in ((adam._momentums, 0), (adam._velocities, 1)):
        for variable, index in zip(slot, trained):
            variable.assign(keras_layout(case.moment(index, part)))
    adam.apply_gradients(zip(gradients, variables))
    after = {}
    for index, made in enumerate(layers):
        after.update(zip(net.of_layer(index), map(canonical, made.get_weights() if made else [])))
    return (p, float(loss), {i: canonical(g.numpy()) for i, g in zip(trained, gradients)},
            {i: a for i, a in after.items() if i in trained or not net.tensors[i].trained})


# --- Files

def write_values(file, what, index, data, samples):
    flat = np.asarray(data, dtype=np.float64).reshape(-1)
    stride = max(1, flat.size // samples) | 1 if flat.size > samples else 1
    some = flat[::stride]
    usual = math.sqrt(float(np.mean(flat**2)))
    file.write(f"{what} {index} stride {stride} usual {usual:.6g} values {some.size}\n")
    file.write(" ".join(f"{v:.9g}" for v in some) + "\n")


def write_case(case, source, version, outcome):
    p, loss, gradients, after = outcome
    path = pathlib.Path(__file__).parent / f"{case.name}.{source}.txt"
    with path.open("w") as file:
        file.write(f"{source} {version}\n")
        file.write(f"seed {case.seed} batch {case.batch} total {case.total} position {POSITION} "
                   f"step {STEP} weighted {int(case.weighted)}\n")
        file.write(case.net.text + "\n")
        write_values(file, "probabilities", 0, p, p.size)
        file.write(f"loss 0 stride 1 usual {loss:.6g} values 1\n{loss:.12g}\n")
        for index, gradient in sorted(gradients.items()):
            write_values(file, "gradient", index, gradient, case.sampled)
        for index, data in sorted(after.items()):
            if case.stepped or not case.net.tensors[index].trained:
                write_values(file, "after", index, data, case.sampled)
    print(path.name, path.stat().st_size, "bytes, loss", loss)


MIXED = Net("""input 11x9x3 classes 5
conv 6 kernel 5 bias
relu
max-pool
conv 7 kernel 1
batch-norm momentum 0.9 epsilon 0.01
dropout 0.3
conv 5 kernel 7 bias
relu
flatten
dense 12
batch-norm momentum 0.5 epsilon 0.001
relu
dense 5 bias
softmax
""")


def main():
    if SOURCE is None:
        for source in ("pytorch", "keras"):
            subprocess.run([sys.executable, __file__, source], check=True)
        return
    cases = [
        Case("paper-small", vgg(16, 4, 2, 16, 0.2), 4, 7, True, 24),
        Case("mixed", MIXED, 5, 8, True, 24),
        Case("classes", vgg(35, 3, 7, 10, 0.1), 3, 9, False, 16),
        Case("paper", vgg(96, 64, 2, 256, 0.2), 2, 10, False, 12, stepped=False),
    ]
    for case in cases:
        if SOURCE == "pytorch":
            write_case(case, SOURCE, torch.__version__.split("+")[0], run_torch(case))
        else:
            write_case(case, SOURCE, keras.__version__, run_keras(case))


if __name__ == "__main__":
    main()
