"""docker-compose.yml, for real where there is a Docker engine: what its head says, scaling, and kills in mid-job."""

import os
import pathlib
import shutil
import subprocess
import unittest

from stack import PATIENCE, Stack, free_port, until

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROJECT = f"inkling-test-{os.getpid()}"
TRAIN = ("train", "demo", "--width", 16, "--seed", 3, "--epochs")
LONG_S = 30  # an undisturbed run, whatever the machine: services are killed, and come back, before its end


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
        ports = free_port(), free_port()
        cls.environ = dict(os.environ, INKLING_DISPATCHER_PORT=str(ports[0]), INKLING_GATEWAY_PORT=str(ports[1]))
        # The client of a person at the host: addresses and a key, and no folder in common with any container.
        cls.host = Stack(dispatcher=f"tcp://127.0.0.1:{ports[0]}", gateway=f"tcp://127.0.0.1:{ports[1]}")
        cls.addClassCleanup(cls.host.remove)
        cls.addClassCleanup(cls.compose, "down", "--volumes", "--timeout", "10")
        cls.compose("up", "--detach", "--build", "--wait")
        cls.host.environ["INKLING_CLIENT_KEY"] = cls.key("laptop")
        cls.compose("run", "--rm", "cli", "demo-data", "/images/demo", "--count", "120")
        cls.compose("run", "--rm", "cli", "ingest", "/images/demo", "--name", "demo")
        cls.train, cls.undisturbed = cls.host.train_long(TRAIN, 30, LONG_S, "--model", "undisturbed")

    @classmethod
    def compose(cls, *words):
        """Its standard output."""
        done = subprocess.run(["docker", "compose", "--project-name", PROJECT, *words], cwd=ROOT, env=cls.environ,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=3 * PATIENCE,
                              check=False)
        if done.returncode:
            raise AssertionError(f"docker compose {words}: exit {done.returncode}\n{done.stdout}{done.stderr[-4000:]}")
        return done.stdout

    @classmethod
    def key(cls, name):
        path = cls.host.path(name + ".key")
        text = cls.compose("run", "--rm", "-T", "keys", "keys", "client", name, "--file", "-")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(text)
        return path

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

    def test_without_the_key(self):
        stranger = Stack(dispatcher=self.host.environ["INKLING_DISPATCHER"])
        self.assertEqual(stranger.ask("jobs", code=4)["error"]["code"], "DENIED")
        stranger.remove()

    def test_each_service_is_killed_in_mid_job(self):
        job = self.host.ask(*self.train, "--model", "killed", "--detach")["job"]
        for service in ("trainer", "dispatcher", "redis"):
            self.assertEqual(self.host.ask("job", "show", job)["state"], "running", service)
            self.restart(service)
        for service in ("ingest", "gateway"):
            self.restart(service)
        followed = self.host.ask("job", "follow", job)
        self.assertEqual(followed["weights_sha256"], self.undisturbed["weights_sha256"])

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
