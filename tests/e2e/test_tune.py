"""inkling tune: a search over trainings in the same queue, the same whatever is killed in between."""

import json
import os
import re
import signal
import unittest

from stack import INKLING, PATIENCE, Stack, until
from terminal import Run

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
        cls.addClassCleanup(cls.stack.down)
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

    def watch(self, *words, columns=100, looked=lambda screen: None):
        """What was seen on a terminal, and what stands there in the end."""
        seen = []

        def look(screen):
            text = screen.text()
            if not seen or seen[-1] != text:
                seen.append(text)
            looked(screen)

        run = Run([INKLING, *map(str, words)], self.stack.environ, columns=columns)
        self.assertEqual(run.follow(look, PATIENCE), 0, run.screen.text())
        self.assertEqual([line for line in run.screen.wrapped if re.match(r"best val_loss|[█░]| +\d+  (?!done|pruned)", line)], [])
        return seen, run.screen.text()

    def test_a_terminal_has_a_table(self):
        killed = []

        def kill_once(screen):  # in the midst of it the dispatcher dies: the table goes on
            if not killed and re.search(r"[2-9] of 8 trials", screen.text()):
                killed.append(self.stack.kill("dispatcher"))

        seen, last = self.watch(*SEARCH, "--model", "watched", looked=kill_once)
        self.assertTrue(killed)
        self.assertTrue(all(len(re.findall(r"^best val_loss|^no trial has ended", text, re.M)) <= 1 for text in seen))
        self.assertTrue(any(re.search(r"^ +\d+  (?:running|queued) ", text, re.M) for text in seen), seen[-20:])
        self.assertTrue(any(re.search(r"^ +\d+  (done|stopped) ", text, re.M) for text in seen))
        self.assertTrue(any(re.search(r" [1-7] of 8 trials, about .* left", text) for text in seen))
        best = self.undisturbed["best"]
        self.assertTrue(any(f"best val_loss {best['value']:.4g}, trial {best['trial']}:" in text for text in seen), seen[-3:])
        # In the end there is the summary, as ever, and nothing of the table.
        self.assertNotRegex(last, r"(?m)^best val_loss|of 8 trials|^ +\d+  running ")
        self.assertRegex(last, r"job \S+ succeeded")
        self.assertRegex(last, rf"(?m)^ *best {best['trial']}  done ")
        self.assertNotIn("trial  trial", last)
        self.assertNotIn("checkpoint", last)

    def test_it_tells_how_far_trials_are(self):
        for epochs in (10, 40, 160, 640):  # until there is time to see it, whatever the machine's speed
            seen, _ = self.watch("tune", "demo", "--trials", 2, "--seed", 5, "--epochs", epochs, "--width", 8, "--dense", 32,
                                 "--model", f"far-{epochs}")
            if any(re.search(rf"^ +\d+  running +\d+ of {epochs} +[.\d]+  lr ", text, re.M) for text in seen):
                return
        self.fail(f"no trial was seen on its way: {seen[-5:]}")

    def test_who_begins_to_follow_later_has_the_same_table(self):
        job = self.stack.ask(*SEARCH, "--model", "followed", "--detach")["job"]
        until("three trials have ended", lambda: self.stack.ask("job", "show", job)["progress"] >= 3 / 8)
        seen, last = self.watch("job", "follow", job, columns=60)
        tables = [text for text in seen if "of 8 trials" in text]
        self.assertTrue(tables)
        self.assertGreaterEqual(max(len(re.findall(r"^ +\d+  (?:done|stopped|running|queued) ", text, re.M)) for text in tables), 4)
        self.assertRegex(last, r"job \S+ succeeded")

    def test_without_a_terminal_there_are_lines(self):
        code, out, err = self.stack.run(*SEARCH, "--model", "plain")
        self.assertEqual(code, 0, err)
        self.assertNotIn("\033", out + err)
        self.assertNotIn("\r", out + err)
        self.assertEqual(len(re.findall(r"^trial  trial \d+  state running ", err, re.M)), 8)
        self.assertIn("succeeded", out)
        # What it says of the page is so.
        command = re.search(r"`inkling (study report (job-\d+))` makes a page", out)
        page = self.stack.path("page.html")
        self.assertEqual(self.stack.ask(*command[1].split(), "--out", page), {"out": page, "trials": 8})
        with open(page, encoding="utf-8") as file:
            self.assertIn(f"<title>{command[2]} · Inkling study</title>", file.read())
        shown = self.stack.ask("study", "show", command[2], "--trial", 2)
        self.assertEqual(len(shown["curve"]["steps"]), shown["reports"])

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

    def test_a_file_says_what_to_look_for(self):
        path = self.stack.path("space.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write("# small\naugment={none,flip}  # two\nbatch=int:8..64\n")
        words = ("tune", "demo", "--trials", 30, "--space", path, "--model", "filed", *SMALL)
        result = self.stack.ask(*words, "--param", "batch=int:16..17")
        points = {tuple(sorted(trial["params"].items())) for trial in result["trials"]}
        self.assertEqual(points, {(("augment", word), ("batch", size)) for word in ("none", "flip") for size in (16, 17)})
        with open(path, "a", encoding="utf-8") as file:
            file.write("\nlr=log:0..1\n")
        self.assertIn(f"{path}, line 5: parameter lr", self.stack.ask(*words, code=2)["error"]["message"])

    def test_what_cannot_be_stopped_early_is_said(self):
        result = self.stack.ask("tune", "demo", "--trials", 1, "--model", "short", *SMALL, "--epochs", 2)
        self.assertIn("are not stopped early: no asha", self.stack.run("job", "logs", result["job"])[1])
        self.assertNotIn("early", self.stack.run("job", "logs", self.undisturbed["job"])[1])

    def test_bad_input_is_named(self):
        for words, culprit in ((("--param", "lrr=0..1"), "lrr"), (("--param", "lr=log:0..1"), "lr"),
                               (("--param", "lr=0.1..0.1"), "lr"), (("--param", "dropout=0..1.5"), "dropout"),
                               (("--param", "augment={none,twist}"), "tune: parameter augment: augment is 'twist'"),
                               (("--train", '{"dataset": "other"}'), "dataset"), (("--param", "dataset={a,b}"), "dataset"),
                               (("--train", '{"wdith": 3}'), "tune: the kind train has no parameter 'wdith'")):
            before = self.stack.ask("jobs")
            error = self.stack.ask("tune", "demo", "--trials", 2, *words, code=2)["error"]
            self.assertIn(culprit, error["message"], words)
            self.assertTrue(error["remedy"], words)
            self.assertEqual(self.stack.ask("jobs"), before)
        # A search that comes by another way checks the same by itself.
        for more, culprit in (({"param": ["lrr=0..1"]}, "lrr"), ({"param": ["augment={none,twist}"]}, "augment"),
                              ({"train": {"dataset": "other"}}, "dataset"), ({"train": {"wdith": 3}}, "wdith"),
                              ({"prune": "median", "train": {"epochs": 2}}, "prune is median")):
            error = self.stack.ask("submit", "tune", json.dumps({"dataset": "demo", **more}), code=1)["error"]
            self.assertIn(culprit, error["message"], more)
        for words, culprit in ((("--budget", "soon"), "soon"), (("--train", "["), "--train"), (("--trials", 0), "trials"),
                               (("--param", ""), "--param"), (("--param", "lr=0..1,lr=0..2"), "lr is there twice"),
                               (("--objective", "luck"), "objective")):
            error = self.stack.ask("tune", "demo", *words, code=2)["error"]
            self.assertIn(culprit, error["message"], words)
        self.assertEqual(self.stack.ask("tune", "nothing", code=3)["error"]["code"], "NOT_FOUND")


if __name__ == "__main__":
    unittest.main(verbosity=2)
