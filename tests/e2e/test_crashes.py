"""Whatever is killed in the middle of a job, the job succeeds with exactly the result of an undisturbed run."""

import json
import os
import random
import signal
import time
import unittest

from stack import StackTest, until

TRAIN = ("train", "heads", "--width", 8, "--depth", 3, "--seed", 5, "--checkpoint-s", 1, "--epochs")
LONG_S = 8  # an undisturbed run, whatever the machine: victims are killed, and come back, well before its end


def parent(pid):
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rsplit(")", 1)[1].split()[1])


class Crashes(StackTest):
    @classmethod
    def prepare(cls):
        images = cls.stack.path("images")
        cls.stack.ask("demo-data", images, "--count", 400, "--seed", 9)
        cls.stack.ask("ingest", images, "--name", "heads", "--size", 48)
        cls.train, cls.undisturbed = cls.stack.train_long(TRAIN, 6, LONG_S, "--model", "undisturbed")

    def show(self, job):
        """The job, or nothing while the dispatcher is away."""
        code, out, _ = self.stack.run("job", "show", job, "--json")
        return json.loads(out) if code == 0 else None

    def begun(self, job, progress):
        """Waits until the job has come so far; false when it has ended before."""
        def far():
            shown = self.show(job)
            return shown and (shown["state"] == "succeeded" or
                              shown["state"] == "running" and (shown["progress"] or 0) > progress)
        until(f"job {job} at {progress}", far)
        return self.show(job)["state"] == "running"

    def ended(self, job):
        states = ("succeeded", "failed", "cancelled", "dead")
        return until(f"the end of job {job}", lambda: (self.show(job) or {}).get("state") in states and self.show(job))

    def check(self, victims, model):
        job = self.stack.ask(*self.train, "--model", model, "--detach")["job"]
        for n, victim in enumerate(victims):
            if not self.begun(job, 0.1 + 0.8 * n / len(victims)):
                self.fail("the job ended before all victims were killed: it is too short for this test")
            victim()
        shown = self.ended(job)
        self.assertEqual(shown["state"], "succeeded", shown)
        followed = self.stack.ask("job", "follow", job)
        got = shown["result"]
        self.assertEqual(got["weights_sha256"], self.undisturbed["weights_sha256"])
        self.assertEqual(got["history"], self.undisturbed["history"])
        self.assertEqual(got["test"], self.undisturbed["test"])
        self.assertIsNotNone(followed)
        return shown

    def engine(self):
        """The child in which the trainer computes."""
        trainer = self.stack.pid("trainer-0")
        with open(f"/proc/{trainer}/task/{trainer}/children") as file:
            return [int(pid) for pid in file.read().split()]

    def kill_engine(self):
        for pid in until("the trainer's child", self.engine):
            os.kill(pid, signal.SIGKILL)

    def test_trainer_dispatcher_redis_one_after_another(self):
        self.check([lambda: self.stack.kill("trainer-0"), lambda: self.stack.kill("dispatcher"),
                    lambda: self.stack.kill("redis")], "killed")

    def test_engine_child(self):
        shown = self.check([self.kill_engine], "engine-killed")
        self.assertGreaterEqual(shown["attempts"], 2)

    def test_all_at_once(self):
        def all_of_them():
            for name in ("trainer-0", "redis", "dispatcher"):
                self.stack.kill(name)
        self.check([all_of_them], "all-killed")

    def test_down_and_up_again(self):
        job = self.stack.ask(*self.train, "--model", "paused", "--detach")["job"]
        self.assertTrue(self.begun(job, 0.2))
        self.stack.down()
        self.stack.up()
        shown = self.ended(job)
        self.assertEqual(shown["state"], "succeeded")
        self.assertEqual(shown["result"]["weights_sha256"], self.undisturbed["weights_sha256"])

    def test_no_submitted_job_is_lost(self):
        """Jobs are submitted while everything is killed: each id that was answered ends."""
        rng, jobs, failures = random.Random(4), [], 0
        for n in range(30):
            code, out, _ = self.stack.run("evaluate", "undisturbed", "heads", "--detach", "--json")
            if code == 0:
                jobs.append(json.loads(out)["job"])
            else:
                self.assertIn(code, (1, 4))
                failures += 1
            if n % 6 == 5:
                victim = rng.choice(["dispatcher", "redis", "trainer-0"])
                if self.stack.pid(victim):
                    self.stack.kill(victim)
            time.sleep(0.05)
        self.assertGreater(len(jobs), 5, f"{failures} submits were refused")
        self.assertEqual(len(set(jobs)), len(jobs))
        for job in jobs:
            self.assertEqual(self.ended(job)["state"], "succeeded")

    def test_killed_supervisor_leaves_nothing_behind(self):
        status = self.stack.ask("status")
        pids = [service["pid"] for service in status["services"]] + [status["redis"]["pid"]]
        parents = {parent(pid) for pid in pids}
        self.assertEqual(len(parents), 1)
        os.kill(parents.pop(), signal.SIGKILL)
        self.stack.down()
        for pid in pids:
            until(f"the end of {pid}", lambda: not os.path.exists(f"/proc/{pid}"))
        self.stack.up()
        self.assertIn("undisturbed", [model["name"] for model in self.stack.ask("models")])


if __name__ == "__main__":
    unittest.main(verbosity=2)
