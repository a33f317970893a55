"""A gang of trainers: whichever member is killed or stands still, the gang ends in seconds and its job goes on."""

import os
import signal
import subprocess
import time
import unittest

from stack import INKLING, StackTest, tell, until

TRAIN = ("train", "heads", "--replicas", 2, "--width", 8, "--depth", 3, "--seed", 5, "--checkpoint-s", 1, "--precision",
         "fp32", "--sync-bn", "--epochs")
LONG_S = 8  # an undisturbed run, whatever the machine
ENDS_S = 5  # from what is done to a member to the end of the gang
FINAL = ("succeeded", "failed", "cancelled", "dead")


class Gangs(StackTest):
    settings = {"threads": 1}

    @classmethod
    def prepare(cls):
        cls.more = None
        cls.begin_more()
        images = cls.stack.path("images")
        cls.stack.ask("demo-data", images, "--count", 400, "--seed", 9)
        cls.stack.ask("ingest", images, "--name", "heads", "--size", 48)
        cls.train, cls.undisturbed = cls.stack.train_long(TRAIN, 6, LONG_S, "--model", "undisturbed")

    @classmethod
    def tearDownClass(cls):
        if cls.more:
            cls.end_more()
        super().tearDownClass()

    @classmethod
    def begin_more(cls):
        """The second trainer."""
        with open(cls.stack.path("trainer-1.log"), "a") as log:
            cls.more = subprocess.Popen([INKLING, "worker", "trainer", "--name", "trainer-1"], env=cls.stack.environ,
                                        stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        until("trainer-1 is here", lambda: cls.workers().get("trainer-1", {}).get("state") in ("idle", "busy"))

    @classmethod
    def end_more(cls):
        cls.more.send_signal(signal.SIGCONT)
        cls.more.kill()
        cls.more.wait()
        cls.more = None

    @classmethod
    def workers(cls):
        return {worker["worker"]: worker for worker in cls.stack.ask("workers")}

    def setUp(self):
        if not self.more or self.more.poll() is not None:
            self.begin_more()
        until("both trainers are idle", lambda: all(
            self.workers().get(name, {}).get("state") == "idle" for name in ("trainer-0", "trainer-1")), 60)

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            with open(self.stack.path("trainer-1.log"), errors="replace") as file:
                print(self.stack.logs(), "--- trainer-1", file.read()[-4000:], sep="\n", flush=True)

    def tell(self, kind, **body):
        return tell(self.stack.path("run", "dispatcher.sock"), kind, **body)

    def show(self, job):
        return self.tell("job.show", job=job)["job"]

    def states(self, job):
        """Its changes of state so far, with the store's time."""
        events, last = [], 1
        while len(events) < last:
            answer = self.tell("job.events", job=job, after=len(events), limit=500)
            events, last = events + answer["events"], answer["last"]
        return [dict(event["data"], at_ms=event["at_ms"]) for event in events if event["type"] == "state"]

    def begun(self, *more):
        """A job that is in its middle, with a checkpoint, and its workers by rank."""
        job = self.stack.ask(*self.train, *more, "--detach")["job"]

        def far():
            shown = self.show(job)
            self.assertNotIn(shown["state"], FINAL, "the job has ended before anything was done")
            return shown["state"] == "running" and shown.get("progress", 0) > 0.25 and shown.get("checkpoint") and shown
        workers = until(f"job {job} in its middle", far)["workers"]
        self.assertEqual(sorted(workers), ["trainer-0", "trainer-1"])
        return job, workers

    def engine(self, worker):
        pid = self.workers()[worker]["pid"]
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return int(file.read().split()[0])

    def check_ends(self, job, since):
        """The gang has ended in time; the job goes on."""
        ended = until(f"the end of job {job}'s gang", lambda: [state for state in self.states(job) if state["at_ms"] >= since and
                                                              state["state"] != "running"], 60)[0]
        took_s = (ended["at_ms"] - since) / 1000
        print(f"{self.id()}: ended after {took_s:.2f} s: {ended}", flush=True)
        self.assertEqual(ended["state"], "queued")
        self.assertLess(took_s, ENDS_S)

    def check_succeeds(self, job):
        until(f"the end of job {job}", lambda: self.show(job)["state"] in FINAL, 300)
        shown = self.stack.ask("job", "show", job)
        self.assertEqual(shown["state"], "succeeded", shown)
        self.assertEqual(len(shown["result"]["history"]), len(self.undisturbed["history"]))
        return shown

    def disturb(self, rank, engine, sign, *more):
        job, workers = self.begun("--model", "disturbed", *more)
        pid = self.engine(workers[rank]) if engine else self.workers()[workers[rank]]["pid"]
        since = int(time.time() * 1000)
        os.kill(pid, sign)
        if sign == signal.SIGSTOP:
            self.addCleanup(lambda: os.path.exists(f"/proc/{pid}") and os.kill(pid, signal.SIGCONT))
        try:
            self.check_ends(job, since)
        finally:
            if sign == signal.SIGSTOP and not engine and not more:
                os.kill(pid, signal.SIGCONT)
        if sign == signal.SIGKILL and not engine and workers[rank] == "trainer-1" and not more:
            self.more.wait()
            self.begin_more()
        return job, workers

    def test_a_gang_trains(self):
        digests = {replica["weights_sha256"] for replica in self.undisturbed["replicas"]}
        self.assertEqual(len(self.undisturbed["replicas"]), 2)
        self.assertEqual(len(digests), 1)

    def test_an_engine_is_killed(self):
        for rank in (0, 1):
            with self.subTest(rank=rank):
                self.check_succeeds(self.disturb(rank, True, signal.SIGKILL)[0])

    def test_an_engine_stands_still(self):
        for rank in (0, 1):
            with self.subTest(rank=rank):
                self.check_succeeds(self.disturb(rank, True, signal.SIGSTOP)[0])

    def test_a_worker_is_killed(self):
        for rank in (0, 1):
            with self.subTest(rank=rank):
                self.check_succeeds(self.disturb(rank, False, signal.SIGKILL)[0])

    def test_a_worker_stands_still(self):
        for rank in (0, 1):
            with self.subTest(rank=rank):
                self.check_succeeds(self.disturb(rank, False, signal.SIGSTOP)[0])

    def test_it_goes_on_alone(self):
        job, workers = self.disturb(1, False, signal.SIGSTOP, "--min-replicas", 1)
        self.check_succeeds(job)
        alone = [state for state in self.states(job) if state["state"] == "running"][-1]
        self.assertEqual(alone["worker"], workers[0])
        self.assertEqual(alone["workers"], [workers[0]])


if __name__ == "__main__":
    unittest.main(verbosity=2)
