"""PyTorch as a peer of tests/bench/train: same model, same batch, channels last; fp32 compiled, bf16 eager under
autocast (the faster ways on a CPU). Arguments: fp32 or bf16, batch."""
import contextlib
import sys
import time

import torch
from torch import nn

precision, batch = sys.argv[1], int(sys.argv[2])


def paper():
    stack, before = [], 1
    for filters in (64, 128, 256, 512):
        for _ in range(2):
            stack += [nn.Conv2d(before, filters, 3, padding=1, bias=False),
                      nn.BatchNorm2d(filters, eps=1e-3, momentum=0.01), nn.ReLU()]
            before = filters
        stack += [nn.MaxPool2d(2), nn.Dropout(0.2)]
    stack += [nn.Flatten(), nn.Linear(512 * 36, 256), nn.ReLU(), nn.Dropout(0.2), nn.Linear(256, 1)]
    return nn.Sequential(*stack)


model = paper().to(memory_format=torch.channels_last)
run = model
if precision == "fp32":
    run = torch.compile(model)
cast = (lambda: torch.autocast("cpu", torch.bfloat16)) if precision == "bf16" else contextlib.nullcontext
optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, eps=1e-7)
images = torch.rand(batch, 1, 96, 96).to(memory_format=torch.channels_last)
labels = torch.randint(0, 2, (batch, 1)).float()


def step():
    optimizer.zero_grad(set_to_none=True)
    with cast():
        logits = run(images)
    nn.functional.binary_cross_entropy_with_logits(logits.float(), labels).backward()
    optimizer.step()


def predict(count):
    model.eval()
    with torch.inference_mode(), cast():
        run(images[:count])
    model.train()


print('{"choices": "pytorch=%s"}' % torch.__version__, flush=True)
for line in sys.stdin:
    words = line.split()
    start = time.monotonic()
    if words[0] == "train":
        for _ in range(int(words[1])):
            step()
    else:
        for _ in range(int(words[2])):
            predict(int(words[1]))
    print("%.6f" % (time.monotonic() - start), flush=True)
