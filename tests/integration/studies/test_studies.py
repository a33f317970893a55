"""Does the studies service make every decision once, whatever is killed, and does it refuse what makes no sense?"""
import itertools
import json
import math
import os
import random
import re
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python_protocol"))

import msgpack
import zmq

import stack as stacks
from stranger import Client, Refused

PROGRAMS = os.path.abspath(sys.argv.pop(1))
SPACE = ["lr=log:1e-5..1e-1=1e-3", "width=int:8..256", "optimizer={sgd,adam}", "momentum=0.5..0.99 if optimizer=sgd"]
ABOUT = {"space": SPACE, "prune": "asha", "first": 1, "last": 4, "seed": 7}


def loss(params, step=4):
    value = math.log10(params["lr"] / 0.003) ** 2 + (params["width"] / 90 - 1) ** 2 + 1 / step
    value += params.get("decay", 0.5) / 4 - 0.125
    return value + (1 - params["momentum"] if "momentum" in params else 0)


class Scene(unittest.TestCase):
    def setUp(self):
        self.stack = stacks.Stack(PROGRAMS)
        self.addCleanup(self.stack.close)
        self.stack.start_redis()
        for name in ("dispatcher", "studies"):
            self.stack.start(name)
        for name in ("dispatcher", "studies"):
            self.stack.await_ready(name)
        self.client = self.connect()

    def connect(self, endpoint=None):
        client = Client(endpoint or self.stack.studies)
        self.addCleanup(client.close)
        return client

    def second(self):
        """Another service for the same studies."""
        endpoint = f"ipc://{self.stack.run}/second.sock"
        self.stack.start("studies-1", None, "--studies", endpoint)
        self.stack.await_ready("studies-1")
        return endpoint

    def create(self, study="mine", **about):
        return self.client.ask("study.create", {"study": study, "about": {**ABOUT, **about}})

    def ask(self, study="mine", client=None, **more):
        return (client or self.client).ask("study.ask", {"study": study, **more})

    def tell(self, trial, study="mine", client=None, **more):
        return (client or self.client).ask("study.tell", {"study": study, "trial": trial, **more})

    def view(self, study="mine", client=None, **more):
        return (client or self.client).ask("study.show", {"study": study, **more})

    def refused(self, code, words, type, body, remedy=""):
        with self.assertRaises(Refused) as caught:
            self.client.ask(type, body)
        self.assertEqual(caught.exception.code, code, caught.exception.message)
        self.assertIn(words, caught.exception.message)

    def memory_kb(self, name):
        with open(f"/proc/{self.stack.processes[name].pid}/status", encoding="ascii") as file:
            return int(next(line for line in file if line.startswith("RssAnon")).split()[1])


class WhatItSays(Scene):
    def test_a_study_finds_the_best_and_says_why(self):
        self.assertEqual(self.create()["study"]["study"], "mine")
        first = self.ask()
        self.assertEqual((first["trial"], first["state"], first["why"]["kind"]), (1, "running", "default"))
        self.assertEqual(first["params"]["lr"], 1e-3)
        self.tell(1, value=loss(first["params"]))
        for _ in range(29):
            trial = self.ask()
            self.assertEqual("momentum" in trial["params"], trial["params"]["optimizer"] == "sgd")
            self.tell(trial["trial"], value=loss(trial["params"]))
        best = self.client.ask("study.best", {"study": "mine"})
        self.assertLess(best["value"], 0.26)
        view = self.view(model=True)
        self.assertEqual((view["count"], view.get("running", 0), view["best"]), (30, 0, best["trial"]))
        self.assertEqual([trial["trial"] for trial in view["trials"]], list(range(1, 31)))
        self.assertEqual(view["about"]["space"], SPACE)
        self.assertGreater(view["importance"]["lr"]["total"], view["importance"]["optimizer"]["main"])
        modelled = [trial for trial in view["trials"] if trial["why"]["kind"] == "model"]
        self.assertTrue(all({"mean", "sd", "gain", "left", "exploring"} <= set(trial["why"]) for trial in modelled))
        part = self.view(after=28)["trials"]
        self.assertEqual(part, view["trials"][28:])
        self.assertEqual(self.view(limit=0).get("trials", []), [])
        self.assertNotIn("slices", view)
        slices = self.view(limit=0, slices=51)["slices"]
        self.assertEqual(list(slices["parameters"]), ["lr", "width", "optimizer", "momentum"])
        lr, optimizer = slices["parameters"]["lr"], slices["parameters"]["optimizer"]
        self.assertEqual({len(lr[key]) for key in ("at", "mean", "sd")}, {51})
        self.assertAlmostEqual(math.log10(lr["at"][0]), -5)
        self.assertAlmostEqual(math.log10(lr["at"][-1]), -1)
        least = lr["at"][lr["mean"].index(min(lr["mean"]))]
        self.assertTrue(1e-3 < least < 1e-2, least)
        self.assertEqual(optimizer["at"], ["sgd", "adam"])
        self.assertIn(slices["trial"], range(1, 31))
        self.assertTrue(all(isinstance(at, int) for at in slices["parameters"]["width"]["at"]))

    def test_values_are_maximised_where_that_is_wanted(self):
        self.create(direction="maximise", prune="none")
        for n in range(3):
            self.tell(self.ask()["trial"], value=float(n))
        self.assertEqual(self.client.ask("study.best", {"study": "mine"})["value"], 2.0)

    def test_pruning(self):
        self.create()
        stopped = []
        for n in range(30):
            trial = self.ask()["trial"]
            for step in range(1, 5):
                report = {"study": "mine", "trial": trial, "step": step, "value": float(n) + 1 / step}
                verdict = self.client.ask("study.report", report)
                self.assertEqual(self.client.ask("study.report", report), verdict)  # said twice
                if verdict["stop"]:
                    self.client.ask("study.prune", {"study": "mine", "trial": trial})
                    self.client.ask("study.prune", {"study": "mine", "trial": trial})
                    stopped.append(trial)
                    break
            else:
                self.tell(trial, value=float(n))
        self.assertGreater(len(stopped), 5)
        trials = self.view(curves=100)["trials"]
        states = {trial["trial"]: trial["state"] for trial in trials}
        for trial in trials:
            steps = trial["curve"]["steps"]
            self.assertEqual(steps, list(range(1, trial["reports"] + 1)))
            self.assertEqual(trial["curve"]["values"], [trial["trial"] - 1.0 + 1 / step for step in steps])
            self.assertEqual("stopped" in trial, trial["state"] == "pruned")
        for number in stopped:  # each is worse than all before it
            step, rank, of = (trials[number - 1]["stopped"][key] for key in ("step", "rank", "of"))
            self.assertEqual((step, rank), (trials[number - 1]["reports"], of))
            self.assertGreaterEqual(of, 6)
        self.assertEqual(sorted(number for number in states if states[number] == "pruned"), stopped)
        self.refused("CONFLICT", "is pruned", "study.tell", {"study": "mine", "trial": stopped[0], "value": 1.0})

    def test_long_curves_are_thinned(self):
        self.create(prune="none")
        trial = self.ask()["trial"]
        for step in [*range(2, 51), 1, *range(51, 251)]:
            self.client.ask("study.report", {"study": "mine", "trial": trial, "step": step, "value": float(step)})
        self.assertNotIn("curve", self.view()["trials"][0])
        for most in (1, 2, 7, 100):
            curve = self.view(curves=most)["trials"][0]["curve"]
            self.assertEqual(len(curve["steps"]), most)
            self.assertEqual(curve["steps"], sorted(set(curve["steps"])))
            self.assertEqual(curve["steps"], curve["values"])
            self.assertEqual(curve["steps"][-1], 250)
            self.assertEqual(curve["steps"][0], 1 if most > 1 else 250)
        self.refused("INVALID", "curves", "study.show", {"study": "mine", "curves": 101})
        self.refused("INVALID", "slices", "study.show", {"study": "mine", "slices": 52})
        self.assertNotIn("slices", self.view(slices=10))  # there is no model yet

    def test_slices_of_whole_numbers_and_constants(self):
        self.create(space=["n=int:1..3", "x=0..1", "c=7"], prune="none")
        for _ in range(8):
            trial = self.ask()
            self.tell(trial["trial"], value=trial["params"]["n"] + trial["params"]["x"])
        slices = self.view(limit=0, slices=51)["slices"]["parameters"]
        self.assertEqual((slices["n"]["at"], slices["c"]["at"]), ([1, 2, 3], [7]))
        self.assertEqual({len(part) for part in slices["n"].values()}, {3})
        self.assertEqual(len(slices["x"]["at"]), 51)

    def test_stop_and_continue(self):
        self.create()
        kept = self.ask(key="kept")
        for _ in range(2):
            self.client.ask("study.stop", {"study": "mine", "reason": "the money is gone"})
        self.refused("CONFLICT", "stopped: the study is stopped: the money is gone", "study.ask", {"study": "mine"})
        self.assertEqual(self.view()["stopped"], "the money is gone")
        self.assertEqual(self.ask(key="kept"), kept)  # what is running may end
        self.tell(kept["trial"], value=1.0)
        for _ in range(2):
            self.client.ask("study.continue", {"study": "mine"})
        self.assertEqual(self.ask()["trial"], 2)

    def test_it_is_small_when_idle(self):
        self.assertLess(self.memory_kb("studies"), 10240 if not re.search("asan|tsan", PROGRAMS) else 102400)

    def check_what_is_not_there(self):
        """A study that is not there, and a trial that is not, are not the same slip."""
        for words, message, remedy in ((("best", "mine"), "no trial", "study show"), (("best", "none"), "no study none", "study list"),
                                       (("show", "none"), "no study none", "study list"), (("rm", "none"), "no study none", "study list"),
                                       (("show", "mine", "--trial", "7"), "no trial 7", "it has 0")):
            done = subprocess.run([os.path.join(PROGRAMS, "inkling"), "study", *words, "--json"], capture_output=True, text=True,
                                  env={**os.environ, "INKLING_HOME": self.stack.home}, check=False)
            error = json.loads(done.stdout)["error"]
            self.assertEqual((done.returncode, error["code"]), (3, "NOT_FOUND"), words)
            self.assertIn(message, error["message"])
            self.assertIn(remedy, error["remedy"], words)

    def check_answers_that_find_no_room(self):
        def said(stdout, *words):
            done = subprocess.run([os.path.join(PROGRAMS, "inkling"), *words], stdout=stdout, stderr=subprocess.PIPE, text=True,
                                  env={**os.environ, "INKLING_HOME": self.stack.home}, check=False)
            return done.returncode, done.stderr

        for words in (("study", "export", "mine"), ("study", "show", "mine", "--json"), ("help",), ("study", "list")):
            with open("/dev/full", "w", encoding="utf-8") as full:
                code, error = said(full, *words)
            self.assertEqual(code, 1, words)
            self.assertRegex(error, "^inkling: standard output cannot be written.*\n  the answer is not whole", words)
            there, end = os.pipe()
            os.close(there)  # as head does
            self.assertEqual(said(end, *words), (1, ""), words)
            os.close(end)

    def check_places(self, run):
        """What is no file stays, and a link stands for the file that it names."""
        there = {name: os.path.join(self.stack.home, name) for name in ("fifo", "folder", "file", "link", "nothing")}
        os.mkfifo(there["fifo"])
        os.mkdir(there["folder"])
        os.symlink("file", there["link"])
        os.symlink("nowhere", there["nothing"])
        for verb, begin in (("export", "trial,state"), ("report", "<!doctype html>")):
            for name, code, words in (("fifo", 2, "no file"), ("folder", 2, "is a folder"), ("nothing", 3, "is a link")):
                kind = os.lstat(there[name]).st_mode
                error = json.loads(run("study", verb, "mine", "--json", "--out", there[name], code=code))["error"]
                self.assertIn(there[name], error["message"])
                self.assertIn(words, error["message"])
                self.assertIn("--out", error["remedy"])
                self.assertEqual(os.lstat(there[name]).st_mode, kind)
            with open(there["file"], "w", encoding="utf-8") as file:
                file.write("old")
            run("study", verb, "mine", "--out", there["link"])
            self.assertTrue(os.path.islink(there["link"]))
            with open(there["file"], encoding="utf-8") as file:
                self.assertTrue(file.read().lower().startswith(begin))

    def test_the_command_line(self):
        self.create()
        self.check_what_is_not_there()
        for _ in range(8):
            trial = self.ask()
            self.tell(trial["trial"], value=loss(trial["params"]))
        self.tell(self.ask()["trial"], failed='it said "no", twice')

        def run(*arguments, code=0):
            done = subprocess.run([os.path.join(PROGRAMS, "inkling"), *arguments], capture_output=True, text=True,
                                  env={**os.environ, "INKLING_HOME": self.stack.home}, check=False)
            self.assertEqual(done.returncode, code, done.stderr)
            return done.stdout

        self.assertEqual([study["study"] for study in json.loads(run("study", "list", "--json"))], ["mine"])
        self.assertRegex(run("study", "list"), r"mine +18 ")
        shown = json.loads(run("study", "show", "mine", "--json"))
        self.assertEqual(len(shown["trials"]), 9)
        self.assertIn("importance", run("study", "show", "mine"))
        best = json.loads(run("study", "best", "mine", "--json"))
        self.assertEqual(best["trial"], shown["best"])
        self.assertIn(f"trial      {best['trial']}", run("study", "best", "mine"))
        run("study", "stop", "mine", "--reason", "enough")
        self.assertEqual(self.view()["stopped"], "enough")
        run("study", "continue", "mine")
        self.assertEqual(self.view().get("stopped", ""), "")
        lines = run("study", "export", "mine").splitlines()
        self.assertEqual(len(lines), 10)
        self.assertTrue(lines[0].startswith("trial,state,value,lr,width,optimizer,momentum,reports,kind,"))
        self.assertTrue(lines[9].endswith(',"it said ""no"", twice"'), lines[9])
        path = os.path.join(self.stack.home, "study.json")
        run("study", "export", "mine", "--format", "json", "--out", path)
        with open(path, encoding="utf-8") as file:
            self.assertEqual([trial["trial"] for trial in json.load(file)["trials"]], list(range(1, 10)))
        run("study", "export", "mine", "--format", "xml", code=2)
        self.check_places(run)
        self.check_answers_that_find_no_room()
        run("study", "rm", "mine")
        run("study", "show", "mine", code=3)
        self.refused("NOT_FOUND", "there is no study mine", "study.ask", {"study": "mine"})


class WhatItRefuses(Scene):
    def test_studies_that_make_no_sense(self):
        for about, words in (({}, "space"), ({"space": []}, "space"), ({"space": "lr=0..1"}, "space"),
                             ({"space": [5]}, "space"), ({"space": ["lr"]}, "lr"), ({"space": ["lr=log:0..1"]}, "lr"),
                             ({"space": ["lr=log:-1..1"]}, "lr"), ({"space": ["lr=1..1"]}, "lr"),
                             ({"space": ["lr=2..1"]}, "lr"), ({"space": ["lr=0..nan"]}, "lr"),
                             ({"space": ["lr=0..inf"]}, "lr"), ({"space": ["n=int:3..3"]}, "n"),
                             ({"space": ["o={}"]}, "o"), ({"space": ["a=0..1", "a=0..1"]}, "a"),
                             ({"space": ["a=0..1=2"]}, "a"), ({"space": ["m=0..1 if o=x"]}, "m"),
                             ({"space": ["o={x,y}", "m=0..1 if o=z"]}, "m"),
                             ({"space": ["a={x,y} if b=x", "b={x,y} if a=x"]}, "a"),
                             ({"space": [f"p{i}=0..1" for i in range(40)]}, "space"),
                             ({"space": ["a=0..1"], "direction": "up"}, "direction"),
                             ({"space": ["a=0..1"], "strategy": "luck"}, "strategy"),
                             ({"space": ["a=0..1"], "seed": -1}, "seed"), ({"space": ["a=0..1"], "seed": "x"}, "seed"),
                             ({"space": ["a=0..1"], "trials": 1000000}, "trials"),
                             ({"space": ["a=0..1"], "trials": 0.5}, "trials"), ({"space": ["a=0..1"], "prune": "asha"}, "last"),
                             ({"space": ["a=0..1"], "prune": "median", "first": 4, "last": 4}, "first"),
                             ({"space": ["a=0..1"], "tolerance": math.nan}, "tolerance"),
                             ({"space": ["a=0..1"], "noiseless": 1}, "noiseless"),
                             ({"space": ["a=0..1"], "prune": "hard"}, "prune"),
                             ({"space": ["a=0..1"], "prune": "asha", "first": 0}, "first"),
                             ({"space": ["a=0..1"], "direciton": "maximise"}, "direciton"),
                             ({"space": ["a=0..1"], "schema": 9}, "schema")):
            with self.subTest(about=about):
                self.refused("INVALID", words, "study.create", {"study": "bad", "about": about})
        self.refused("INVALID", "study", "study.create", {"study": "../bad", "about": ABOUT})
        self.refused("NOT_FOUND", "no study bad", "study.ask", {"study": "bad"})

    def test_another_study_of_that_name(self):
        self.create()
        self.assertEqual(self.create()["study"].get("entries", 0), 0)
        turned = dict(reversed(list(ABOUT.items())))
        self.client.ask("study.create", {"study": "mine", "about": turned})  # the same, in another order
        self.refused("CONFLICT", "mine", "study.create", {"study": "mine", "about": {**ABOUT, "seed": 8}})

    def test_ends_of_trials(self):
        self.create()
        for type, more in (("study.ask", {}), ("study.tell", {"trial": 1, "value": 1.0}), ("study.prune", {"trial": 1}),
                           ("study.report", {"trial": 1, "step": 1, "value": 1.0}), ("study.best", {}),
                           ("study.show", {}), ("study.stop", {}), ("study.continue", {})):
            self.refused("NOT_FOUND", "no study none", type, {"study": "none", **more})
        self.refused("NOT_FOUND", "no trial", "study.best", {"study": "mine"})
        self.refused("NOT_FOUND", "no trial 1", "study.tell", {"study": "mine", "trial": 1, "value": 1.0})
        trial = {"study": "mine", "trial": self.ask()["trial"]}
        for value in (math.nan, math.inf, -math.inf, 1e300, "1", None):
            self.refused("INVALID", "value", "study.tell", {**trial, "value": value})
            self.refused("INVALID", "value", "study.report", {**trial, "step": 1, "value": value})
        self.refused("INVALID", "value and failed", "study.tell", {**trial, "value": 1.0, "failed": "no"})
        self.refused("INVALID", "step", "study.report", {**trial, "step": 0, "value": 1.0})
        self.refused("CONFLICT", "reported no value", "study.prune", trial)
        self.tell(1, value=0.0)
        self.tell(1, value=0.0)
        self.refused("CONFLICT", "it is done", "study.tell", {**trial, "value": 0.5})
        self.refused("CONFLICT", "it is done", "study.tell", {**trial, "failed": "after all"})
        self.refused("CONFLICT", "it is done", "study.report", {**trial, "step": 9, "value": 0.5})
        self.refused("CONFLICT", "it is done", "study.prune", trial)
        failed = self.ask()["trial"]
        self.tell(failed, failed="out of memory")
        self.tell(failed, failed="another word for it")
        self.refused("CONFLICT", "it is failed", "study.tell", {"study": "mine", "trial": failed, "value": 0.5})
        shown = self.view()["trials"]
        self.assertEqual((shown[0]["value"], shown[1]["reason"]), (0.0, "out of memory"))
        self.assertNotIn("value", shown[1])
        self.refused("INVALID", "key", "study.ask", {"study": "mine", "key": "k" * 129})

    def test_the_error_of_no_number_names_the_way_out(self):
        self.create()
        self.client.last_id += 1
        trial = {"study": "mine", "trial": self.ask()["trial"], "value": math.nan}
        header = {"v": 1, "type": "study.tell", "id": 4711}
        self.client.socket.send_multipart([msgpack.packb(header), msgpack.packb(trial)])
        self.assertTrue(self.client.socket.poll(10000))
        self.assertIn("`failed`", msgpack.unpackb(self.client.socket.recv_multipart()[1])["remedy"])

    def test_no_more_to_try(self):
        self.create("small", space=["a={x,y}", "b=int:1..2"], noiseless=True, prune="none")
        seen = set()
        for _ in range(4):
            trial = self.ask("small")
            seen.add(tuple(trial["params"].items()))
            self.tell(trial["trial"], "small", value=trial["params"]["b"])
        self.assertEqual(len(seen), 4)
        self.refused("NOT_FOUND", "exhausted: ", "study.ask", {"study": "small"})
        self.create("three", trials=3)
        last = [self.ask("three", key=str(n)) for n in range(3)][-1]
        self.refused("CONFLICT", "full: ", "study.ask", {"study": "three"})
        self.assertEqual(self.ask("three", key="2"), last)

    def test_every_trial_fails(self):
        self.create()
        for _ in range(25):
            self.tell(self.ask()["trial"], failed="always")
        self.assertEqual(len({json.dumps(trial["params"]) for trial in self.view()["trials"]}), 25)
        self.refused("NOT_FOUND", "no trial", "study.best", {"study": "mine"})
        self.tell(self.ask()["trial"], value=1.0)
        self.assertEqual(self.client.ask("study.best", {"study": "mine"})["trial"], 26)

    def test_messages_of_others(self):
        self.refused("UNSUPPORTED", "job.list", "job.list", {})
        self.assertEqual(self.client.ask("ping", {})["service"], "studies")


class Script:
    """Some trials side by side, in an order that depends on nothing but a seed; the space changes on the way."""

    CHANGES = {12: ["lr=log:1e-3..1e-2"], 22: ["decay=0..1=0.5", "optimizer={sgd,adam,lion}"]}

    def __init__(self, scene, client, study, looks=False, trials=32, pace=lambda asked: None):
        self.scene, self.client, self.study, self.looks, self.trials = scene, client, study, looks, trials
        self.pace = pace  # called before each ask

    def run(self):
        dice, running, asked = random.Random(5), [], 0
        while asked < self.trials or running:
            if asked < self.trials and len(running) < 4:
                self.pace(asked)
                if asked in self.CHANGES:
                    self.client.ask("study.change", {"study": self.study, "param": self.CHANGES[asked]})
                running.append(self.client.ask("study.ask", {"study": self.study, "key": f"key {asked}"}))
                asked += 1
                continue
            if self.looks and random.random() < 0.2:
                self.scene.view(self.study, self.client, model=True)  # whoever looks changes nothing
            trial = running.pop(dice.randrange(len(running)))
            which = {"study": self.study, "trial": trial["trial"]}
            if dice.random() < 0.1:
                self.client.ask("study.tell", {**which, "failed": "by chance"})
                continue
            stop = False
            for step in range(1, 5):
                value = loss(trial["params"], step)
                stop = self.client.ask("study.report", {**which, "step": step, "value": value})["stop"]
                if stop:
                    self.client.ask("study.prune", which)
                    break
            if not stop:
                self.client.ask("study.tell", {**which, "value": value})
        view = self.scene.view(self.study, model=True)
        return view["trials"], view["best"], view["importance"], view.get("settled", False)


class WhatItSurvives(Scene):
    def test_kills_change_nothing(self):
        self.create("calm")
        calm = Script(self, self.client, "calm").run()
        self.assertGreater(sum(trial["state"] == "pruned" for trial in calm[0]), 0)
        lrs = [trial["params"]["lr"] for trial in calm[0]]
        self.assertTrue(min(lrs[:12]) < 1e-3 and min(lrs[12:]) >= 1e-3)
        self.assertEqual(["decay" in trial["params"] for trial in calm[0]], 22 * [False] + 10 * [True])
        self.create("wild")
        done, killed, result = threading.Event(), threading.Condition(), []
        kills = 0

        def pace(asked):  # however fast the machine is, there is a kill for every two trials
            with killed:
                killed.wait_for(lambda: kills >= asked // 2, timeout=120)

        def play():
            try:
                result.append(Script(self, self.connect(), "wild", looks=True, pace=pace).run())
            finally:
                done.set()

        thread = threading.Thread(target=play)
        thread.start()
        dice = random.Random(11)
        while not done.is_set() and kills < 40:
            time.sleep(dice.uniform(0.02, 0.25))
            name = dice.choice(("studies", "studies", "studies", "dispatcher", "redis"))
            self.stack.kill(name)
            if name == "redis":
                self.stack.start_redis()
            else:
                self.stack.start(name)
            with killed:
                kills += 1
                killed.notify_all()
        thread.join(300)
        self.assertGreater(kills, 10)
        self.assertEqual(result[0], calm)

    def test_two_services_of_one_study(self):
        self.create()
        endpoints = (self.stack.studies, self.second())
        same, lock, failures = {}, threading.Lock(), []

        def play(number):
            client = Client(endpoints[number % 2])
            try:
                for n in range(10):
                    keyed = n % 2 == 0
                    trial = self.ask(client=client, **({"key": f"{number // 2}-{n}"} if keyed else {}))
                    who = (number // 2, n) if keyed else (number, n, "alone")
                    with lock:
                        other = same.setdefault(trial["trial"], (who, trial["params"]))
                    if other != (who, trial["params"]):
                        failures.append((other, who, trial))
                    self.tell(trial["trial"], client=client, value=loss(trial["params"]))
            except Exception as error:  # pylint: disable=broad-except
                failures.append(error)
            finally:
                client.close()

        threads = [threading.Thread(target=play, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        self.assertEqual(failures, [])
        views = [self.view(client=self.connect(endpoint), model=True) for endpoint in endpoints]
        self.assertEqual(views[0], views[1])
        self.assertEqual(views[0]["count"], len(same))
        self.assertEqual(len(same), 2 * 5 + 4 * 5)  # what has a key is one trial for both who ask
        self.assertTrue(all(trial["state"] == "done" for trial in views[0]["trials"]))

    def test_what_one_service_does_the_other_knows(self):
        self.create()
        other = self.connect(self.second())
        trial = self.ask()["trial"]
        self.tell(trial, client=other, value=1.0)
        self.assertEqual(self.view()["trials"][0]["value"], 1.0)
        self.assertEqual(self.client.ask("study.best", {"study": "mine"})["trial"], trial)
        self.assertEqual(self.ask(client=other)["trial"], 2)
        dispatcher = self.connect(self.stack.dispatcher)
        dispatcher.ask("study.rm", {"study": "mine"})
        self.refused("NOT_FOUND", "no study mine", "study.show", {"study": "mine"})
        self.create(seed=3)
        self.assertEqual(self.ask(client=other)["trial"], 1)
        self.assertEqual(self.ask()["trial"], 2)

    def test_without_a_dispatcher_requests_wait_and_are_bounded(self):
        self.create()
        self.tell(self.ask()["trial"], value=1.0)
        self.stack.kill("dispatcher")
        socket = zmq.Context.instance().socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.connect(self.stack.studies)
        self.addCleanup(socket.close)
        codes, count = {}, 1500
        for n in range(count):
            header = {"v": 1, "type": "study.ask", "id": n + 1, "deadline_ms": 4000 if n < count - 1 else 0}
            socket.send_multipart([msgpack.packb(header), msgpack.packb({"study": "mine", "key": "the same"})])
            while socket.poll(0):
                self.count_code(socket, codes)
        end = time.monotonic() + 20
        while sum(codes.values()) < count - 1 and time.monotonic() < end:
            if socket.poll(500):
                self.count_code(socket, codes)
        self.assertGreater(codes.get("FULL", 0), 100)
        self.assertGreater(codes.get("UNAVAILABLE", 0), 100)
        self.stack.start("dispatcher")
        self.assertEqual(self.ask(key="the same")["trial"], 2)
        self.assertEqual(self.view()["count"], 2)

    @staticmethod
    def count_code(socket, codes):
        header, body = map(msgpack.unpackb, socket.recv_multipart()[:2])
        code = body["code"] if header["type"] == "error" else "OK"
        codes[code] = codes.get(code, 0) + 1

    def test_a_waiting_request_is_answered_when_the_dispatcher_comes_back(self):
        self.create()
        self.stack.kill("dispatcher")
        answers = []
        thread = threading.Thread(target=lambda: answers.append(self.connect().once(
            "study.ask", {"study": "mine"}, wait_ms=30000)))
        thread.start()
        time.sleep(1.5)
        self.assertEqual(answers, [])
        self.stack.start("dispatcher")
        thread.join(40)
        self.assertEqual(answers[0]["trial"], 1)

    def test_a_long_log_is_read_soon(self):
        self.create(prune="none", start=10000)
        dispatcher, at, dice = self.connect(self.stack.dispatcher), 0, random.Random(1)
        for part in range(10):
            entries = []
            for n in range(part * 500 + 1, part * 500 + 501):
                params = {"lr": 10 ** dice.uniform(-4.9, -1.1), "width": dice.randrange(8, 257), "optimizer": "adam"}
                entries.append({"data": {"do": "ask", "trial": n, "params": params, "key": "", "why": {"kind": "start"}}})
                entries.append({"data": {"do": "tell", "trial": n, "value": loss(params)}})
            at = dispatcher.ask("study.append", {"study": "mine", "at": at, "entries": entries})["entries"]
        self.assertEqual(at, 10000)
        before = time.monotonic()
        view = self.view(limit=0)
        taken = time.monotonic() - before
        print(f"10000 entries are read in {taken:.2f} s, {self.memory_kb('studies')} kB")
        self.assertEqual(view["count"], 5000)
        self.assertLess(taken, 20 if re.search("asan|tsan", PROGRAMS) else 2)
        self.assertEqual(len(self.view(after=4990)["trials"]), 10)
        self.assertEqual(self.ask()["trial"], 5001)


if __name__ == "__main__":
    unittest.main(verbosity=2)
