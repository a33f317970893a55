"""A search whose space is changed while it runs: it takes that up at once, whatever is killed, and its log alone says
what it does next."""

import math
import os
import signal
import sys
import unittest

from stack import Stack, until

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration", "python_protocol"))

from stranger import Client

SEARCH = ("tune", "demo", "--trials", 10, "--seed", 5, "--epochs", 3, "--width", 8, "--dense", 32, "--detach")
CHANGE = ("--param", "lr=log:1e-4..2e-3=1e-3", "--param", "width=int:4..8=8")


class Change(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.addClassCleanup(cls.stack.remove)
        cls.stack.up()
        cls.addClassCleanup(cls.stack.down)
        images = cls.stack.path("images")
        cls.stack.ask("demo-data", images, "--count", 160)
        cls.stack.ask("ingest", images, "--name", "demo", "--size", 32)

    def begin(self, name, ended=2):
        job = self.stack.ask(*SEARCH, "--model", name)["job"]
        self.ended(job, ended)
        return job

    def ended(self, job, count):
        until(f"{count} trials have ended", lambda: self.stack.ask("job", "show", job).get("progress", 0) >= count / 10)
        self.assertEqual(self.stack.ask("job", "show", job)["state"], "running")

    def client(self, service):
        client = Client(f"ipc://{self.stack.path('run')}/{service}.sock")
        self.addCleanup(client.close)
        return client

    def log_of(self, job):
        """The study's about, and its entries."""
        client, entries = self.client("dispatcher"), []
        while True:
            page = client.ask("study.read", {"study": f"job-{job}", "after": len(entries)})
            if not page.get("entries"):
                return page["study"]["about"], entries
            entries += [entry["data"] for entry in page["entries"]]

    def check_log(self, job):
        """Somebody else, who knows nothing but the log up to there, decides as the search did."""
        about, entries = self.log_of(job)
        asks = [i for i, entry in enumerate(entries) if entry["do"] == "ask"]
        changes = [i for i, entry in enumerate(entries) if entry["do"] == "space"]
        self.assertEqual([entries[i]["trial"] for i in asks], list(range(1, len(asks) + 1)))
        dispatcher, studies = self.client("dispatcher"), self.client("studies")
        for i in asks:
            copy = f"copy-{job}-{i}"
            dispatcher.ask("study.open", {"study": copy, "about": about})
            dispatcher.ask("study.append", {"study": copy, "at": 0, "entries": [{"data": one} for one in entries[:i]]})
            self.assertEqual(studies.ask("study.ask", {"study": copy})["params"], entries[i]["params"], entries[i])
            dispatcher.ask("study.rm", {"study": copy})
        return entries, asks, changes

    def check(self, job):
        result = self.stack.ask("job", "follow", job)
        self.assertEqual((result["state"], len(result["trials"])), ("succeeded", 10))
        entries, asks, changes = self.check_log(job)
        self.assertEqual(len(changes), 1)
        for trial, at in zip(result["trials"], asks):
            given = entries[at]["params"]
            self.assertEqual(trial["params"].keys(), given.keys())
            self.assertTrue(all(math.isclose(value, given[name], rel_tol=1e-9) for name, value in trial["params"].items()))
            self.assertEqual("width" in trial["params"], at > changes[0])
            if at > changes[0]:
                self.assertTrue(1e-4 <= trial["params"]["lr"] <= 2e-3 and 4 <= trial["params"]["width"] <= 8)
        self.assertGreater(asks[-1], changes[0])
        self.assertLess(asks[0], changes[0])

    def test_a_running_search_takes_it_up(self):
        job = self.begin("calm")
        changed = self.stack.ask("study", "change", f"job-{job}", *CHANGE)
        self.assertEqual(changed.get("remarks", []), [])  # 8 is what trainings had
        self.check(job)

    def test_the_tuner_is_killed_right_after(self):
        job = self.begin("killed")
        self.stack.ask("study", "change", f"job-{job}", *CHANGE)
        os.kill(self.stack.pid("tuner-0"), signal.SIGKILL)
        self.ended(job, 6)
        os.kill(self.stack.pid("tuner-0"), signal.SIGKILL)
        self.check(job)

    def test_what_a_training_does_not_take_is_refused(self):
        job = self.begin("refused", 1)
        for words, culprit in ((("--param", "lrr=0..1=0.5"), "lrr"), (("--param", "lr=2..1"), "lr"),
                               (("--param", "dropout=0..0.5", "--param", "depth=int:1..9=4"), "depth"),
                               (("--param", "dense=int:16..64"), "dense")):
            error = self.stack.ask("study", "change", f"job-{job}", *words, code=2)["error"]
            self.assertIn(culprit, error["message"], words)
        self.assertEqual(self.stack.ask("study", "change", "job-none", *CHANGE, code=3)["error"]["code"], "NOT_FOUND")
        changed = self.stack.ask("study", "change", f"job-{job}", "--param", "dense=int:16..64=16")
        self.assertRegex(changed["remarks"][0], "^dense: [0-9]+ earlier trials had 32, and count as having had 16$")
        result = self.stack.ask("job", "follow", job)
        self.assertEqual((result["state"], len(result["trials"])), ("succeeded", 10))

    def test_a_search_begins_with_an_earlier_one(self):
        job = self.begin("before")
        self.stack.ask("job", "follow", job)
        earlier = f"job-{job}"
        words = (*SEARCH, "--trials", 6, "--epochs", 4, "--warm-start", earlier)
        warm = self.stack.ask(*words, "--model", "warm")["job"]
        result = self.stack.ask("job", "follow", warm)
        self.assertEqual((result["state"], len(result["trials"])), ("succeeded", 6))
        self.assertEqual([trial["why"]["kind"] for trial in result["trials"][:3]], ["default", "earlier", "earlier"])
        entries, _, _ = self.check_log(warm)
        self.assertEqual((entries[0]["do"], entries[0]["study"]), ("earlier", earlier))
        # What is copied depends on that study no more, and neither on who is killed.
        killed = self.stack.ask(*words, "--model", "killed-warm")["job"]
        until("a trial has ended", lambda: self.stack.ask("job", "show", killed).get("progress", 0) > 0)
        self.stack.ask("study", "rm", earlier)
        os.kill(self.stack.pid("tuner-0"), signal.SIGKILL)
        again = self.stack.ask("job", "follow", killed)
        self.assertEqual([trial["params"] for trial in again["trials"]], [trial["params"] for trial in result["trials"]])
        lost = self.stack.ask(*words, "--model", "lost")["job"]
        error = self.stack.ask("job", "follow", lost, code=1)["error"]
        self.assertIn(earlier, error["message"])
        other = self.stack.ask(*SEARCH, "--param", "dense=int:16..64", "--warm-start", f"job-{warm}", "--model", "other")["job"]
        self.assertIn("lr is gone", self.stack.ask("job", "follow", other, code=1)["error"]["message"])

    def test_a_search_that_is_stopped_ends(self):
        job = self.begin("stopped")
        self.stack.ask("study", "stop", f"job-{job}", "--reason", "enough")
        result = self.stack.ask("job", "follow", job)
        self.assertEqual((result["state"], result["ended"]), ("succeeded", "enough"))
        self.assertLess(len(result["trials"]), 10)


if __name__ == "__main__":
    unittest.main(verbosity=2)
