"""inkling tune: a search over trainings in the same queue, the same whatever is killed in between."""

import os
import signal
import unittest

from stack import Stack, until

SMALL = ("--epochs", 3, "--width", 8, "--dense", 32)
SEARCH = ("tune", "demo", "--trials", 8, "--seed", 5, *SMALL)


def trials_of(result):
    return [(trial["params"], trial["state"], trial["value"]) for trial in result["trials"]]


class Tune(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.addClassCleanup(cls.stack.remove)
        cls.stack.up()
        images = cls.stack.path("images")
        cls.stack.ask("demo-data", images, "--count", 160)
        cls.stack.ask("ingest", images, "--name", "demo", "--size", 32)
        cls.undisturbed = cls.stack.ask(*SEARCH, "--model", "undisturbed")

    def test_what_comes_of_it(self):
        result = self.undisturbed
        self.assertEqual(result["state"], "succeeded")
        self.assertEqual(len(result["trials"]), 8)
        done = [trial["value"] for trial in result["trials"] if trial["state"] == "done"]
        best = result["best"]
        self.assertEqual(best["value"], min(done))
        self.assertEqual((best["model"], best["version"]), ("undisturbed", result["version"]))
        # The paper's parameters, with the defaults of train first.
        self.assertEqual(sorted(best["params"]), ["dropout", "lr"])
        self.assertIn("why", result["trials"][0])
        # The best trial's model is the one that was registered, and it is served.
        model = self.stack.ask("model", "show", "undisturbed")
        trial = next(trial for trial in result["trials"] if trial["trial"] == best["trial"])
        own = self.stack.ask("model", "show", f"undisturbed.trials@{trial['version']}")
        self.assertEqual(model["digest"], own["digest"])
        self.assertTrue(model["promoted"])
        self.assertFalse(own["promoted"])
        image = self.stack.path("images", "photos", "1.jpg")
        self.assertEqual(self.stack.ask("classify", image, "--model", "undisturbed")[0]["version"], 1)

    def killed(self, name, *victims):
        job = self.stack.ask(*SEARCH, "--model", name, "--detach")["job"]
        for number, victim in enumerate(victims):
            until(f"{2 * number + 1} trials have ended",
                  lambda: self.stack.ask("job", "show", job)["progress"] >= (2 * number + 1) / 8)
            self.assertEqual(self.stack.ask("job", "show", job)["state"], "running")
            os.kill(self.stack.pid(victim), signal.SIGKILL)
        result = self.stack.ask("job", "follow", job)
        self.assertEqual(trials_of(result), trials_of(self.undisturbed))
        self.assertEqual(result["best"]["params"], self.undisturbed["best"]["params"])
        self.assertEqual(result["best"]["value"], self.undisturbed["best"]["value"])

    def test_kills_change_no_trial(self):
        self.killed("killed", "tuner-0", "dispatcher", "redis")

    def test_the_trainer_is_killed(self):
        self.killed("trainer", "trainer-0", "tuner-0")

    def test_a_cancelled_search_takes_its_trainings_along(self):
        job = self.stack.ask(*SEARCH, "--model", "cancelled", "--detach")["job"]
        until("a training runs", lambda: any(one["kind"] == "train"
                                             for one in self.stack.ask("jobs", "--state", "running")))
        self.stack.ask("job", "cancel", job)
        until("nothing runs", lambda: not self.stack.ask("jobs", "--state", "running"))
        self.assertEqual(self.stack.ask("job", "show", job)["state"], "cancelled")
        self.assertEqual(self.stack.ask("jobs", "--state", "queued"), [])

    def test_finite_spaces_end(self):
        result = self.stack.ask("tune", "demo", "--trials", 30, "--param", "augment={none,flip}", "--param",
                                "batch=int:16..17", "--model", "finite", *SMALL)
        self.assertEqual(len(result["trials"]), 4)
        self.assertIn("every point", result["ended"])
        points = {tuple(sorted(trial["params"].items())) for trial in result["trials"]}
        self.assertEqual(len(points), 4)

    def test_bad_input_is_named(self):
        for words, culprit in ((("--param", "lrr=0..1"), "lrr"), (("--param", "lr=log:0..1"), "lr"),
                               (("--param", "lr=0.1..0.1"), "lr"), (("--param", "augment={none,twist}"), "augment"),
                               (("--train", '{"dataset": "other"}'), "dataset"),
                               (("--train", '{"wdith": 3}'), "wdith")):
            error = self.stack.ask("tune", "demo", "--trials", 2, *words, code=1)["error"]
            self.assertIn(culprit, error["message"], words)
        for words, culprit in ((("--budget", "soon"), "soon"), (("--train", "["), "--train"), (("--trials", 0), "trials"),
                               (("--objective", "luck"), "objective")):
            error = self.stack.ask("tune", "demo", *words, code=2)["error"]
            self.assertIn(culprit, error["message"], words)
        self.assertEqual(self.stack.ask("tune", "nothing", code=3)["error"]["code"], "NOT_FOUND")


if __name__ == "__main__":
    unittest.main(verbosity=2)
