"""docker-compose.yml, for real where there is a Docker engine: what its head says, scaling, and kills in mid-job."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import unittest
import urllib.error
import urllib.request

from stack import PATIENCE, Stack, free_port, until

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROJECT = f"inkling-test-{os.getpid()}"
TRAIN = ("train", "demo", "--width", 16, "--seed", 3, "--epochs")
LONG_S = 30  # an undisturbed run, whatever the machine: services are killed, and come back, before its end


def walk():
    """The lines of README's part on containers."""
    text = (ROOT / "README.md").read_text().split("In containers,", 1)[1].split("The gateway speaks HTTP", 1)[0]
    return [line.strip() for line in text.splitlines() if line.startswith("    ")]


def five_ports():
    """The first of five in a row that are free, as far as one can know."""
    while True:
        first = free_port()
        try:
            for port in range(first, first + 5):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue


def why_not():
    """What is missing for Docker, or nothing."""
    if not shutil.which("docker"):
        return "there is no docker"
    for words in (["version"], ["compose", "version"]):
        done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            return done.stderr.strip() or f"docker {words[0]} fails"
    return ""


class Compose(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        missing = why_not()
        if missing:
            raise unittest.SkipTest(f"NOT TESTED: docker-compose.yml needs a Docker engine with compose: {missing}")
        cls.port = five_ports()
        cls.environ = dict(os.environ, INKLING_DISPATCHER_PORT=str(cls.port), INKLING_GATEWAY_PORT=str(cls.port + 1),
                           INKLING_BLOBS_PORT=str(cls.port + 2), INKLING_STUDIES_PORT=str(cls.port + 3),
                           INKLING_HTTP_PORT=str(cls.port + 4), COMPOSE_PROJECT_NAME=PROJECT)
        # The client of a person at the host: an address and a key, and no folder in common with any container.
        cls.host = Stack()
        cls.addClassCleanup(cls.host.remove)
        cls.addClassCleanup(cls.compose, "down", "--volumes", "--timeout", "10")
        cls.walk_through()
        cls.compose("up", "--detach", "--wait")
        cls.train, cls.undisturbed = cls.host.train_long(TRAIN, 30, LONG_S, "--model", "undisturbed")

    @classmethod
    def walk_through(cls):
        """Every line of README's, from a copy of the project in which the user's own folder is the current one."""
        here = cls.host.path("here")
        os.mkdir(here)
        environ = dict(cls.environ, INKLING_HOME=cls.host.home, COMPOSE_FILE=str(ROOT / "docker-compose.yml"),
                       PATH=os.environ["INKLING_BIN"] + ":" + os.environ["PATH"])
        for line in walk():
            command = line.replace(":7420", f":{cls.port}").replace(":8420", f":{cls.port + 4}")
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=here, env=environ, text=True,
                                  stdin=subprocess.DEVNULL, capture_output=True, timeout=3 * PATIENCE, check=False)
            print(f"{done.returncode}  {line}", flush=True)
            if done.returncode:
                raise AssertionError(f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr[-4000:]}")
        with open(os.path.join(here, "labels.csv")) as file:
            assert len(file.readlines()) == 601
        cls.host.environ["INKLING_STACK"] = "box"

    @classmethod
    def compose(cls, *words):
        """Its standard output."""
        done = subprocess.run(["docker", "compose", *words], cwd=ROOT, env=cls.environ,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=3 * PATIENCE,
                              check=False)
        if done.returncode:
            raise AssertionError(f"docker compose {words}: exit {done.returncode}\n{done.stdout}{done.stderr[-4000:]}")
        return done.stdout

    def restart(self, service):
        self.compose("kill", service)
        self.compose("up", "--detach", "--wait")

    def test_classify_from_the_host(self):
        images = self.host.path("images")
        self.host.ask("demo-data", images, "--count", 8, "--seed", 5)
        answers = self.host.ask("classify", *(f"{images}/{style}/{n}.jpg" for style in ("photos", "comics")
                                              for n in range(4)))
        self.assertEqual(len(answers), 8)
        self.assertTrue(all(answer["model"] for answer in answers))

    def http(self, path, body=None, token=None):
        """Status and answer of the gateway's HTTP."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port + 4}{path}", body)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def test_http_with_a_token(self):
        token = self.compose("run", "--rm", "-T", "keys", "keys", "token", "tester").strip()
        images = self.host.path("http")
        self.host.ask("demo-data", images, "--count", 2, "--seed", 6)
        picture = pathlib.Path(images, "photos", "0.jpg").read_bytes()
        until("the token is known", lambda: self.http("/v2", token=token)[0] == 200)
        status, answers = self.http("/v1/classify/demo", picture, token)
        self.assertEqual(status, 200, answers)
        told = self.host.ask("classify", f"{images}/photos/0.jpg", "--model", "demo")
        self.assertEqual({key: answers[0][key] for key in ("label", "version")},
                         {key: told[0][key] for key in ("label", "version")})
        for wrong in (None, "ink_" + 64 * "0"):
            status, answer = self.http("/v1/classify/demo", picture, wrong)
            self.assertEqual((status, answer["code"]), (401, "DENIED"))
        self.assertEqual(self.http("/v2/health/ready"), (200, self.http("/v2/health/ready")[1]))

    def test_without_the_key(self):
        stranger = Stack(dispatcher=f"tcp://127.0.0.1:{self.port}")
        self.assertEqual(stranger.ask("jobs", code=4)["error"]["code"], "DENIED")
        stranger.remove()

    def test_each_service_is_killed_in_mid_job(self):
        job = self.host.ask(*self.train, "--model", "killed", "--detach")["job"]
        for service in ("trainer", "dispatcher", "redis"):
            self.assertEqual(self.host.ask("job", "show", job)["state"], "running", service)
            self.restart(service)
        for service in ("blobs", "studies", "ingest", "gateway"):
            self.restart(service)
        followed = self.host.ask("job", "follow", job)
        self.assertEqual(followed["weights_sha256"], self.undisturbed["weights_sha256"])

    def test_a_search_is_killed_in_mid_job(self):
        epochs, took = 1, 0
        while took < 2 * LONG_S:  # enough for four kills, whatever the machine
            epochs *= 2 if took > LONG_S else 4
            search = ("tune", "demo", "--trials", 6, "--seed", 5, "--epochs", epochs, "--width", 8, "--dense", 32, "--model")
            begin = time.monotonic()
            undisturbed = self.host.ask(*search, f"search-{epochs}")
            took = time.monotonic() - begin
        job = self.host.ask(*search, "search-killed", "--detach")["job"]
        for number, service in enumerate(("tuner", "trainer", "dispatcher", "redis"), 1):
            until(f"{number} trials have ended",
                  lambda: self.host.ask("job", "show", job)["progress"] >= number / 6)
            self.assertEqual(self.host.ask("job", "show", job)["state"], "running", service)
            self.restart(service)
        followed = self.host.ask("job", "follow", job)
        self.assertEqual(*([(trial["params"], trial["state"], trial["value"]) for trial in result["trials"]]
                           for result in (undisturbed, followed)))
        self.assertEqual(followed["best"]["value"], undisturbed["best"]["value"])

    def test_a_program_of_ones_own_is_tuned_over_tcp(self):
        """proto/examples/tune.py, by the client's key, each time another service is killed."""
        environ = dict(self.host.environ, INKLING_CLIENT_KEY=self.host.path("here", "laptop.key"))
        for service in ("studies", "dispatcher", "redis"):
            study = "own-" + service
            command = [sys.executable, "-B", ROOT / "proto" / "examples" / "tune.py",
                       f"tcp://127.0.0.1:{self.port + 3}", study, "100"]
            with subprocess.Popen(command, env=environ, text=True, stdout=subprocess.PIPE) as process:
                until("it has begun", lambda: process.poll() is not None or
                      study in (one["study"] for one in self.host.ask("study", "list")))
                self.assertIsNone(process.poll(), "it has ended already")
                until("trials", lambda: self.host.ask("study", "show", study)["count"] >= 10)
                self.compose("kill", service)
                self.assertIsNone(process.poll(), "it had ended before the kill")
                self.compose("up", "--detach", "--wait")
                out, _ = process.communicate(timeout=PATIENCE)
            self.assertEqual(process.returncode, 0, out)
            self.assertLess(json.loads(out.splitlines()[-1])["value"], 0.2)
            trials = self.host.ask("study", "show", study)["trials"]
            self.assertEqual(len(trials), 100)
            self.assertFalse([trial for trial in trials if trial["state"] == "running"])

    def test_ingest_is_killed_in_mid_job(self):
        images = self.host.path("many")
        self.host.ask("demo-data", images, "--count", 1500, "--seed", 9)
        job = self.host.ask("ingest", images, "--name", "many", "--detach")["job"]
        for service in ("ingest", "blobs", "dispatcher", "redis"):
            self.restart(service)
        self.assertEqual(self.host.ask("job", "follow", job)["images"], 1500)
        again = self.host.ask("ingest", images, "--name", "many")
        self.assertTrue(again["unchanged"])

    def test_two_trainers_work_side_by_side(self):
        self.compose("up", "--detach", "--wait", "--scale", "trainer=2")
        jobs = [self.host.ask(*self.train, "--model", f"side-{n}", "--detach")["job"] for n in range(2)]
        until("both run at once", lambda: all(self.host.ask("job", "show", job)["state"] == "running" for job in jobs))
        for job in jobs:
            self.assertEqual(self.host.ask("job", "follow", job)["weights_sha256"], self.undisturbed["weights_sha256"])
        self.compose("up", "--detach", "--wait", "--scale", "trainer=1")

    def test_down_and_up_keep_everything(self):
        before = self.host.ask("models")
        self.compose("down")
        self.compose("up", "--detach", "--wait")
        self.assertEqual([model["name"] for model in self.host.ask("models")], [model["name"] for model in before])

    def test_idle_services_are_small(self):
        what = '{{.State.Pid}} {{index .Config.Labels "com.docker.compose.service"}}'
        for container in self.compose("ps", "--quiet").split():
            pid, service = subprocess.run(["docker", "inspect", "-f", what, container], capture_output=True, text=True,
                                          check=True).stdout.split()
            with open(f"/proc/{pid}/status") as file:
                kib = next(int(row.split()[1]) for row in file if row.startswith("RssAnon"))
            print(f"{service}: RssAnon {kib / 1024:.1f} MiB", flush=True)
            if service != "gateway":  # it holds the promoted models
                self.assertLess(kib, 10 * 1024, service)


if __name__ == "__main__":
    unittest.main(verbosity=2)
