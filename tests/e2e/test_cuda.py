"""Does --device do what it says, from the setting to the answer? Trainer and gateway load the plugin for CUDA, built with
the double of CUDA (tests/gpu) in place of NVIDIA's libraries: it trains, evaluates and classifies. And
where there is no driver, a GPU that is asked for is refused, and one that is not asked for is not missed."""

import atexit
import os
import shutil
import tempfile
import unittest

BUILT = os.environ["INKLING_BIN"]
DOUBLE = os.path.join(os.path.dirname(BUILT), "cuda-host")
PLUGIN = os.path.join(DOUBLE, "plain", "lib", "inkling", "inkling-cuda.so")
PREFIX = tempfile.mkdtemp(prefix="ink-cuda-")  # the programs look for plugins beside themselves
atexit.register(shutil.rmtree, PREFIX, True)


def install():
    """The programs with the double's plugin."""
    shutil.copytree(BUILT, os.path.join(PREFIX, "bin"))
    shutil.copytree(os.path.join(os.path.dirname(BUILT), "lib"), os.path.join(PREFIX, "lib"))
    shutil.copy(PLUGIN, os.path.join(PREFIX, "lib", "inkling", "inkling-cuda.so"))


if os.path.exists(PLUGIN):
    install()
    os.environ["INKLING_BIN"] = os.path.join(PREFIX, "bin")
from stack import Stack, until  # noqa: E402 (it reads INKLING_BIN)

SMALL = ("--width", 4, "--depth", 2, "--batch", 16, "--epochs", 2, "--seed", 3)


@unittest.skipUnless(os.path.exists(PLUGIN), "NOT TESTED: no plugin with the double of CUDA: " + PLUGIN)
class Cuda(unittest.TestCase):
    def stack(self, device, driver):
        stack = Stack(device=device)
        self.addCleanup(stack.remove)
        self.addCleanup(stack.down)
        if driver:
            stack.environ["LD_LIBRARY_PATH"] = os.path.join(DOUBLE, "driver")
        return stack

    def demo(self, stack):
        images = stack.path("demo")
        self.assertEqual(stack.run("demo-data", images, "--count", 60, "--seed", 1)[0], 0)
        stack.ask("ingest", images, "--name", "demo", "--size", 32)
        return os.path.join(images, "photos", "1.jpg")

    def test_trains_evaluates_and_classifies(self):
        stack = self.stack("cuda", driver=True)
        stack.up()
        image = self.demo(stack)
        done = stack.ask("train", "demo", *SMALL)
        self.assertEqual((done["backend"], done["precision"], done["exact"]), ("cuda", "bf16", True))
        again = stack.ask("train", "demo", *SMALL)
        self.assertEqual(again["weights_sha256"], done["weights_sha256"])
        score = stack.ask("evaluate", "demo", "demo", "--split", "test")
        self.assertEqual(score["images"], done["test"]["images"])
        until("the gateway has the model", lambda: stack.run("classify", image, "--model", "demo")[0] == 0)
        answer = stack.ask("classify", image, "--model", "demo")
        self.assertEqual(answer[0]["model"], "demo")

    def test_the_cpu_is_the_cpu(self):
        stack = self.stack("cpu", driver=True)
        stack.up()
        self.demo(stack)
        self.assertNotEqual(stack.ask("train", "demo", *SMALL)["backend"], "cuda")

    def test_no_gpu_is_refused_where_one_is_asked_for(self):
        stack = self.stack("auto", driver=False)
        stack.up()
        self.demo(stack)
        self.assertNotEqual(stack.ask("train", "demo", *SMALL)["backend"], "cuda")
        stack.down()
        stack.environ["INKLING_DEVICE"] = "cuda"
        code, out, err = stack.run("up", "--detach", "--wait-ms", 3000)
        self.assertNotEqual(code, 0)  # a gateway on a GPU that is not there does not come up
        self.assertIn("no GPU can be used here", out + err + stack.logs())


if __name__ == "__main__":
    unittest.main()
