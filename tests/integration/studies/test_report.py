"""Do the commands that look back on a study say what was so, does the page of `inkling study report` show all of a study, need nothing besides, and do nothing that a name says?"""
import json
import math
import os
import re
import shutil
import subprocess
import sys
import unittest

import browser
from test_studies import PROGRAMS, Scene

EVIL = "</script><img src=x onerror=\"document.title='owned'\"><!-- &lt;"
SPACE = ["lr=log:1e-5..1e-1=1e-3", "width=int:8..256", "optimizer={sgd,adam}", "momentum=0.5..0.99 if optimizer=sgd",
         "dropout=0..0.6", "epochs=9"]


def loss(params, step):
    value = math.log10(params["lr"] / 0.003) ** 2 + (params["width"] / 90 - 1) ** 2 + params["dropout"] + 3 / step
    return value + (1 - params["momentum"] if "momentum" in params else 0)


class Report(Scene):
    def play(self, study="mine", trials=40, running=2, **about):
        self.client.ask("study.create", {"study": study, "about": {
            "space": SPACE, "prune": "asha", "last": 9, "seed": 3, "note": {"text": EVIL}, **about}})
        for n in range(trials):
            trial = self.ask(study, key=f"{EVIL}{n}")
            which = {"study": study, "trial": trial["trial"]}
            if n % 11 == 10:
                self.tell(trial["trial"], study, failed=EVIL)
                continue
            for step in range(1, 10):
                value = loss(trial["params"], step)
                if self.client.ask("study.report", {**which, "step": step, "value": value})["stop"]:
                    self.client.ask("study.prune", which)
                    break
                if n >= trials - running and step == 3:
                    break
            else:
                self.tell(trial["trial"], study, value=value)

    def run_cli(self, *arguments, code=0):
        done = subprocess.run([os.path.join(PROGRAMS, "inkling"), *arguments], capture_output=True, text=True, check=False,
                              cwd=self.stack.home, env={**os.environ, "INKLING_HOME": self.stack.home})
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout

    def report(self, study="mine"):
        path = os.path.join(self.stack.home, study + ".html")
        self.run_cli("study", "report", study, "--out", path)
        with open(path, encoding="utf-8") as file:
            return path, file.read()


def embedded(page):
    return json.loads(re.search(r'<script type="application/json" id="study">(.*?)</script>', page, re.S).group(1))


class WithoutABrowser(Report):
    def test_the_page_has_all_of_the_study_and_needs_nothing_besides(self):
        self.play()
        _, page = self.report()
        exported = os.path.join(self.stack.home, "mine.json")
        self.run_cli("study", "export", "mine", "--format", "json", "--out", exported)
        with open(exported, encoding="utf-8") as file:
            export = json.load(file)
        self.assertEqual(embedded(page), export)
        self.assertEqual({trial["state"] for trial in export["trials"]}, {"done", "pruned", "failed", "running"})
        self.assertEqual(len(export["slices"]["parameters"]["lr"]["at"]), 51)
        for part in ("head", "history", "curves", "importance", "slices", "parallel", "trials"):
            self.assertEqual(page.count(f'id="{part}"'), 1, part)
        self.assertNotIn("{{", re.sub(r"\$\{\{", "", page.split('id="study"')[0]))
        self.assertEqual(set(re.findall(r'https?://[^"\s]*', page)), {"http://www.w3.org/2000/svg"})
        self.assertEqual(re.findall(r"<(?:img|iframe|object|embed|base)\b|@import|\bsrc=|url\((?!#)", page.split("<body>")[0]), [])
        self.assertEqual(len(re.findall(r"<script\b", page)), 2)
        self.assertIn("default-src 'none'", page)

    def test_no_text_of_a_user_ends_a_script_or_begins_an_element(self):
        self.play()
        _, page = self.report()
        self.assertIn(EVIL, [trial["reason"] for trial in embedded(page)["trials"]])
        self.assertEqual(embedded(page)["about"]["note"]["text"], EVIL)
        self.assertNotIn("onerror=\"document", page)
        self.assertEqual(page.count("</script>"), 2)
        self.assertEqual(page.count("<img"), 0)

    def test_where_it_goes(self):
        self.create("small")
        self.assertEqual(json.loads(self.run_cli("study", "report", "small", "--json")), {"out": "small.html", "trials": 0})
        with open(os.path.join(self.stack.home, "small.html"), encoding="utf-8") as file:
            self.assertEqual(embedded(file.read())["trials"], [])
        self.assertIn("other.html shows the study small", self.run_cli("study", "report", "small", "--out", "other.html"))
        self.run_cli("study", "report", "none", code=3)
        self.run_cli("study", "report", "small", "--out", "/nowhere/x.html", code=3)


# Texts whose contrast with the ground is below what people with weak eyes need (WCAG 2.1, AA).
FAINT = """(() => {
  const luminance = (text) => text.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
    .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = luminance(getComputedStyle(document.body).backgroundColor), faint = new Set();
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode.parentElement, style = getComputedStyle(node);
    if (!texts.currentNode.data.trim() || node.closest("script, noscript, [hidden]")) continue;
    const own = luminance(node instanceof SVGElement ? style.fill : style.color);
    if ((Math.max(own, ground) + 0.05) / (Math.min(own, ground) + 0.05) < 4.5) faint.add(texts.currentNode.data);
  }
  return [...faint];
})()"""


class OnTheCommandLine(Report):
    def document(self, *arguments):
        return json.loads(self.run_cli(*arguments, "--json"))

    def test_one_trial(self):
        self.play()
        trials = self.view(curves=100)["trials"]
        pruned = next(trial for trial in trials if trial["state"] == "pruned")
        text = self.run_cli("study", "show", "mine", "--trial", str(pruned["trial"]))
        stop = pruned["stopped"]
        self.assertIn(f"at step {stop['step']}, rank {stop['rank']} of the {stop['of']} that had come there: the best 1 in 3 go on", text)
        self.assertIn("a guess of where it was going", text)
        failed = next(trial for trial in trials if trial["state"] == "failed")
        self.assertIn(EVIL, self.run_cli("study", "show", "mine", "--trial", str(failed["trial"])))
        done = next(trial for trial in trials if trial["state"] == "done" and trial["why"]["kind"] == "model")
        text, why = self.run_cli("study", "show", "mine", "--trial", str(done["trial"])), done["why"]
        self.assertIn("exploring, where" if why["exploring"] else "exploiting what", text)
        self.assertRegex(text, rf"expected +{re.escape('%.4g' % why['mean'])} ± {re.escape('%.4g' % why['sd'])}\n")
        self.assertRegex(text, rf"expected improvement +{re.escape('%.4g' % why['gain'])} on")
        self.assertRegex(text, r"turned out +\S+ (less|more) than expected")
        self.assertRegex(text, r"reported +9 steps; the last ones 4: ")
        shown = self.document("study", "show", "mine", "--trial", str(done["trial"]))
        self.assertEqual((shown["trial"], len(shown["curve"]["values"])), (done["trial"], 9))
        self.assertIn("before there was a model", self.run_cli("study", "show", "mine", "--trial", "2"))
        self.run_cli("study", "show", "mine", "--trial", "41", code=3)
        self.run_cli("study", "show", "mine", "--trial", "0", code=2)
        left = [trial["why"]["left"] for trial in trials if "left" in trial["why"]][-1]
        self.assertRegex(self.run_cli("study", "show", "mine"), rf"left to gain +at most {re.escape('%.4g' % left)}, .* proposed trial 40:")

    def test_importance(self):
        self.create("young")
        self.assertIn("no model yet", self.refused_cli("study", "importance", "young", code=3))
        self.play()
        found = self.document("study", "importance", "mine")
        states = [trial["state"] for trial in self.view()["trials"]]
        for state in ("done", "pruned", "failed", "running", "forgotten"):
            self.assertEqual(found["trials"][state], states.count(state))
        ended = sum(found["trials"][state] for state in ("done", "pruned", "failed"))
        self.assertEqual(found["rests"], ended)
        self.assertEqual(found["importance"].keys(), {"lr", "width", "optimizer", "momentum", "dropout", "epochs"})
        text = self.run_cli("study", "importance", "mine")
        self.assertIn(f"It rests on {ended} trials: {states.count('done')} that ran to their end; {states.count('pruned')} stopped", text)
        self.assertRegex(text, rf"lr +{100 * found['importance']['lr']['main']:.0f} % ")

    def refused_cli(self, *arguments, code):
        done = subprocess.run([os.path.join(PROGRAMS, "inkling"), *arguments], capture_output=True, text=True, check=False,
                              env={**os.environ, "INKLING_HOME": self.stack.home})
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr

    def test_compare(self):
        self.play("long", 30)
        self.play("short", 12, seed=8)
        self.create("empty")
        found = self.document("study", "compare", "long", "short", "empty")
        self.assertEqual(found["at"], [1, 2, 5, 10, 12, 20, 30])
        for study, count in zip(found["studies"], (30, 12, 0)):
            view = self.view(study["study"])
            self.assertEqual(sum(study["trials"].values()), count)
            courses = [[trial["value"] for trial in view.get("trials", [])[:at] if trial["state"] == "done"]
                       for at in found["at"] if at <= count]
            self.assertEqual(len(study["best_so_far"]), len(courses))
            for is_best, values in zip(study["best_so_far"], courses):
                if values:
                    self.assertAlmostEqual(is_best, min(values), places=8)
                else:
                    self.assertIsNone(is_best)
        text = self.run_cli("study", "compare", "long", "short", "empty")
        self.assertRegex(text, r"trials +30 +12 +0\n")
        self.assertRegex(text, r"\n +20 +\S+ +- +-\n")
        self.assertRegex(text, r"\nlr +(log:1e-0?5\.\.\S+ +){2}log:1e-0?5\.\.\S+\n")
        self.assertRegex(text, r"\nmomentum +0\.5\.\.0\.99 if optimizer=sgd ")
        self.run_cli("study", "compare", "long", code=2)
        self.run_cli("study", "compare", "long", "none", code=3)
        self.create("up", direction="maximise")
        self.assertIn("up maximises, long minimises", self.refused_cli("study", "compare", "long", "up", code=0))


@unittest.skipUnless(shutil.which("node"), "NOT TESTED: there is no Node.js here")
class WithNode(unittest.TestCase):
    """The page's scales by themselves."""

    def scales(self, pairs, log=False, most=6):
        """Of each pair of ends: what the scale's ends become, where these lie, and where its ticks are."""
        folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "services", "cli", "report")
        with open(os.path.join(folder, "base.js"), encoding="utf-8") as file:
            base = file.read()
        script = f"""const document = {{ getElementById: () => ({{ textContent: "{{}}" }}) }};
{base}
console.log(JSON.stringify({json.dumps(pairs)}.map(([lo, hi]) => {{
  const scale = scaleOf(lo, hi, {{ log: {json.dumps(log)} }});
  return [scale.lo, scale.hi, scale.at(lo), scale.at(hi), scale.ticks({most}).map((tick) => tick.at)];
}})));"""
        return json.loads(subprocess.run(["node", "-"], input=script, capture_output=True, text=True, check=True, timeout=60).stdout)

    def test_values_that_are_all_but_the_same_have_an_axis(self):
        near = [(x, math.nextafter(x, math.inf)) for x in (0.1, 1 / 3, 1.0, 12345.678, 2.0**53, 1e300, -0.7, -(2.0**60))]
        near += [(0.25, 0.25), (0.0, 5e-324), (0.0, 0.0), (0.3, 0.3 + 4e-16), (0.3, 0.3 + 1e-12)]
        for pair, (lo, hi, at_lo, at_hi, ticks) in zip(near, self.scales(near)):
            self.assertLess(lo, hi, pair)
            self.assertAlmostEqual(at_lo, 0.5 if pair != (0.0, 5e-324) else 0, 3, pair)
            self.assertLessEqual(at_lo, at_hi, pair)
            self.assertLessEqual(len(ticks), 7, pair)
        positive = [(lo, hi) for lo, hi in near if lo > 0]
        for pair, (lo, hi, *_, ticks) in zip(positive, self.scales(positive, log=True)):
            self.assertLess(lo, hi, pair)
            self.assertLessEqual(len(ticks), 7, pair)

    def test_ticks_are_round_within_the_axis_and_not_too_many(self):
        self.assertEqual([round(at, 9) for at in self.scales([(0, 1)])[0][4]], [0, 0.2, 0.4, 0.6, 0.8, 1])
        pairs = [(0, 6), (-3, 3), (0.1, 0.97), (1e-9, 1.5e-9), (0.3, 0.3 + 1e-9), (-1e17, 1e17), (-1e308, 1e308), (1e16, 1e16 + 64)]
        for pair, (*_, ticks) in zip(pairs, self.scales(pairs)):
            self.assertLessEqual(len(ticks), 7, pair)
            self.assertTrue(all(-1e-3 <= at <= 1 + 1e-3 for at in ticks), (pair, ticks))


@unittest.skipUnless(browser.find(), "NOT TESTED: there is no Chromium here")
class InABrowser(Report):
    def look(self, path, **more):
        page = browser.Browser(browser.find(), **more)
        self.addCleanup(page.close)
        page.open(path)
        self.assertEqual(page.complaints(), [])
        self.assertEqual(page.requests(), [f"file://{path}"])
        return page

    def test_what_it_shows(self):
        self.play()
        path, html = self.report()
        trials = embedded(html)["trials"]
        page = self.look(path)
        self.assertEqual(page.evaluate("document.title"), "mine · Inkling study")
        self.assertEqual(page.evaluate("document.images.length"), 0)
        self.assertEqual(page.evaluate("document.querySelectorAll('main svg[role=img]').length"), 2 + 5 + 1)
        rows = page.evaluate("[...document.querySelectorAll('tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))")
        self.assertEqual([(int(row[0]), row[1]) for row in rows], [(trial["trial"], trial["state"]) for trial in trials])
        self.assertTrue(any(EVIL in cell for row in rows for cell in row))
        self.assertTrue(any(re.search(r"(explor|exploit)ing: .* ± .*, EI ", cell) for row in rows for cell in row))
        self.assertTrue(any(re.fullmatch(r"stopped at step \d+: rank \d+ of \d+", cell) for row in rows for cell in row))
        curves = sum(len(trial["curve"]["steps"]) > 0 for trial in trials)
        self.assertEqual(page.evaluate("document.querySelectorAll('#curves svg[role=img] .line').length"), curves)
        lines = page.evaluate("document.querySelectorAll('#parallel svg[role=img] .line, #parallel svg[role=img] .q').length")
        self.assertEqual(lines, len(trials))
        failed = page.evaluate("document.querySelector('#history svg[role=img] .mark.failed').getAttribute('d').split('M').length - 1")
        self.assertEqual(failed, sum(trial["state"] == "failed" for trial in trials))

    def test_a_click_sorts_and_a_pointer_tells(self):
        self.play()
        path, html = self.report()
        page = self.look(path)
        values = sorted(trial["value"] for trial in embedded(html)["trials"] if trial["value"] is not None)
        first = "document.querySelector('tbody tr td.value').textContent"
        page.evaluate("[...document.querySelectorAll('th button')].find(b => b.textContent == 'value').click()")
        self.assertAlmostEqual(float(page.evaluate(first)), values[0], places=3)
        page.evaluate("[...document.querySelectorAll('th button')].find(b => b.textContent == 'value').click()")
        self.assertAlmostEqual(float(page.evaluate(first)), values[-1], places=2)
        self.assertEqual(page.evaluate("document.querySelectorAll('th[aria-sort=descending]').length"), 1)
        spot = page.evaluate("(() => { const path = document.querySelector('#history svg[role=img] .mark.best');"
                             "path.scrollIntoView({block: 'center', behavior: 'instant'}); const box = path.getBoundingClientRect();"
                             "return [box.x + box.width / 2, box.y + box.height / 2]; })()")
        page.call("Input.dispatchMouseEvent", type="mouseMoved", x=spot[0], y=spot[1])
        best = embedded(html)["best"]
        self.assertIn(f"Trial {best} ", page.evaluate("document.getElementById('tip').textContent"))
        self.assertEqual(page.evaluate("document.querySelector('.lit-row').cells[0].textContent"), str(best))
        self.assertEqual(page.complaints(), [])

    def test_a_study_whose_space_has_changed(self):
        self.play(trials=25)
        self.client.ask("study.change", {"study": "mine", "param": ["lr=log:1e-3..1e-2", "optimizer={sgd,adam,lamb}",
                                                                     "clip=0..5=1"]})
        for _ in range(12):
            trial = self.ask()
            self.tell(trial["trial"], value=loss(trial["params"], 9))
        path, html = self.report()
        page = self.look(path)
        drawn = "[...document.querySelectorAll('#slices h3')].map(node => node.textContent)"
        self.assertEqual(set(page.evaluate(drawn)), {"lr", "width", "optimizer", "momentum", "dropout", "clip"})
        heads = page.evaluate("[...document.querySelectorAll('th')].map(node => node.textContent)")
        self.assertIn("clip", heads)
        cells = page.evaluate(f"[...document.querySelectorAll('tbody tr')].map(row => row.cells[{heads.index('clip')}].textContent)")
        given = [trial["params"].get("clip") for trial in embedded(html)["trials"]]
        self.assertEqual([cell == "–" for cell in cells], [value is None for value in given])
        self.assertEqual(given[:25], [None] * 25)

    def test_light_dark_narrow_and_empty(self):
        self.play(direction="maximise", prune="median")
        path, _ = self.report()
        grounds = []
        for dark, width in ((False, 1280), (True, 1280), (True, 360)):
            page = self.look(path, dark=dark, width=width)
            self.assertEqual(page.evaluate(FAINT), [])
            grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
            self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), width)
        self.assertNotEqual(grounds[0], grounds[1])
        self.assertEqual(grounds[1], grounds[2])
        self.create("empty")
        page = self.look(self.report("empty")[0])
        self.assertIn("No trial has ended well yet", page.evaluate("document.body.textContent"))


class Large(Report):
    def test_a_thousand_trials_of_thirty_steps_and_32_parameters(self):
        names = [f"parameter_{n}" for n in range(32)]
        self.client.ask("study.create", {"study": "big", "about": {
            "space": [f"{name}=log:1e-5..1e-1" if n % 2 else f"{name}=0..1" for n, name in enumerate(names)],
            "start": 10000}})
        dispatcher, at, entries = self.connect(self.stack.dispatcher), 0, []
        for trial in range(1, 1001):
            unit = [(trial * (0.5 + 0.618 * (n + 1))) % 1 for n in range(32)]
            params = {name: 10 ** (-4.99 + 3.9 * unit[n]) if n % 2 else unit[n] for n, name in enumerate(names)}
            value = (unit[0] - 0.3) ** 2 + unit[1]
            entries.append({"do": "ask", "trial": trial, "params": params, "key": "", "why": {"kind": "start"}})
            entries.extend({"do": "report", "trial": trial, "step": step, "value": value + 1 / step, "stop": False}
                           for step in range(1, 31))
            entries.append({"do": "tell", "trial": trial, "value": value})
            if len(entries) > 900 or trial == 1000:
                at = dispatcher.ask("study.append", {"study": "big", "at": at, "entries": [
                    {"data": entry} for entry in entries]})["entries"]
                entries = []
        self.assertEqual(self.view("big", limit=0)["count"], 1000)  # it is read
        path, html = self.report("big")
        print(f"a page of {len(html) / 1e6:.1f} MB")
        self.assertLess(os.path.getsize(path), 10e6)
        self.assertEqual(sum(len(trial["curve"]["steps"]) for trial in embedded(html)["trials"]), 30000)
        if not browser.find():
            return
        page = browser.Browser(browser.find())
        self.addCleanup(page.close)
        taken = page.open(path)
        print(f"it is there after {taken:.1f} s")
        self.assertLess(taken, 20)
        self.assertEqual(page.complaints(), [])
        self.assertEqual(page.evaluate("document.querySelectorAll('tbody tr').length"), 100)
        page.evaluate("document.querySelector('.more button').click()")
        self.assertEqual(page.evaluate("document.querySelectorAll('tbody tr').length"), 1000)


if __name__ == "__main__":
    unittest.main(verbosity=2)
