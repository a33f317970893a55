"""Remote stacks: made known with a key, chosen, asked, joined by workers; and what is wrong is named, with nothing kept."""

import os
import pathlib
import signal
import socket
import stat
import subprocess
import threading
import unittest

import msgpack
import zmq

from stack import BIN, INKLING, Stack, StackTest, free_port, three_free_ports, until

HOST = socket.gethostname().split(".")[0]


class Stacks(StackTest):
    """The stack of these tests is "there"; each test's client is elsewhere, with a home of its own."""

    @classmethod
    def before_up(cls):
        cls.port = three_free_ports()
        cls.address = f"tcp://127.0.0.1:{cls.port}"
        cls.stack.ask("keys", "init")
        cls.key = cls.make_key(cls.stack, "laptop")
        for above, service in enumerate(("dispatcher", "gateway", "blobs", "studies")):
            cls.stack.environ[f"INKLING_{service.upper()}_LISTEN"] = f"tcp://127.0.0.1:{cls.port + above}"

    @staticmethod
    def make_key(stack, name):
        return stack.ask("keys", "client", name, "--file", stack.path(name + ".key"))["file"]

    def setUp(self):
        self.client = Stack()
        self.addCleanup(self.client.remove)

    def add(self, name="lab", **more):
        return self.client.ask("stack", "add", name, self.address, "--key", self.key, **more)

    def refused(self, *args, code, words, name, remedy="", client=None):
        error = (client or self.client).ask(*args, code=code)["error"]
        self.assertEqual(error["code"], name, error)
        self.assertIn(words, error["message"])
        self.assertIn(remedy, error["remedy"])
        self.assertTrue(error["remedy"])

    def kept(self):
        """What the client's home has of stacks."""
        folder = pathlib.Path(self.client.path("stacks"))
        return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []

    # --- Good input

    def test_add_use_and_rm(self):
        added = self.add()
        self.assertEqual(added["gateway"], f"tcp://127.0.0.1:{self.port + 1}")
        self.assertEqual(added["blobs"], f"tcp://127.0.0.1:{self.port + 2}")
        self.assertEqual(added["studies"], f"tcp://127.0.0.1:{self.port + 3}")
        copy = added["client_key"]
        self.assertEqual(stat.S_IMODE(os.stat(copy).st_mode), 0o600)
        for words in (("workers", "--stack", "lab"), ("--stack", "lab", "workers")):
            self.assertEqual(sorted(worker["worker"] for worker in self.client.ask(*words)), ["ingest-0", "trainer-0", "tuner-0"])
        self.refused("workers", code=4, words="no answer", name="UNAVAILABLE")  # the local one, which does not run
        self.client.ask("stack", "use", "lab")
        self.assertEqual(len(self.client.ask("workers")), 3)
        self.assertEqual({stack["name"]: (stack["current"], stack["answers"]) for stack in
                          self.client.ask("stack", "list")}, {"local": (False, False), "lab": (True, True)})
        self.refused("workers", "--stack", "local", code=4, words="no answer", name="UNAVAILABLE")
        code, out, _ = self.client.run("stack", "list")
        self.assertEqual(code, 0)
        self.assertRegex(out, r"\* +lab +yes")
        self.client.ask("stack", "use", "local")
        self.refused("workers", code=4, words="no answer", name="UNAVAILABLE")
        self.client.ask("stack", "use", "lab")
        self.assertEqual(self.client.ask("stack", "rm", "lab"), {"removed": "lab", "was_current": True})
        self.assertEqual(self.kept(), [])
        self.refused("workers", code=4, words="no answer", name="UNAVAILABLE")

    def test_the_environment_chooses_too(self):
        self.add()
        self.client.environ["INKLING_STACK"] = "lab"
        job = self.client.ask("submit", "play", '{"n": 1}', "--detach")["job"]
        self.assertEqual(self.stack.ask("job", "show", job)["state"], "queued")
        self.client.ask("job", "cancel", job)
        self.refused("classify", __file__, code=3, words="no model is promoted", name="NOT_FOUND")
        self.client.ask("stack", "list")  # not about one of them

    def test_status(self):
        self.add()
        status = self.client.ask("status", "--stack", "lab")
        self.assertEqual({service["name"]: service["ready"] for service in status["services"]},
                         {"dispatcher": True, "gateway": True, "blobs": True, "studies": True})
        self.assertEqual((status["stack"], status["ready"], status["workers"]), ("lab", True, 3))
        code, out, _ = self.client.run("status", "--stack", "lab")
        self.assertEqual(code, 0)
        self.assertIn("stack lab, 3 workers", out)

    def test_status_of_half_a_stack(self):
        self.add("half")
        with open(self.client.path("stacks", "half"), "a") as file:
            file.write(f"gateway = tcp://127.0.0.1:{free_port()}\n")
        status = self.client.ask("status", "--stack", "half", code=4)
        away = [service for service in status["services"] if not service["ready"]]
        self.assertEqual([service["name"] for service in away], ["gateway"])
        self.assertIn("no answer from the gateway", away[0]["detail"])
        self.assertFalse(status["ready"])

    def test_status_of_one_service(self):
        self.assertTrue(self.stack.ask("status", "--service", "trainer-0")["ready"])
        self.assertEqual(self.stack.run("status", "--service", "dispatcher")[1].split(":")[0], "ready")
        self.assertTrue(self.stack.ask("status", "--service", "redis")["ready"])
        self.refused("status", "--service", "trainer-7", code=4, words="trainer-7 does not answer",
                     name="UNAVAILABLE", remedy="does it run", client=self.stack)
        self.refused("status", "--service", "dispatcher", code=4, words="does not answer", name="UNAVAILABLE")
        self.assertFalse(self.client.ask("status", "--service", "redis", code=4)["ready"])

    def test_a_stack_without_keys(self):
        plain = Stack(dispatcher_listen=f"tcp://127.0.0.1:{free_port()}")
        try:
            plain.up()
            address = plain.environ["INKLING_DISPATCHER_LISTEN"]
            code, out, err = self.client.run("stack", "add", "plain", address, "--gateway", "tcp://127.0.0.1:1",
                                             "--blobs", "tcp://127.0.0.1:2", "--studies", "tcp://127.0.0.1:3")
            self.assertEqual(code, 0, err)
            self.assertIn("plain is known", out)
            for address in ("tcp://127.0.0.1:1", "tcp://127.0.0.1:2"):  # do not answer: told, and no reason to refuse
                self.assertIn(address, err)
            self.client.ask("jobs", "--stack", "plain")
        finally:
            plain.down()
            plain.remove()

    def test_completion(self):
        self.add()
        self.assertEqual(self.client.run("completion", "stacks")[1], "lab\nlocal\n")
        self.assertIn("--stack", self.client.run("help", "jobs")[1])
        self.assertNotIn("--stack", self.client.run("help", "up")[1])

    # --- Bad input

    def test_what_cannot_be_added(self):
        other = Stack()
        self.addCleanup(other.remove)
        other.ask("keys", "init")
        foreign, server = self.make_key(other, "eve"), self.stack.path("keys", "server.key")
        open_key = self.make_key(self.stack, f"careless-{os.getpid()}")
        os.chmod(open_key, 0o644)
        broken = self.client.path("broken.key")
        with open(os.open(broken, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write("kind = client\nname = x\npublic = 1\n")
        text = self.client.path("text")
        pathlib.Path(text).write_text("kind = letter\n")
        gateway = f"tcp://127.0.0.1:{self.port + 1}"
        nowhere = f"tcp://127.0.0.1:{free_port()}"
        for address, key, code, name, words in (
                (self.address, foreign, 4, "DENIED", "breaks off when it sees the key"),
                (self.address, None, 4, "DENIED", "wants a key"),
                (self.address, "/nowhere.key", 3, "NOT_FOUND", "/nowhere.key"),
                (self.address, open_key, 2, "INVALID", "others than its owner may read it"),
                (self.address, server, 2, "INVALID", "is a stack's own key"),
                (self.address, broken, 1, "CORRUPT", "'public' is missing or damaged"),
                (self.address, text, 2, "INVALID", "is no file of keys"),
                (nowhere, self.key, 4, "UNAVAILABLE", "no answer from the dispatcher at " + nowhere),
                (gateway, self.key, 2, "INVALID", "is gateway-0, and no dispatcher"),
                ("lab:7420", self.key, 2, "USAGE", "'lab:7420' is no address"),
                ("tcp://lab", self.key, 2, "USAGE", "'tcp://lab' is no address"),
                ("tcp://:7420", self.key, 2, "USAGE", "is no address"),
                ("tcp://lab:0", self.key, 2, "USAGE", "is no address"),
                ("tcp://lab:99999", self.key, 2, "USAGE", "is no address"),
                ("tcp://lab:65535", self.key, 2, "USAGE", "no port 65536"),
                ("tcp://a:1,tcp://b:1", self.key, 2, "USAGE", "is no address"),
                ("ipc:///tmp/x", self.key, 2, "USAGE", "is no address")):
            with self.subTest(address=address, key=key):
                given = ["--key", key] if key else []
                self.refused("stack", "add", "lab", address, *given, code=code, name=name, words=words)
                self.assertEqual(self.kept(), [])

    def test_bad_names(self):
        for name in ("local", "current", "", ".", "..", "a/b", "a.key", "ä", "_x", "x" * 49):
            with self.subTest(name=name):
                self.refused("stack", "add", name, self.address, "--key", self.key, code=2, name="USAGE",
                             words="no name of a remote stack")
        self.assertEqual(self.kept(), [])

    def test_a_name_twice(self):
        self.add()
        before = pathlib.Path(self.client.path("stacks", "lab")).read_bytes()
        self.refused("stack", "add", "lab", "tcp://127.0.0.1:1", "--key", self.key, code=1, name="CONFLICT",
                     words="a stack 'lab' already", remedy="inkling stack rm lab")
        self.assertEqual(pathlib.Path(self.client.path("stacks", "lab")).read_bytes(), before)

    def test_an_unknown_stack(self):
        for verb in (("jobs", "--stack", "gone"), ("status", "--stack", "gone"), ("stack", "use", "gone"),
                     ("stack", "rm", "gone"), ("worker", "trainer", "--stack", "gone")):
            self.refused(*verb, code=3, name="NOT_FOUND", words="no stack 'gone'", remedy="inkling stack list")
        self.client.environ["INKLING_STACK"] = "gone"
        self.refused("workers", code=3, name="NOT_FOUND", words="no stack 'gone'", remedy="inkling stack add gone")
        done = subprocess.run([os.path.join(BIN, "inkling-trainer")], env=self.client.environ, capture_output=True,
                              text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no stack 'gone'", done.stderr)

    def test_a_stack_that_vanished_under_its_user(self):
        self.add()
        self.client.ask("stack", "use", "lab")
        os.remove(self.client.path("stacks", "lab"))
        self.refused("jobs", code=3, name="NOT_FOUND", words="no stack 'lab'", remedy="inkling stack use local")
        self.assertFalse(self.client.ask("status", "--service", "redis", code=4)["ready"])  # of this host as ever
        self.client.ask("stack", "use", "local")

    def test_a_broken_file_of_a_stack(self):
        self.add()
        with open(self.client.path("stacks", "lab"), "w") as file:
            file.write("dispatcher = tcp://127.0.0.1:1\n")
        self.refused("jobs", "--stack", "lab", code=2, name="INVALID", words="does not tell 'gateway'",
                     remedy="inkling stack rm lab")
        listed = self.client.ask("stack", "list")[1]
        self.assertEqual((listed["name"], listed["answers"]), ("lab", False))
        self.assertIn("gateway", listed["detail"])
        self.client.ask("stack", "rm", "lab")
        self.add()

    def test_what_is_about_this_host(self):
        self.add()
        for verb in (("up", "--detach"), ("down",), ("keys", "init"), ("keys", "show")):
            self.refused(*verb, "--stack", "lab", code=2, name="USAGE", words="has no option --stack",
                         remedy="of this host")
            self.client.environ["INKLING_STACK"] = "lab"
            self.refused(*verb, code=2, name="USAGE", words="about the stack of this host, not about 'lab'",
                         remedy="INKLING_STACK")
            del self.client.environ["INKLING_STACK"]
        self.refused("status", "--service", "dispatcher", "--stack", "lab", code=2, name="USAGE",
                     words="about the stack of this host")
        for program in ("dispatcher", "blobs"):
            done = subprocess.run([os.path.join(BIN, "inkling-" + program), "--stack", "lab"], text=True,
                                  env=self.client.environ, capture_output=True, check=False)
            self.assertEqual(done.returncode, 2)
            self.assertIn("cannot join 'lab'", done.stderr)
        self.assertFalse(os.path.exists(self.client.path("pids")))

    def test_up_and_down_beside_a_current_stack(self):
        self.add()
        self.client.ask("stack", "use", "lab")
        try:
            self.client.up()
            self.assertEqual(self.client.ask("keys", "init")["folder"], self.client.path("keys"))
            pid = self.client.ask("status", "--stack", "local")["services"][0]["pid"]
            with open(f"/proc/{pid}/environ") as file:
                self.assertNotIn("INKLING_STACK", file.read())
            self.assertEqual(self.client.ask("workers", "--stack", "local")[0]["host"], socket.gethostname())
            self.client.ask("submit", "play", "--detach", "--stack", "local")
            self.assertEqual(len(self.client.ask("jobs", "--stack", "local")), 1)
        finally:
            self.client.down()

    # --- Workers

    def worker(self, kind, *args):
        """A process that becomes a worker, and its log."""
        log = self.client.path("worker.log")
        with open(log, "a") as file:
            process = subprocess.Popen([INKLING, "worker", kind, *map(str, args)], env=self.client.environ,
                                       stdout=file, stderr=file)
        self.addCleanup(self.end, process)
        return process, lambda: pathlib.Path(log).read_text()

    @staticmethod
    def end(process):
        process.kill()
        process.wait()

    def states(self):
        return {worker["worker"]: worker["state"] for worker in self.stack.ask("workers")}

    def test_a_worker_joins_and_leaves(self):
        self.add()
        process, log = self.worker("trainer", "--stack", "lab", "--threads", 1)
        name = "trainer-" + HOST
        until("it is here", lambda: self.states().get(name) == "idle")
        second, _ = self.worker("trainer", "--stack", "lab")  # the same name
        self.assertEqual(second.wait(60), 1)
        self.assertIn(f"a service of the name {name} runs already", log())
        self.assertIn("another --name", log())
        other, _ = self.worker("ingest", "--stack", "lab")
        until("the other is here", lambda: self.states().get("ingest-" + HOST) == "idle")
        for one in (process, other):
            one.send_signal(signal.SIGTERM)
            self.assertEqual(one.wait(60), 0, log())
        self.assertEqual(sorted(self.states()), ["ingest-0", "trainer-0", "tuner-0"])

    def test_a_worker_joins_the_current_stack_and_leaves_when_idle(self):
        self.add()
        self.client.ask("stack", "use", "lab")
        process, log = self.worker("trainer", "--name", "passer-by", "--idle-exit-s", 2)
        until("it is here", lambda: "passer-by" in self.states())
        self.assertEqual(process.wait(60), 0, log())
        self.assertIn("no job for 2 s", log())
        self.assertNotIn("passer-by", self.states())

    def test_an_idle_worker_leaves_though_nobody_answers(self):
        self.client.environ["INKLING_DISPATCHER"] = f"tcp://127.0.0.1:{free_port()}"
        process, log = self.worker("ingest", "--idle-exit-s", 1)
        self.assertEqual(process.wait(60), 0, log())

    def test_bad_workers(self):
        self.refused("worker", "tailor", code=2, name="USAGE", words="no worker 'tailor'")
        self.refused("worker", "trainer", "--idle-exit-s", "-1", code=2, name="USAGE", words="--idle-exit-s")
        self.refused("worker", code=2, name="USAGE", words="needs trainer|ingest")

    # --- Other releases

    def test_another_protocol_version(self):
        """A worker of another release is told so, and the stack's log and the worker's say it."""
        dealer = zmq.Context.instance().socket(zmq.DEALER)
        dealer.linger = 0
        dealer.connect("ipc://" + self.stack.path("run", "dispatcher.sock"))
        hello = {"worker": "old", "boot": "1", "kinds": ["train"], "slots": 1}
        dealer.send_multipart([msgpack.packb({"v": 2, "type": "worker.hello", "id": 7}), msgpack.packb(hello)])
        self.assertTrue(dealer.poll(60000))
        header, body = map(msgpack.unpackb, dealer.recv_multipart())
        self.assertEqual((header["type"], header["id"], body["code"]), ("error", 7, "UNSUPPORTED"))
        self.assertIn("protocol version 2", body["message"])
        self.assertIn("the same release", body["remedy"])
        dealer.close()
        self.assertNotIn("old", self.states())
        self.assertIn("worker.hello", self.stack.logs())
        self.assertIn("the same release on both sides", self.stack.logs())

    def test_a_stack_of_another_protocol_version(self):
        """Somebody who answers everything in version 2."""
        router = zmq.Context.instance().socket(zmq.ROUTER)
        router.linger = 0
        port = router.bind_to_random_port("tcp://127.0.0.1")
        done = threading.Event()

        def serve():
            while not done.is_set():
                if router.poll(50):
                    peer, header, *_ = router.recv_multipart()
                    answer = {"v": 2, "type": "error", "id": msgpack.unpackb(header)["id"]}
                    router.send_multipart([peer, msgpack.packb(answer),
                                           msgpack.packb({"code": "UNSUPPORTED", "message": "no", "remedy": ""})])
            router.close()

        server = threading.Thread(target=serve)
        server.start()
        try:
            self.refused("stack", "add", "new", f"tcp://127.0.0.1:{port}", code=1, name="UNSUPPORTED",
                         words="protocol version 2", remedy="the same release")
            self.client.environ["INKLING_DISPATCHER"] = f"tcp://127.0.0.1:{port}"
            self.refused("jobs", code=1, name="UNSUPPORTED", words="protocol version 2", remedy="the same release")
            process, log = self.worker("trainer", "--name", "new")
            until("the worker says so", lambda: "protocol version 2" in log() and "the same release" in log(), 60)
            process.terminate()
            self.assertEqual(process.wait(60), 0)
        finally:
            done.set()
            server.join()


if __name__ == "__main__":
    unittest.main(verbosity=2)
