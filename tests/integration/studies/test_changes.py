"""Does a study whose space changes keep what it has, and does it say what of a change makes no sense?"""
import json
import os
import subprocess
import threading
import time
import unittest

from test_studies import PROGRAMS, Scene, loss

TRAIN = {"schema": 1, "space": ["lr=log:1e-5..1e-2=0.001"], "train": {"epochs": 3, "width": 8}, "dataset": "pets",
         "dataset_version": 1, "model": "pets", "objective": "val_loss"}


class Changes(Scene):
    def change(self, *param, study="mine", client=None):
        return (client or self.client).ask("study.change", {"study": study, "param": list(param)})

    def tried(self, count):
        for _ in range(count):
            trial = self.ask()
            self.tell(trial["trial"], value=loss(trial["params"]))

    def test_ranges_words_and_new_parameters(self):
        self.create(prune="none")
        self.tried(10)
        running = self.ask(key="running")
        before = self.view()
        changed = self.change("lr=log:1e-3..1e-2", "optimizer={sgd,lion}", "decay=0..1=0.5")
        self.assertEqual(changed["space"], ["lr=log:0.001..0.01", "width=int:8..256", "optimizer={sgd,lion}",
                                            "momentum=0.5..0.99 if optimizer=sgd", "decay=0..1=0.5"])
        view = self.view()
        self.assertEqual(view["space"], changed["space"])
        self.assertEqual((view["about"], view["trials"]), (before["about"], before["trials"]))
        self.assertEqual(self.ask(key="running"), running)
        self.tell(running["trial"], value=loss(running["params"]))
        self.tried(8)
        for trial in self.view()["trials"][11:]:
            self.assertTrue(1e-3 <= trial["params"]["lr"] <= 1e-2)
            self.assertIn(trial["params"]["optimizer"], ("sgd", "lion"))
            self.assertIn("decay", trial["params"])
        # Said twice it is one change.
        entries = self.connect(self.stack.dispatcher).ask("study.list", {})["studies"][0]["entries"]
        self.change("lr=log:1e-3..1e-2")
        self.assertEqual(self.connect(self.stack.dispatcher).ask("study.list", {})["studies"][0]["entries"], entries)

    def test_a_best_trial_outside_is_remarked_on(self):
        self.create(prune="none")
        self.tell(self.ask()["trial"], value=0.5)
        self.assertEqual(self.change("lr=log:1e-5..1e-4").get("remarks"),
                         ["the best trial so far, 1, is outside of the space"])
        self.assertEqual(self.change("lr=log:1e-5..1e-2").get("remarks", []), [])

    def test_what_makes_no_sense_changes_nothing(self):
        self.create()
        self.tried(2)
        before = self.view()
        for param, words in (("lr=2..1", "lr"), ("lr=1..1", "lr"), ("lr=log:0..1", "lr"), ("lr={a,b}", "lr"), ("lr", "lr"),
                             ("new=0..1", "new is new, and has no default"), ("lr=0..1=2", "lr"),
                             ("optimizer={adam,lion}", "momentum"), ("optimizer={adam}", "optimizer"),
                             ("momentum=0..1", "momentum"), ("x=0..1=0.5 if y=z", "x")):
            with self.subTest(param=param):
                self.refused("INVALID", words, "study.change", {"study": "mine", "param": [param, "width=int:1..9"]})
        self.refused("INVALID", "lr is there twice", "study.change", {"study": "mine", "param": ["lr=0..1", "lr=0..2"]})
        self.refused("INVALID", "param", "study.change", {"study": "mine", "param": []})
        self.refused("NOT_FOUND", "no study none", "study.change", {"study": "none", "param": ["lr=0..1"]})
        self.assertEqual(self.view(), before)

    def test_a_search_may_only_ask_for_what_a_training_takes(self):
        self.connect(self.stack.dispatcher).ask("study.open", {"study": "job-1", "about": TRAIN})
        self.tell(self.ask("job-1")["trial"], study="job-1", value=1.0)
        for param, words in (("lrr=0..1=0.5", "lrr"), ("dropout=0..2=0.2", "dropout"), ("depth=int:1..9=4", "depth"),
                             ("lr=-1..1", "lr"), ("dataset={a,b}=a", "dataset"), ("model={a,b}=a", "model"), ("twist=0..1=0 if augment=flip", "twist")):
            body = {"study": "job-1", "param": [param, *(["augment={none,flip}=none"] if " if " in param else [])]}
            self.refused("INVALID", words, "study.change", body)
        # A default that is not what trainings had is told of: from train's own, or by its declaration.
        self.assertEqual(self.change("width=int:4..16=8", study="job-1").get("remarks", []), [])
        remarks = self.change("dropout=0..0.5=0.25", study="job-1")["remarks"]
        self.assertEqual(len(remarks), 1)
        self.assertRegex(remarks[0], r"^dropout: 1 earlier trials had 0\.\d+, and count as having had 0\.25$")

    def test_two_services(self):
        self.create(prune="none")
        other = self.connect(self.second())
        self.tried(3)
        self.change("lr=log:1e-3..1e-2", client=other)
        self.assertGreaterEqual(self.ask()["params"]["lr"], 1e-3)
        self.change("lr=log:1e-5..1e-4")
        self.assertLessEqual(self.ask(client=other)["params"]["lr"], 1e-4)
        # Side by side, each change takes its place in the one log.
        threads = [threading.Thread(target=self.change, args=(f"p{n}=0..1=0",), kwargs={"client": client})
                   for n, client in enumerate((self.client, other))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual({name.split("=")[0] for name in self.view()["space"]},
                         {"lr", "width", "optimizer", "momentum", "p0", "p1"})

    def test_the_command_line(self):
        self.create(prune="none")
        self.tried(2)

        def run(*arguments, code=0):
            done = subprocess.run([os.path.join(PROGRAMS, "inkling"), "study", *arguments], capture_output=True, text=True,
                                  env={**os.environ, "INKLING_HOME": self.stack.home}, check=False)
            self.assertEqual(done.returncode, code, done.stderr)
            return done.stdout + done.stderr

        self.assertIn("decay=0..1=0.5", run("change", "mine", "--param", "lr=log:1e-4..1e-2", "--param", "decay=0..1=0.5"))
        changed = json.loads(run("change", "mine", "--param", "lr=log:1e-4..1e-2", "--json"))
        self.assertEqual(changed["space"], self.view()["space"])
        self.assertIn("decay=0..1=0.5", run("show", "mine"))
        self.assertTrue(run("export", "mine").startswith("trial,state,value,lr,width,optimizer,momentum,decay,reports,"))
        self.assertIn("needs the option --param", run("change", "mine", code=2))
        self.assertIn("lr", run("change", "mine", "--param", "lr=2..1", code=2))
        run("change", "none", "--param", "lr=0..1", code=3)


class WarmStarts(Scene):
    SPACE = ["lr=log:1e-4..1e-1", "width=int:8..256", "optimizer={adam,sgd}", "momentum=0.5..0.99 if optimizer=sgd",
             "decay=0..1=0.5"]

    def earlier(self, trials=24):
        self.create("before", prune="none")
        for _ in range(trials):
            trial = self.ask("before")
            self.tell(trial["trial"], "before", value=5 + 3 * loss(trial["params"]))

    def make(self, study="mine", **about):
        body = {"study": study, "about": {"space": self.SPACE, "warm_start": "before", **about}}
        return self.client.ask("study.create", body)

    def trials(self, study, count):
        return [self.tried(study) for _ in range(count)]

    def tried(self, study):
        trial = self.ask(study)
        self.tell(trial["trial"], study, value=loss(trial["params"]))
        return trial["params"], loss(trial["params"]), trial["why"]["kind"]

    def test_it_begins_where_the_earlier_one_was_good(self):
        self.earlier()
        self.assertEqual(self.make()["study"]["entries"], 1)
        self.assertEqual(self.make()["study"]["entries"], 1)  # said twice
        self.make("other")
        self.connect(self.stack.dispatcher).ask("study.rm", {"study": "before"})
        warm = self.trials("mine", 10)
        self.assertEqual([kind for _, _, kind in warm[:4]], ["default", "earlier", "earlier", "model"])
        self.client.ask("study.create", {"study": "cold", "about": {"space": self.SPACE}})
        cold = self.trials("cold", 10)
        self.assertLess(min(value for _, value, _ in warm[:5]), min(value for _, value, _ in cold[:5]))
        # Whoever reads the log goes on in the same way, the earlier study being gone.
        self.assertEqual(self.trials("other", 5), warm[:5])
        self.stack.kill("studies")
        self.stack.start("studies")
        self.assertEqual(self.trials("other", 5), warm[5:])

    def test_what_cannot_be_begun_with_is_named(self):
        self.refused("NOT_FOUND", "to begin with study before: there is no study before", "study.create",
                     {"study": "mine", "about": {"space": self.SPACE, "warm_start": "before"}})
        self.earlier(0)
        self.refused("INVALID", "study before has no trial that ended well", "study.create",
                     {"study": "mine", "about": {"space": self.SPACE, "warm_start": "before"}})
        self.tell(self.ask("before")["trial"], "before", value=1.0)
        for space, words in ((["lr=log:1e-4..1e-1"], "width is gone"), ([*self.SPACE[:4], "decay=0..1"], "decay is new"),
                             ([*self.SPACE[:2], "optimizer=0..1", "momentum=0..1=0"], "optimizer: words cannot")):
            self.refused("INVALID", words, "study.create", {"study": "mine", "about": {"space": space, "warm_start": "before"}})
        self.refused("INVALID", "warm_start", "study.create", {"study": "mine", "about": {"space": self.SPACE, "warm_start": 1}})
        self.refused("NOT_FOUND", "no study mine", "study.ask", {"study": "mine"})  # a wrong one is never made
        self.make()
        self.refused("CONFLICT", "mine", "study.create", {"study": "mine", "about": {"space": self.SPACE}})

    def test_kills_while_it_is_made(self):
        self.earlier()
        self.make("calm")
        calm = self.trials("calm", 6)
        # Made, but killed before its first entry was stored: as a stranger would find it.
        about = self.view("calm")["about"]
        self.connect(self.stack.dispatcher).ask("study.open", {"study": "half", "about": about})
        self.refused("CONFLICT", "unmade: the study is not made yet", "study.ask", {"study": "half"})
        self.make("half")
        self.assertEqual(self.trials("half", 6), calm)
        for n in range(6):
            thread = threading.Thread(target=self.make, args=(f"wild{n}",))
            thread.start()
            time.sleep(0.01 * n * n)
            self.stack.kill("studies")
            self.stack.start("studies")
            thread.join()
            self.make(f"wild{n}")
            self.assertEqual(self.trials(f"wild{n}", 3), calm[:3])


if __name__ == "__main__":
    unittest.main(verbosity=2)
