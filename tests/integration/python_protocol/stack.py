"""The real programs under a home of their own: Redis, dispatcher, workers, gateway."""
import os
import shutil
import signal
import subprocess
import tempfile
import time

from stranger import Client


class Stack:
    def __init__(self, programs):
        self.programs, self.home = programs, tempfile.mkdtemp(prefix="inkling-py-", dir="/tmp")
        self.run = os.path.join(self.home, "run")
        self.files = os.path.join(self.home, "files")
        os.makedirs(self.run, 0o700)
        self.processes = {}
        self.dispatcher = f"ipc://{self.run}/dispatcher.sock"
        self.gateway = f"ipc://{self.run}/gateway.sock"
        self.studies = f"ipc://{self.run}/studies.sock"

    def start(self, name, program=None, *arguments):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("INKLING_")}
        environment["INKLING_HOME"] = self.home
        program = program or "inkling-" + name.split("-")[0]
        with open(os.path.join(self.home, name + ".log"), "ab") as log:
            self.processes[name] = subprocess.Popen(
                [os.path.join(self.programs, program), "--name", name, *arguments], env=environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def start_redis(self):
        command = ["redis-server", "--port", "0", "--unixsocket", f"{self.run}/redis.sock", "--dir", self.run,
                   "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction"]
        with open(os.path.join(self.home, "redis.log"), "ab") as log:
            self.processes["redis"] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def await_ready(self, name, seconds=60):
        client, end = Client(f"ipc://{self.run}/{name}.ctl"), time.monotonic() + seconds
        try:
            while True:
                state = client.once("service.status", {}, wait_ms=1000)
                if state and state["ready"]:
                    return
                if time.monotonic() > end or self.processes[name].poll() is not None:
                    raise RuntimeError(f"{name} is not ready: {state}; {self.log(name)}")
                time.sleep(0.1)
        finally:
            client.close()

    def log(self, name):
        with open(os.path.join(self.home, name + ".log"), "rb") as log:
            return log.read()[-2000:].decode(errors="replace")

    def kill(self, name):
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def close(self):
        for name in [name for name in self.processes if name != "redis"]:
            self.processes[name].terminate()
        for name, process in list(self.processes.items()):
            if name == "redis":
                continue
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill(name)
        if "redis" in self.processes:
            self.kill("redis")
        shutil.rmtree(self.home, ignore_errors=True)
