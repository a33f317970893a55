"""A folder goes to a stack that does not see it: whole, no more of it than is missing, whatever dies or changes meanwhile."""

import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
import unittest

import msgpack
import zmq

from images import texture, textures
from stack import BIN, INKLING, Stack, StackTest, until
from test_stacks import three_free_ports

WINDOW = 4 * (8 << 20)  # bytes of the command line that may be on their way: connections, each with its window
SENT = re.compile(r"(\d+) files of .* are with the stack: (\d+) were sent \(([\d.]+) MB\)")
RSS_MAX_KB = 100 << 10


def tree(folder):
    """Digest of every regular file below the folder, by its raw path, links followed; as a listing should have it."""
    found = {}
    for place, folders, names in os.walk(os.fsencode(folder), followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(b".")]
        for name in names:
            path = os.path.join(place, name)
            if stat.S_ISREG(os.stat(path).st_mode):
                found[os.path.relpath(path, os.fsencode(folder))] = digest_of(path)
    return found


def digest_of(path):
    return hashlib.sha256(pathlib.Path(os.fsdecode(path)).read_bytes()).hexdigest()


def fill(folder, files, size, seed):
    """Files of random bytes, half to one and a half times as large, below two classes; returns how many bytes."""
    rng, total = random.Random(seed), 0
    for i in range(files):
        place = pathlib.Path(folder, f"class-{i % 2}")
        place.mkdir(parents=True, exist_ok=True)
        data = rng.randbytes(rng.randrange(size // 2, size + size // 2))
        (place / f"{i:05}.jpg").write_bytes(data)
        total += len(data)
    return total


def catches(pid, number):
    """Has the process a handler of that signal?"""
    with open(f"/proc/{pid}/status") as file:
        mask = next(int(row.split()[1], 16) for row in file if row.startswith("SigCgt"))
    return mask >> (number - 1) & 1


class Far(StackTest):
    """A stack with keys behind tcp, and a client elsewhere."""

    @classmethod
    def setUpClass(cls):
        cls.client, cls.cleanup = Stack(), []
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.client.remove()
        for action in cls.cleanup:
            action()

    @classmethod
    def before_up(cls):
        cls.port = three_free_ports()
        cls.stack.ask("keys", "init")
        cls.key = cls.stack.ask("keys", "client", "laptop", "--file", cls.stack.path("laptop.key"))["file"]
        for above, service in enumerate(("dispatcher", "gateway", "blobs")):
            cls.stack.environ[f"INKLING_{service.upper()}_LISTEN"] = f"tcp://127.0.0.1:{cls.port + above}"

    @classmethod
    def prepare(cls):
        cls.client.ask("stack", "add", "lab", f"tcp://127.0.0.1:{cls.port}", "--key", cls.key)
        cls.client.ask("stack", "use", "lab")
        cls.files = cls.stack.environ.get("INKLING_FILES", cls.stack.path("files"))

    def folder(self, name="images"):
        place = pathlib.Path(tempfile.mkdtemp(prefix="ink-up-")) / name
        self.addCleanup(shutil.rmtree, place.parent, ignore_errors=True)
        return place

    # --- What the stack has

    def metrics(self):
        done = subprocess.run([INKLING + "-blobs", "--metrics"], env=self.stack.environ, text=True, capture_output=True,
                              check=False)
        values = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in values.items()}

    def bytes_in(self):
        return self.metrics().get('inkling_blobs_bytes_total{way="in"}', 0)

    def blob(self, digest):
        return os.path.join(self.files, "blobs", digest[:2], digest)

    def listing(self, job):
        """The lines of the listing that a job names, by raw path; every file that it names is whole, with the stack."""
        body = self.stack.ask("job", "show", job)["body"]
        with open(self.blob(body["upload"]), "rb") as file:
            text = file.read()
        self.assertEqual(hashlib.sha256(text).hexdigest(), body["upload"])
        lines = {}
        for line in text.splitlines()[1:]:
            entry = json.loads(line)
            path = re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), entry["path"].encode())
            lines[path] = entry
            if "sha256" in entry:
                self.assertEqual(digest_of(self.blob(entry["sha256"])), entry["sha256"])
        return lines

    def is_whole(self, job, folder):
        self.assertEqual({path: entry.get("sha256") for path, entry in self.listing(job).items()}, tree(folder))

    # --- Sending

    def upload(self, folder, *more, name="d", code=0, **options):
        """Leaves a job that waits for long: its id, how many files and bytes were sent."""
        got, out, err = self.client.run("ingest", folder, "--name", name, "--detach", "--delay-ms", 10000000, *more, **options)
        self.assertEqual(got, code, out + err)
        if code:
            return err
        files, sent, megabytes = SENT.search(err).groups()
        return out.strip(), int(sent), float(megabytes), int(files)

    def begin(self, folder, *more):
        return self.client.start("ingest", folder, "--name", "d", "--detach", "--delay-ms", 10000000, *more)

    def refused(self, *args, code, name, words, remedy="", client=None):
        error = (client or self.client).ask(*args, code=code)["error"]
        self.assertEqual(error["code"], name, error)
        self.assertIn(words, error["message"])
        self.assertIn(remedy, error["remedy"])
        self.assertTrue(error["remedy"], error)
        return error


class Uploads(Far):
    # --- What is sent

    def test_the_same_data_set_and_only_what_is_missing(self):
        folder = textures(self.folder(), 10, 16, 1, kinds=2)
        pathlib.Path(folder, "kind-0", "bad.png").write_text("no image here")
        here = self.stack.ask("ingest", folder, "--name", "here", "--size", 16)
        code, out, err = self.client.run("ingest", folder, "--name", "there", "--size", 16)
        self.assertEqual(code, 0, out + err)
        self.assertIn("21 files of", err)
        self.assertIn("21 were sent", err)
        there = self.client.ask("ingest", folder, "--name", "there", "--size", 16)
        self.assertTrue(there["unchanged"])
        sides = [self.stack.ask("dataset", "show", name) for name in ("here", "there")]
        texts = [pathlib.Path(self.files, side["path"], "manifest.json").read_text() for side in sides]
        self.assertEqual(texts[0].replace('"here"', '"there"'), texts[1])
        self.assertEqual(here["class_images"], there["class_images"])
        # Not a byte of it again, and then what has changed alone
        before = self.bytes_in()
        job, sent, _, files = self.upload(folder)
        self.assertEqual((sent, files), (0, 21))
        self.assertLess(self.bytes_in() - before, 20000)  # the listing
        rng = random.Random(2)
        kinds = pathlib.Path(folder)
        (kinds / "kind-0" / "0.png").write_bytes(texture(0, 16, rng))
        (kinds / "kind-1" / "new.png").write_bytes(texture(1, 16, rng))
        (kinds / "kind-1" / "copy.png").write_bytes((kinds / "kind-1" / "3.png").read_bytes())
        os.rename(kinds / "kind-1" / "4.png", kinds / "kind-0" / "moved.png")
        os.remove(kinds / "kind-1" / "5.png")
        job, sent, _, files = self.upload(folder)
        self.assertEqual((sent, files), (2, 22))
        self.is_whole(job, folder)

    def test_in_place_and_upload(self):
        folder = textures(self.folder(), 10, 16, 3, kinds=2)
        self.refused("ingest", folder, "--name", "x", "--in-place", "--upload", code=2, name="USAGE",
                     words="both --in-place and --upload", remedy="one of them")
        before = self.bytes_in()
        done = self.client.ask("ingest", folder, "--name", "place", "--size", 16, "--in-place")
        self.assertEqual((done["images"], self.bytes_in()), (20, before))
        code, _, err = self.stack.run("ingest", folder, "--name", "ipc", "--size", 16, "--upload")
        self.assertEqual(code, 0, err)
        self.assertIn("20 were sent", err)
        self.assertNotIn("are with the stack", self.stack.run("ingest", folder, "--name", "ipc", "--size", 16)[2])

    def test_classes(self):
        folder = textures(self.folder(), 10, 16, 4, kinds=4)
        job, sent, _, files = self.upload(folder, "--classes", "kind-1,kind-3")
        self.assertEqual((sent, files), (20, 20))
        self.assertEqual({path.split(b"/")[0] for path in self.listing(job)}, {b"kind-1", b"kind-3"})
        done = self.client.ask("ingest", folder, "--name", "some", "--size", 16, "--classes", "kind-1,kind-3")
        self.assertEqual((done["classes"], done["class_images"]), (["kind-1", "kind-3"], [10, 10]))
        error = self.client.ask("ingest", folder, "--name", "none", "--classes", "kind-1,kind-9", code=1)["error"]
        self.assertIn("kind-9", error["message"])

    # --- What is odd

    def test_odd_folders(self):
        """Raw bytes and newlines in names, links, loops, what is no file, what nobody may read, and every size."""
        folder = pathlib.Path(textures(self.folder(), 10, 16, 5, kinds=2))
        one = folder / "kind-0"
        good = texture(1, 16, random.Random(6))
        for name in (b"raw-\xff\xfe.png", b"new\nline.png", b"quote\"back\\slash.png", "ümläut.png".encode(), b" .png"):
            pathlib.Path(os.fsdecode(os.path.join(os.fsencode(one), name))).write_bytes(good + name)
        (one / "nothing.png").write_bytes(b"")
        for size in (262143, 262144, 262145, 300000, 5000000, 30000000):
            (one / f"{size}.png").write_bytes(good + random.Random(size).randbytes(size - len(good)))
        (one / "large.png").write_bytes(bytes(2 << 20))
        os.truncate(one / "large.png", 65 << 20)
        (one / "loop").symlink_to(".")
        (one / "self.png").symlink_to("self.png")
        (one / "dangling.png").symlink_to("nowhere")
        (one / "linked.png").symlink_to("../kind-0/0.png")
        os.mkfifo(one / "fifo.png")
        (one / ".hidden.png").write_bytes(good)
        (one / "secret.png").write_bytes(good + b"secret")
        (one / "secret.png").chmod(0)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(one / "socket.png"))
        # Who may do everything does without it here
        drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
        done = subprocess.run([*drop, INKLING, "ingest", folder, "--name", "odd", "--size", "16"], text=True, check=False,
                              env=self.client.environ, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        shown = self.stack.ask("dataset", "show", "odd")
        job = shown["job"]
        lines = self.listing(job)
        self.assertEqual(lines[b"kind-0/raw-\xff\xfe.png"]["sha256"], digest_of(os.fsencode(one) + b"/raw-\xff\xfe.png"))
        self.assertIn(b"kind-0/new\nline.png", lines)
        self.assertEqual(lines[b"kind-0/nothing.png"]["bytes"], 0)
        self.assertEqual(lines[b"kind-0/linked.png"]["sha256"], digest_of(one / "0.png"))
        self.assertNotIn(b"kind-0/.hidden.png", lines)
        for name, words in ((b"large.png", "the limit is 67108864"), (b"self.png", "symbolic links"),
                            (b"dangling.png", "No such file"), (b"fifo.png", "not a regular file"),
                            (b"socket.png", "not a regular file"), (b"secret.png", "Permission denied")):
            self.assertIn(words, lines[b"kind-0/" + name]["reason"])
            self.assertNotIn("sha256", lines[b"kind-0/" + name])
        self.assertFalse([path for path in lines if b"loop/" in path])
        rejects = pathlib.Path(self.files, shown["path"], "rejects.jsonl").read_text()
        for words in ("Permission denied", "the limit is 67108864", "not a regular file", "nothing.png"):
            self.assertIn(words, rejects)
        # In place the same comes of it, for who may read no more
        self.assertEqual(subprocess.run([*drop, INKLING, "ingest", folder, "--name", "odd", "--size", "16"], text=True,
                                        env=self.client.environ, capture_output=True, check=True).stdout.count("unchanged"), 1)

    def test_folders_without_images(self):
        folder = self.folder()
        folder.mkdir()
        error = self.client.ask("ingest", folder, "--name", "void", code=1)["error"]
        self.assertTrue(error["message"])
        in_place = self.stack.ask("ingest", folder, "--name", "void", code=1)["error"]
        self.assertIn("has no class folders", error["message"])
        self.assertIn("has no class folders", in_place["message"])
        folder = textures(self.folder(), 10, 16, 7, kinds=2)
        pathlib.Path(folder, "kind-7").mkdir()
        for side in (self.client, self.stack):
            error = side.ask("ingest", folder, "--name", "void", "--size", 16, code=1)["error"]
            self.assertIn("class 'kind-7' has 0 files", error["message"])
        self.refused("ingest", pathlib.Path(folder, "gone"), "--name", "void", code=3, name="NOT_FOUND", words="gone", remedy="folder")

    # --- What dies

    def test_the_command_is_killed(self):
        folder, rng = self.folder(), random.Random(10)
        size = fill(folder, 1500, 60000, 11)
        before, begun = self.bytes_in(), time.monotonic()
        kills = 0
        for kills in range(10):
            process = self.begin(folder)
            time.sleep(rng.uniform(0.02, 0.5))
            process.kill()
            process.communicate()
        job, _, _, files = self.upload(folder)
        self.assertEqual(files, 1500)
        self.is_whole(job, folder)
        sent = self.bytes_in() - before
        print(f"{kills + 1} kills of the command: {sent / size:.2f} times the folder was sent, {time.monotonic() - begun:.1f} s")
        self.assertLess(sent, size + (kills + 2) * WINDOW)

    def test_ctrl_c(self):
        folder = self.folder()
        fill(folder, 1000, 100000, 12)
        service = self.stack.pid("blobs")
        os.kill(service, signal.SIGSTOP)  # so that it is in its midst, on any machine
        try:
            process = self.begin(folder)
            until("Ctrl-C is looked at", lambda: catches(process.pid, signal.SIGINT))
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            os.kill(service, signal.SIGCONT)
        self.assertEqual(process.returncode, 130, err)
        self.assertIn("no job is queued", err)
        self.assertIn("the same command sends the rest", err)
        job, *_ = self.upload(folder)
        self.is_whole(job, folder)

    def test_the_service_is_killed(self):
        folder, rng = self.folder(), random.Random(13)
        size = fill(folder, 1500, 60000, 14)
        for i in range(4):  # in pieces
            (folder / "class-0" / f"big-{i}").write_bytes(rng.randbytes(15 << 20))
        size += 60 << 20
        sent, kills, begun = -self.bytes_in(), 0, time.monotonic()
        process = self.begin(folder)
        while kills < 4 and process.poll() is None:
            time.sleep(rng.uniform(0.1, 0.5))
            pid = self.stack.pid("blobs")
            if not pid:
                continue
            sent += self.bytes_in()
            os.kill(pid, signal.SIGKILL)
            kills += 1
        out, err = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 0, out + err)
        sent += self.bytes_in()
        self.is_whole(out.strip(), folder)
        print(f"{kills} kills of the service: {sent / size:.2f} times the folder was sent, {time.monotonic() - begun:.1f} s")
        self.assertGreater(kills, 1)
        self.assertLess(sent, size + (kills + 1) * WINDOW)

    def test_the_service_is_away(self):
        folder = textures(self.folder(), 2, 16, 15, kinds=2)
        service = self.stack.pid("blobs")
        os.kill(service, signal.SIGSTOP)
        try:
            self.refused("ingest", folder, "--name", "d", "--detach", code=4, name="UNAVAILABLE",
                         words="no answer from the blobs service", remedy="inkling status")
        finally:
            os.kill(service, signal.SIGCONT)
        self.is_whole(self.upload(folder)[0], folder)

    # --- What changes

    def test_files_change_while_they_are_sent(self):
        folder, rng = self.folder(), random.Random(16)
        fill(folder, 1200, 30000, 17)
        seen = {}  # path → digests of all it has ever been
        for path, digest in tree(folder).items():
            seen[path] = {digest}
        paths, stop = sorted(seen), threading.Event()

        def disturb():
            count = 0
            while not stop.is_set():
                path = rng.choice(paths)
                place = os.path.join(os.fsencode(folder), path)
                way, count = count % 5, count + 1
                if way == 4 and rng.random() < 0.9:
                    continue
                if way in (0, 1):  # at once, by another file
                    data = rng.randbytes(rng.randrange(100, 60000))
                    seen[path].add(hashlib.sha256(data).hexdigest())
                    pathlib.Path(folder, "next").write_bytes(data)
                    os.replace(folder / "next", place)
                elif way in (2, 3) and os.path.isfile(place):  # in its place: it is longer or shorter, from one write
                    data = pathlib.Path(os.fsdecode(place)).read_bytes()
                    half = data[:len(data) // 2]
                    if way == 2:
                        seen[path].add(hashlib.sha256(half).hexdigest())
                        os.truncate(place, len(half))
                    else:
                        data = data + half
                        seen[path].add(hashlib.sha256(data).hexdigest())
                        with open(place, "ab", buffering=0) as file:
                            file.write(half)
                elif rng.random() < 0.5 and os.path.lexists(place):
                    os.remove(place)
                else:
                    os.mkfifo(folder / "fifo")
                    os.replace(folder / "fifo", place)
                time.sleep(0.001)

        thread = threading.Thread(target=disturb)
        thread.start()
        try:
            jobs = [self.upload(folder)[0] for _ in range(4)]
        finally:
            stop.set()
            thread.join()
        reasons = set()
        for job in jobs:
            lines = self.listing(job)
            self.assertGreater(len(lines), 600)
            for path, entry in lines.items():
                if path in (b"next", b"fifo"):
                    continue
                if "sha256" in entry:
                    self.assertIn(entry["sha256"], seen[path])
                else:
                    reasons.add(entry["reason"])
        self.assertIn("not a regular file", reasons)
        print("while files changed:", sorted(reasons))
        self.is_same_once_it_is_quiet(folder)

    def is_same_once_it_is_quiet(self, folder):
        job, *_ = self.upload(folder)
        found = {path: entry["sha256"] for path, entry in self.listing(job).items() if "sha256" in entry}
        self.assertEqual(found, tree(folder))

    # --- What comes back

    def test_predict_and_pull(self):
        folder = pathlib.Path(textures(self.folder(), 12, 16, 20, kinds=2))
        self.client.ask("ingest", folder, "--name", "two", "--size", 16)
        self.client.ask("train", "two", "--epochs", 1, "--width", 8)
        (folder / "kind-1" / "bad.png").write_text("no image")
        tables = [self.client.path("far.csv"), self.stack.path("near.csv")]
        for side, table in zip((self.client, self.stack), tables):
            document = side.ask("predict", folder, "--model", "two", "--out", table, code=1)
            self.assertEqual(document["out"], table)
        text = pathlib.Path(tables[0]).read_text()
        self.assertEqual(text, pathlib.Path(tables[1]).read_text())
        self.assertEqual(text.count("\n"), 26)
        # A model comes here
        to = self.client.path("pulled")
        done = self.client.ask("models", "pull", "two", "--dir", to)
        self.assertEqual(done["dir"], to)
        shown = self.stack.ask("model", "show", "two")
        self.assertEqual(digest_of(os.path.join(to, "model.json")), done["digest"])
        self.assertEqual(shown["digest"], done["digest"])
        for path in pathlib.Path(self.files, shown["path"]).iterdir():
            if os.path.exists(os.path.join(to, path.name)):
                self.assertEqual(digest_of(path), digest_of(os.path.join(to, path.name)))
        self.assertTrue(os.path.exists(os.path.join(to, "model.safetensors")))
        self.refused("models", "pull", "two", "--dir", to, code=1, name="CONFLICT", words="is there already", remedy="--dir")
        self.refused("models", "pull", "none", "--dir", to, code=3, name="NOT_FOUND", words="none",
                     remedy="inkling models")
        # Interrupted it leaves nothing
        to, service = self.client.path("cut"), self.stack.pid("blobs")
        os.kill(service, signal.SIGSTOP)
        try:
            process = self.client.start("models", "pull", "two", "--dir", to)
            until("it has begun", lambda: [name for name in os.listdir(self.client.home) if name.startswith("cut.")])
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            os.kill(service, signal.SIGCONT)
        self.assertEqual(process.returncode, 130, err)
        self.assertEqual([name for name in os.listdir(self.client.home) if name.startswith("cut")], [])
        self.client.ask("models", "pull", "two", "--dir", to)
        # What is damaged over there does not come
        weights = os.path.join(self.files, shown["path"], "model.safetensors")
        with open(weights, "r+b") as file:
            file.seek(1000)
            byte = file.read(1)
            file.seek(1000)
            file.write(bytes([byte[0] ^ 1]))
        error = self.client.ask("models", "pull", "two", "--dir", self.client.path("bad"), code=3)["error"]
        self.assertIn("model.safetensors", error["message"])
        self.assertFalse([name for name in os.listdir(self.client.home) if name.startswith("bad")])

    def test_a_copy_that_was_damaged(self):
        folder = textures(self.folder(), 10, 16, 30, kinds=2)
        self.client.ask("ingest", folder, "--name", "first", "--size", 16)
        digests = list(tree(folder).values())
        for digest in digests[:2]:
            with open(self.blob(digest), "r+b") as file:
                file.seek(60)
                file.write(b"?????")
        words = ("ingest", folder, "--name", "mended", "--size", 16)
        for _ in range(2):  # each attempt names one; the copy goes
            code, _, err = self.client.run(*words)
            if code == 0:
                break
            self.assertEqual(code, 1, err)
            self.assertRegex(err, "the stack's copy, [0-9a-f]{64}, is damaged")
            self.assertIn("again", err)
        code, _, err = self.client.run(*words)
        self.assertEqual(code, 0, err)
        self.assertEqual([digest_of(self.blob(digest)) for digest in digests], digests)

    # --- Who is not let in

    def test_strangers(self):
        port, pid = self.port + 2, self.stack.pid("blobs")
        rng = random.Random(40)
        greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"CURVE".ljust(20, b"\0") + bytes(32)
        hellos = [rng.randbytes(rng.randrange(1, 3000)) for _ in range(30)]
        hellos += [b"GET / HTTP/1.1\r\n\r\n", greeting, greeting + rng.randbytes(500), greeting[:20]]
        for hello in hellos:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as stranger:
                stranger.sendall(hello)
        context = zmq.Context()
        dealer = context.socket(zmq.DEALER)
        dealer.linger = 0
        dealer.connect(f"tcp://127.0.0.1:{port}")
        dealer.send_multipart([msgpack.packb({"v": 1, "type": "ping", "id": 1}), b"\x80"])
        self.assertEqual(dealer.poll(500), 0)
        dealer.close()
        context.term()
        self.assertEqual(self.stack.pid("blobs"), pid)

    def test_wrong_keys(self):
        """The dispatcher lets the client in, and the blobs service does not: it has another stack's address, or key."""
        folder = textures(self.folder(), 2, 16, 41, kinds=2)
        other = Stack()
        self.addCleanup(other.remove)
        other.ask("keys", "init")
        eve = other.ask("keys", "client", "eve", "--file", other.path("eve.key"))["file"]
        guest = self.stack.ask("keys", "client", "guest", "--file", self.stack.path("guest.key"))["file"]
        os.remove(self.stack.path("keys", "clients", "guest.pub"))
        for key, words in ((eve, "breaks off when it sees the key"), (guest, "refuses the key"), (None, "wants a key")):
            client = Stack(blobs=f"tcp://127.0.0.1:{self.port + 2}",
                           dispatcher="ipc://" + self.stack.path("run", "dispatcher.sock"))
            if key:
                client.environ["INKLING_CLIENT_KEY"] = key
            try:
                self.refused("ingest", folder, "--name", "d", "--detach", "--upload", code=4, name="DENIED", words=words,
                             client=client)
            finally:
                client.remove()
        self.is_whole(self.upload(folder)[0], folder)

    # --- How much it takes

    def test_memory_stays_bounded(self):
        folder, rng = self.folder(), random.Random(50)
        (folder / "a").mkdir(parents=True)
        block = rng.randbytes(1 << 20)
        for i in range(1500):
            (folder / "a" / f"{i}.jpg").write_bytes(b"%d" % i + block[:rng.randrange(350000, 1000000)])
        size = sum(path.stat().st_size for path in (folder / "a").iterdir())
        self.assertGreater(size, 1e9)
        process, peak, begun = self.begin(folder), 0, time.monotonic()
        while process.poll() is None:
            peak = max(peak, self.peak(process.pid))
            time.sleep(0.02)
        out, err = process.communicate()
        self.assertEqual(process.returncode, 0, out + err)
        service = self.peak(self.stack.pid("blobs"))
        print(f"{size / 1e9:.2f} GB in {time.monotonic() - begun:.1f} s: the command took {peak >> 10} MB, "
              f"the service {service >> 10} MB")
        if not re.search("asan|tsan", BIN):  # sanitizers take more, and that is no news
            self.assertLess(peak, RSS_MAX_KB)
            self.assertLess(service, RSS_MAX_KB)

    @staticmethod
    def peak(pid):
        """KB, at most so far."""
        try:
            with open(f"/proc/{pid}/status") as file:
                return next((int(line.split()[1]) for line in file if line.startswith("VmHWM")), 0)
        except OSError:
            return 0


class Room(Far):
    """Room for 8 MB of uploads."""
    settings = {"uploads_mb": 8, "orphan_s": 1}

    def there(self, folder):
        return all(os.path.exists(self.blob(digest)) for digest in tree(folder).values())

    def test_what_jobs_need_stays(self):
        folders = [self.folder() for _ in range(5)]
        for i, folder in enumerate(folders):
            fill(folder, 40 if i == 3 else 22, 100000, 60 + i)
        old, needed, also, most, new = folders
        job, *_ = self.upload(old)
        self.client.ask("job", "cancel", job)
        time.sleep(2.1)  # so that nothing of it is young
        self.upload(needed)
        self.upload(also)
        until("the oldest goes, for nobody needs it", lambda: self.nudge() and not self.there(old), 60)
        self.assertTrue(self.there(needed) and self.there(also))
        job = until("there is room for what it needs", lambda: self.submit(most), 60)
        until("all that is there is needed, and too much", lambda: not self.nudge(), 60)
        error = self.refused("ingest", new, "--name", "d", "--detach", code=4, name="FULL", words="uploads_mb is 8",
                             remedy="when jobs have ended")
        self.assertIn("jobs need what is there", error["message"])
        self.assertIn("uploads are refused", self.stack.run("status")[1])
        self.assertTrue(self.there(needed) and self.there(also) and self.there(most))
        self.client.ask("job", "cancel", job)
        until("there is room again", lambda: self.submit(new), 60)
        self.assertTrue(self.there(needed) and self.there(also) and self.there(new))

    def submit(self, folder):
        """The job's id, or nothing: it was refused for want of room."""
        code, out, err = self.client.run("ingest", folder, "--name", "d", "--detach", "--delay-ms", 10000000)
        self.assertIn(code, (0, 4), err)
        return out.strip() if code == 0 else time.sleep(0.5)

    def nudge(self):
        """A small upload that nobody needs; whether it was taken. The service looks how much there is, now and then."""
        folder = self.folder()
        fill(folder, 2, 200000, random.randrange(1 << 30))
        job = self.submit(folder)
        if job:
            self.client.ask("job", "cancel", job)
        return bool(job)


class Volume(Far):
    """The stack's files are on a disk of 64 MB."""
    settings = {"disk_reserve_mb": 0}
    disk = None

    @classmethod
    def before_up(cls):
        disk = cls.stack.path("volume")
        os.makedirs(disk)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "inkling-test", disk], capture_output=True,
                              text=True, check=False)
        if done.returncode:
            raise unittest.SkipTest(f"NOT TESTED: a full disk needs the right to mount one: {done.stderr.strip()}")
        cls.disk = disk
        cls.cleanup.append(lambda: subprocess.run(["umount", "--lazy", disk], check=True))
        cls.stack.environ["INKLING_FILES"] = disk
        super().before_up()

    @classmethod
    def tearDownClass(cls):
        cls.stack.down()
        cls.client.remove()
        for action in cls.cleanup:
            action()
        cls.stack.remove()

    def test_full_and_read_only(self):
        folder = self.folder()
        fill(folder, 300, 100000, 80)
        first = textures(self.folder(), 3, 16, 81, kinds=2)
        job, *_ = self.upload(first)
        filler = os.path.join(self.disk, "filler")
        with open(filler, "wb") as file:
            file.write(bytes(45 << 20))
        error = self.refused("ingest", folder, "--name", "d", "--detach", code=4, name="FULL", words=self.disk,
                             remedy="make room")
        self.assertRegex(error["message"], "is full|MB are free")
        self.is_whole(job, first)
        os.remove(filler)
        again, sent, *_ = self.upload(folder)
        self.assertLess(sent, 300)  # what was taken before it was full is there
        self.is_whole(again, folder)
        # Nobody may write any more
        more = self.folder()
        fill(more, 3, 100000, 82)
        done = subprocess.run(["mount", "-o", "remount,ro", self.disk], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        try:
            error = self.refused("ingest", more, "--name", "d", "--detach", code=1, name="IO", words=self.disk,
                                 remedy="writable")
            self.assertIn("Read-only file system", error["message"])
        finally:
            subprocess.run(["mount", "-o", "remount,rw", self.disk], check=True)
        self.is_whole(self.upload(more)[0], more)


if __name__ == "__main__":
    unittest.main(verbosity=2)
