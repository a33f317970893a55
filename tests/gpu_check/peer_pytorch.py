"""PyTorch as a peer on a GPU: the paper's model, bfloat16 under autocast, channels last, fused Adam, images resident on
the device. Arguments: batch, and how it is run: `graphs` (eager, the whole step in one CUDA graph) or `compile`
(torch.compile with CUDA graphs). Answers each line of its input with seconds, as bench/train does."""
import sys
import time

import torch
from torch import nn

batch, how = int(sys.argv[1]), sys.argv[2]
device = torch.device("cuda")
torch.backends.cudnn.benchmark = True


def paper():
    stack, before = [], 1
    for filters in (64, 128, 256, 512):
        for _ in range(2):
            stack += [nn.Conv2d(before, filters, 3, padding=1, bias=False),
                      nn.BatchNorm2d(filters, eps=1e-3, momentum=0.01), nn.ReLU(inplace=True)]
            before = filters
        stack += [nn.MaxPool2d(2), nn.Dropout(0.2)]
    stack += [nn.Flatten(), nn.Linear(512 * 36, 256), nn.ReLU(), nn.Dropout(0.2), nn.Linear(256, 1)]
    return nn.Sequential(*stack)


model = paper().to(device, memory_format=torch.channels_last)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, eps=1e-7, fused=True, capturable=True)
images = torch.rand(batch, 1, 96, 96, device=device).to(memory_format=torch.channels_last)
labels = torch.randint(0, 2, (batch, 1), device=device).float()
run = torch.compile(model, mode="reduce-overhead") if how == "compile" else model


def eager_step():
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cuda", torch.bfloat16):
        logits = run(images)
    loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), labels)
    loss.backward()
    optimizer.step()
    return loss


def captured(function):
    """The function as one CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            function()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay


steps, predictions = {}, {}


def step_function():
    if "step" not in steps:
        model.train()
        steps["step"] = captured(eager_step) if how == "graphs" else eager_step
    return steps["step"]


def predict_function(count):
    if count not in predictions:
        model.eval()

        def predict():
            with torch.no_grad(), torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
                return run(images[:count])
        predictions[count] = captured(predict) if how == "graphs" else predict
    return predictions[count]


print('{"choices": "pytorch=%s cudnn=%s how=%s"}' % (torch.__version__, torch.backends.cudnn.version(), how), flush=True)
for line in sys.stdin:
    words = line.split()
    if words[0] == "train":
        function, times = step_function(), int(words[1])
        model.train()
    else:
        function, times = predict_function(int(words[1])), int(words[2])
        model.eval()
    torch.cuda.synchronize()
    start = time.monotonic()
    for _ in range(times):
        function()
        if words[0] != "train":
            torch.cuda.synchronize()  # an answer is wanted for each batch
    torch.cuda.synchronize()
    print("%.6f" % (time.monotonic() - start), flush=True)
