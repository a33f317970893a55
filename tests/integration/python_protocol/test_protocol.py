"""Can a stranger who has read proto/PROTOCOL.md write a client and a worker that keep working while services die, and
do the programs that stand on the page run as they stand there?
"""
import json
import os
import re
import signal
import subprocess
import sys
import time
import unittest

import stack as stacks
from stranger import Client, Refused, Worker

PROGRAMS = os.path.abspath(sys.argv.pop(1))
PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "proto", "PROTOCOL.md")


def await_true(what, test, seconds=60):
    end = time.monotonic() + seconds
    while not test():
        if time.monotonic() > end:
            raise AssertionError(f"never: {what}")
        time.sleep(0.05)


class Scene(unittest.TestCase):
    def setUp(self):
        self.stack = stacks.Stack(PROGRAMS)
        self.addCleanup(self.stack.close)
        self.stack.start_redis()
        self.stack.start("dispatcher")
        self.stack.await_ready("dispatcher")
        self.client = Client(self.stack.dispatcher)
        self.addCleanup(self.client.close)

    def worker(self, name="adder", **more):
        worker = Worker(self.stack.dispatcher, name, self.stack.files, **more)
        worker.start()
        self.addCleanup(worker.stop)
        return worker


class AClient(Scene):
    def test_a_key_makes_one_job(self):
        submit = {"kind": "sum", "body": {"numbers": [1]}, "key": "once"}
        first, second = self.client.ask("job.submit", submit), self.client.ask("job.submit", submit)
        self.assertEqual(first["job"], second["job"])
        self.assertFalse(first.get("existing", False))
        self.assertTrue(second["existing"])

    def test_errors_name_the_field(self):
        for body, field in (({}, "kind"), ({"kind": 5}, "kind"), ({"kind": "sum", "body": []}, "body"),
                            ({"kind": "train", "body": {"dataset": "d", "lr": -1.0}}, "lr"),
                            ({"kind": "train", "body": {"dataset": "d", "epochs": 0}}, "epochs"),
                            ({"kind": "train", "body": {"dataset": "d", "dropout": 1}}, "dropout"),
                            ({"kind": "ingest", "body": {"name": "d"}}, "dir")):
            with self.assertRaises(Refused) as caught:
                self.client.once("job.submit", body)
            self.assertIn(field, caught.exception.message)
            self.assertFalse(caught.exception.retryable)

    def test_what_is_not_there(self):
        for type, body in (("job.show", {"job": "999"}), ("job.cancel", {"job": "999"}), ("job.why", {"job": "999"}),
                           ("dataset.show", {"name": "none"}), ("model.show", {"name": "none"})):
            with self.assertRaises(Refused) as caught:
                self.client.once(type, body)
            self.assertEqual(caught.exception.code, "NOT_FOUND", type)

    def test_a_job_without_a_worker_waits_and_says_why(self):
        job = self.client.submit("lonely", {"any": ["thing", 1.5, None, True]})
        self.assertEqual(self.client.show(job)["state"], "queued")
        self.assertEqual(self.client.show(job)["body"], {"any": ["thing", 1.5, None, True]})
        self.assertIn("lonely", json.dumps(self.client.ask("job.why", {"job": job})))
        self.assertIn(job, [info["job"] for info in self.client.ask("job.list", {})["jobs"]])
        self.client.ask("job.cancel", {"job": job})
        self.client.ask("job.cancel", {"job": job})  # the second finds it done
        self.assertEqual(self.client.show(job)["state"], "cancelled")


class AWorker(Scene):
    def test_work_is_done_and_told(self):
        worker = self.worker()
        job = self.client.submit("sum", {"numbers": [1, 2, 39]})
        events = self.client.events(job)
        info = self.client.show(job)
        self.assertEqual((info["state"], info["result"]), ("succeeded", {"sum": 42}))
        self.assertEqual(info["attempts"], 1)
        self.assertEqual([event["data"]["done"] for event in events if event["type"] == "progress"], [1, 2, 3])
        self.assertEqual([event["data"]["state"] for event in events if event["type"] == "state"],
                         ["queued", "running", "succeeded"])
        self.assertEqual([w["worker"] for w in self.client.ask("worker.list", {})["workers"]], ["adder"])
        await_true("the answer to the finish", lambda: worker.finished == [(job, "succeeded")])

    def test_many_jobs_each_once(self):
        worker = self.worker(slots=4)
        jobs = [self.client.submit("sum", {"numbers": [n]}) for n in range(40)]
        for number, job in enumerate(jobs):
            self.client.events(job)
            self.assertEqual(self.client.show(job)["result"], {"sum": number})
        self.assertEqual(sorted(job for job, _ in worker.taken), sorted(jobs))

    def test_cancel_reaches_a_running_job(self):
        self.worker()
        job = self.client.submit("sum", {"numbers": [1] * 10000, "pause": 0.1})
        self.client.events(job, until=("running",))
        self.client.ask("job.cancel", {"job": job})
        self.client.events(job)
        self.assertEqual(self.client.show(job)["state"], "cancelled")

    def test_failures(self):
        self.worker()
        error = {"code": "INVALID", "message": "seven is no number", "remedy": "count", "retryable": False}
        job = self.client.submit("sum", {"numbers": [3], "error": error})
        self.client.events(job)
        info = self.client.show(job)
        self.assertEqual((info["state"], info["error"]["message"]), ("failed", "seven is no number"))
        error["retryable"] = True
        job = self.client.submit("sum", {"numbers": [3], "error": error}, max_attempts=2)
        self.client.events(job)
        self.assertEqual((self.client.show(job)["state"], self.client.show(job)["attempts"]), ("failed", 2))
        self.client.ask("job.retry", {"job": job})
        self.client.events(job, until=("queued", "running"))

    def test_an_old_token_is_refused(self):
        self.worker()
        job = self.client.submit("sum", {"numbers": [1] * 10000, "pause": 0.1})
        self.client.events(job, until=("running",))
        token = self.client.show(job)["token"]
        for type, more in (("job.report", {"seq": 1, "events": [{"type": "log", "data": {"text": "?"}}]}),
                           ("job.finish", {"outcome": "succeeded"})):
            with self.assertRaises(Refused) as caught:
                self.client.once(type, {"worker": "adder", "job": job, "token": token + 1, **more})
            self.assertIn(caught.exception.code, ("STALE", "NOT_FOUND"))
        self.client.ask("job.cancel", {"job": job})
        self.client.events(job)

    def test_services_die_and_nothing_is_lost_or_doubled(self):
        worker = self.worker()
        job = self.client.submit("sum", {"numbers": list(range(60)), "pause": 0.1})
        self.client.events(job, until=("running",))
        time.sleep(1)
        self.stack.kill("dispatcher")
        time.sleep(0.5)
        self.stack.start("dispatcher")
        self.stack.await_ready("dispatcher")
        time.sleep(1)
        self.stack.kill("redis")
        time.sleep(0.5)
        self.stack.start_redis()
        events = self.client.events(job)
        info = self.client.show(job)
        self.assertEqual((info["state"], info["result"], info["attempts"]), ("succeeded", {"sum": 1770}, 1))
        done = [event["data"]["done"] for event in events if event["type"] == "progress"]
        self.assertEqual(done, list(range(1, 61)))
        self.assertEqual(len(worker.taken), 1)

    def test_what_died_unanswered_is_sent_again_after_the_welcome(self):
        worker = self.worker(resend=float("inf"))  # nothing but a welcome makes it send again
        job = self.client.submit("sum", {"numbers": list(range(60)), "pause": 0.1})
        self.client.events(job, until=("running",))
        for _ in range(2):
            dispatcher = self.stack.processes["dispatcher"]
            dispatcher.send_signal(signal.SIGSTOP)
            await_true("a message without an answer", lambda: any(job["waiting"] for job in worker.jobs.values()))
            time.sleep(0.3)  # it has left the worker by then
            self.stack.kill("dispatcher")
            self.stack.start("dispatcher")
            self.stack.await_ready("dispatcher")
        self.client.events(job)
        info = self.client.show(job)
        self.assertEqual((info["state"], info["result"], info["attempts"]), ("succeeded", {"sum": 1770}, 1))

    def test_a_new_boot_goes_on_from_the_checkpoint(self):
        first = self.worker("twin")
        job = self.client.submit("sum", {"numbers": [1] * 50, "pause": 0.1})
        await_true("a checkpoint", lambda: self.client.show(job).get("checkpoint", {}).get("step", 0) >= 5)
        first.silent.set()  # it hears and says nothing any more, and another comes under its name
        second = self.worker("twin")
        self.client.events(job)
        info = self.client.show(job)
        self.assertEqual((info["state"], info["result"], info["attempts"]), ("succeeded", {"sum": 50}, 2))
        self.assertEqual(len(second.taken), 1)
        first.silent.clear()


def write_examples(folder):
    """The page's programs, as they stand there: name -> path."""
    with open(PAGE, encoding="utf-8") as page:
        blocks = re.findall(r"```python\n(.*?)```", page.read(), re.S)
    paths = {}
    for block in blocks:
        name = re.search(r"^# (\w+\.py):", block, re.M).group(1)
        paths[name] = os.path.join(folder, name)
        with open(paths[name], "w", encoding="utf-8") as file:
            file.write(block)
    return paths


class ThePage(Scene):
    def setUp(self):
        super().setUp()
        self.examples = write_examples(self.stack.home)
        self.assertEqual(sorted(self.examples), ["classify.py", "reverse.py", "shout.py", "submit.py", "tune.py"])

    def example(self, name, *arguments):
        process = subprocess.Popen([sys.executable, "-B", self.examples[name], *arguments], text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        process.kill()
        process.communicate()

    def submitted(self, process, seconds=120):
        output, _ = process.communicate(timeout=seconds)
        lines = output.splitlines()
        self.assertEqual([int(line.split()[0]) for line in lines[:-1]], list(range(1, len(lines))), output)
        return process.returncode, json.loads(lines[-1])

    def test_reverse(self):
        self.example("reverse.py", self.stack.dispatcher, "turner")
        code, end = self.submitted(self.example("submit.py", self.stack.dispatcher, "reverse", '{"text": "abc"}'))
        self.assertEqual((code, end["state"], end["result"]), (0, "succeeded", {"text": "cba"}))

    def test_shout_outlives_services_and_itself(self):
        shout = ("shout.py", f"ipc:///no/such,{self.stack.dispatcher}", "crier", self.stack.files)
        worker = self.example(*shout)
        body = json.dumps({"text": "the quick brown fox jumps over the lazy dog", "pause": 0.1})
        client = self.example("submit.py", self.stack.dispatcher, "shout", body)
        await_true("the job", lambda: self.client.ask("job.list", {}).get("jobs"))
        job = self.client.ask("job.list", {})["jobs"][0]["job"]
        await_true("a checkpoint", lambda: self.client.show(job).get("checkpoint"))
        self.stack.kill("dispatcher")
        self.stack.start("dispatcher")
        self.stack.await_ready("dispatcher")
        worker.kill()
        self.example(*shout)
        code, end = self.submitted(client)
        self.assertEqual((code, end["state"]), (0, "succeeded"))
        self.assertEqual(end["result"], {"text": "THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG"})
        self.assertEqual(self.client.show(job)["attempts"], 2)

    def test_ingest_train_classify(self):
        photos = os.path.join(self.stack.home, "demo")
        subprocess.run([os.path.join(PROGRAMS, "inkling"), "demo-data", photos, "--count", "60"], check=True,
                       stdout=subprocess.DEVNULL, env=dict(os.environ, INKLING_HOME=self.stack.home))
        for name in ("ingest-0", "trainer-0", "gateway-0"):
            self.stack.start(name)
        submit = ("submit.py", self.stack.dispatcher)
        body = {"dir": photos, "name": "demo", "size": 16}
        code, end = self.submitted(self.example(*submit, "ingest", json.dumps(body)))
        self.assertEqual((code, end["result"]["images"]), (0, 60), end)
        body = {"dataset": "demo", "epochs": 1, "width": 4, "depth": 2, "dense": 8}
        code, end = self.submitted(self.example(*submit, "train", json.dumps(body)), 300)
        self.assertEqual((code, end["state"]), (0, "succeeded"), end)
        text = os.path.join(self.stack.home, "text.jpg")
        with open(text, "w", encoding="utf-8") as file:
            file.write("no image")
        image = os.path.join(photos, "photos", "1.jpg")
        await_true("the gateway knows the model", lambda: self.classified(image)[0] == 0)
        code, output = self.classified(image, "demo@1")
        self.assertRegex(output, r"^\S+ (photos|comics) [01]\.\d{4} demo@1\n$")
        code, output = self.classified(image, "demo", text)
        self.assertEqual(code, 1)
        self.assertRegex(output, r"(?s)^\S+1\.jpg (photos|comics) .*text\.jpg error ")
        self.assertIn("NOT_FOUND", self.classified(image, "nobody")[1])

    def test_tune_goes_on_where_it_was(self):
        self.stack.start("studies")
        self.stack.await_ready("studies")
        studies = Client(self.stack.studies)
        self.addCleanup(studies.close)

        def count():
            try:
                return studies.ask("study.show", {"study": "mine", "limit": 0})["count"]
            except Refused:  # it is not there yet
                return 0

        first = self.example("tune.py", self.stack.studies, "mine", "40")
        await_true("some trials", lambda: count() >= 10)
        first.kill()
        self.stack.kill("studies")
        second = self.example("tune.py", self.stack.studies, "mine", "40")
        self.stack.start("studies")
        output, _ = second.communicate(timeout=120)
        self.assertEqual(second.returncode, 0, output)
        self.assertLess(json.loads(output)["value"], 0.13)
        states = [trial["state"] for trial in studies.ask("study.show", {"study": "mine"})["trials"]]
        self.assertEqual(len(states), 40)
        self.assertNotIn("running", states)
        studies.ask("study.stop", {"study": "mine"})
        output, _ = self.example("tune.py", self.stack.studies, "mine", "44").communicate(timeout=60)
        self.assertIn("stopped: ", output)

    def classified(self, image, model="", *more):
        process = self.example("classify.py", self.stack.gateway, model, image, *more)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output


if __name__ == "__main__":
    unittest.main(verbosity=2)
