"""A gang across two hosts that share no folder: it trains; a link cut in mid-step ends it in seconds, and the job goes on
once the link is back."""

import shutil
import time
import unittest

import hosts
from stack import tell, until

TRAIN = ("train", "heads", "--replicas", 2, "--width", 8, "--depth", 3, "--seed", 5, "--checkpoint-s", 1, "--precision",
         "fp32", "--sync-bn", "--epochs")
LONG_S = 8
ENDS_S = 5
FINAL = ("succeeded", "failed", "cancelled", "dead")


class GangHosts(unittest.TestCase):
    """The first host has the stack and a trainer, the other one a trainer."""

    @classmethod
    def setUpClass(cls):
        missing = hosts.why_not()
        if missing:
            raise unittest.SkipTest(f"NOT TESTED: hosts without a shared folder need network namespaces: {missing}")
        near, far = cls.host(), cls.host()
        cls.link = hosts.Link(near, far)
        cls.stack, cls.other = cls.home(near), cls.home(far)
        for above, service in enumerate(("dispatcher", "gateway", "blobs")):
            cls.stack.environ[f"INKLING_{service.upper()}_LISTEN"] = \
                f"tcp://{cls.link.addresses[0]}:{hosts.PORT + above}"
        cls.stack.ask("keys", "init")
        cls.stack.serve()
        cls.stack.begin("trainer-0", "inkling-trainer", "--name", "trainer-0")
        cls.stack.await_ready("trainer-0")
        key = cls.stack.ask("keys", "client", "other", "--file", cls.stack.path("other.key"))["file"]
        shutil.copy(cls.stack.host.seen(key), cls.other.seen("key"))
        cls.other.ask("stack", "add", "lab", f"tcp://{cls.link.addresses[0]}:{hosts.PORT}", "--key", cls.other.path("key"))
        cls.other.ask("stack", "use", "lab")
        cls.other.begin("trainer", "inkling", "worker", "trainer", "--stack", "lab", "--name", "trainer-far")
        until("both trainers are here", lambda: {worker["worker"] for worker in cls.stack.ask("workers")} >=
              {"trainer-0", "trainer-far"}, 60)
        images = cls.stack.path("images")
        cls.stack.ask("demo-data", images, "--count", 400, "--seed", 9)
        cls.stack.ask("ingest", images, "--name", "heads", "--size", 48)
        cls.train, cls.undisturbed = cls.stack.train_long(TRAIN, 6, LONG_S, "--model", "faces")

    @classmethod
    def host(cls):
        host = hosts.Host()
        cls.addClassCleanup(host.end)
        return host

    @classmethod
    def home(cls, host):
        home = hosts.Home(host, threads=1, disk_reserve_mb=16)
        cls.addClassCleanup(home.end)
        return home

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            print("\n".join(f"===== {home.home}\n{home.all_logs()}" for home in (self.stack, self.other)), flush=True)

    def tell(self, kind, **body):
        return tell(self.stack.seen("run", "dispatcher.sock"), kind, **body)

    def show(self, job):
        return self.tell("job.show", job=job)["job"]

    def test_it_trains(self):
        self.assertEqual(len(self.undisturbed["replicas"]), 2)
        self.assertEqual(len({replica["weights_sha256"] for replica in self.undisturbed["replicas"]}), 1)

    def cut(self, how, model):
        job = self.stack.ask(*self.train, "--model", model, "--detach")["job"]

        def far():
            shown = self.show(job)
            self.assertNotIn(shown["state"], FINAL, "the job has ended before anything was cut")
            return shown["state"] == "running" and shown.get("progress", 0) > 0.25 and shown.get("checkpoint")
        self.addCleanup(self.link.mend)
        until(f"job {job} in its middle", far)
        how()
        cut = time.monotonic()
        until("the gang's end", lambda: self.show(job)["state"] == "queued", 30)
        took_s = time.monotonic() - cut
        print(f"{self.id()}: ended after {took_s:.2f} s: {self.show(job).get('reason')}", flush=True)
        self.assertLess(took_s, ENDS_S)
        time.sleep(5)
        self.assertEqual(self.show(job)["state"], "queued")
        print(self.stack.ask("job", "why", job)["text"], flush=True)
        self.link.mend()
        until(f"the end of job {job}", lambda: self.show(job)["state"] in FINAL, 180)
        shown = self.stack.ask("job", "show", job)
        self.assertEqual(shown["state"], "succeeded", shown)
        self.assertEqual(len(shown["result"]["history"]), len(self.undisturbed["history"]))
        self.assertEqual(len({replica["weights_sha256"] for replica in shown["result"]["replicas"]}), 1)
        self.assertGreaterEqual(shown["attempts"], 2)

    def test_the_link_is_lost(self):
        self.cut(self.link.lose, "lost")

    def test_the_link_is_pulled(self):
        self.cut(self.link.pull, "pulled")


if __name__ == "__main__":
    unittest.main(verbosity=2)
