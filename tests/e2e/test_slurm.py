"""ops/slurm/trainer.sbatch under a real Slurm of one machine: its own munge, controller and node, started here."""

import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from stack import BIN, PATIENCE, Stack, StackTest, free_port, three_free_ports, until

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = str(ROOT / "ops" / "slurm" / "trainer.sbatch")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "scontrol", "sinfo", "squeue")
TRAIN = ("train", "demo", "--width", 16, "--seed", 3, "--epochs")
LONG_S = 45  # of training, whatever the machine: it is ended in its middle, by a Slurm that looks at limits every 30 s
# Debian has the daemons in /usr/sbin.
PATH = os.pathsep.join((BIN, os.environ["PATH"], "/usr/sbin", "/sbin"))

CONFIG = """ClusterName=inkling-test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmdPort={node_port}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
MailProg=/bin/true
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Slurm:
    """Everything of it is under one folder and on loopback, and ends with close()."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="slurm-")
        os.chmod(self.folder, 0o711)  # munge wants its socket to be reachable
        self.config = os.path.join(self.folder, "slurm.conf")
        self.environ = dict(os.environ, PATH=PATH, SLURM_CONF=self.config)
        self.daemons = []
        for name in ("state", "spool"):
            os.mkdir(os.path.join(self.folder, name), 0o755)
        with open(self.config, "w") as file:
            file.write(CONFIG.format(folder=self.folder, host=socket.gethostname().split(".")[0],
                                     user=pwd.getpwuid(os.geteuid()).pw_name,
                                     ctld_port=free_port(), node_port=free_port()))

    def path(self, name):
        return os.path.join(self.folder, name)

    def daemon(self, *words):
        with open(self.path(words[0] + ".log"), "w") as log:
            self.daemons.append(subprocess.Popen(words, env=self.environ, cwd=self.folder, stdout=log, stderr=log,
                                                 stdin=subprocess.DEVNULL, start_new_session=True))

    def start(self):
        with open(os.open(self.path("munge.key"), os.O_WRONLY | os.O_CREAT, 0o600), "wb") as key:
            key.write(os.urandom(1024))
        self.daemon("munged", "--foreground", "--force", "--socket", self.path("munge.sock"),
                    "--key-file", self.path("munge.key"), "--pid-file", self.path("munged.pid"),
                    "--seed-file", self.path("munged.seed"), "--log-file", self.path("munged.log"))
        until("munge answers", lambda: os.path.exists(self.path("munge.sock")), 60)
        self.daemon("slurmctld", "-D", "-i")
        self.daemon("slurmd", "-D")
        until(f"the node is idle\n{self.logs()}", lambda: "idle" in self.run("sinfo", "-h", "-o", "%T", check=False), 120)

    def run(self, *words, environ=None, check=True):
        """Its standard output."""
        done = subprocess.run([*map(str, words)], env=dict(self.environ, **(environ or {})), cwd=self.folder, text=True,
                              capture_output=True, stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False)
        if check and done.returncode:
            raise AssertionError(f"{words}: exit {done.returncode}: {done.stdout}{done.stderr}\n{self.logs()}")
        return done.stdout

    def logs(self):
        return "\n".join(f"--- {path.name}\n" + path.read_text(errors="replace")[-3000:]
                         for path in sorted(pathlib.Path(self.folder).glob("*.log")))

    def state(self, job):
        """RUNNING, COMPLETED … or "" once it is forgotten."""
        words = self.run("scontrol", "show", "job", job, "-o", check=False).split()
        return next((word.partition("=")[2] for word in words if word.startswith("JobState=")), "")

    def ours(self):
        """Processes that were started with this configuration: the daemons, and the steps of jobs."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and f"SLURM_CONF={self.config}\0".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                pass
        return found

    def end_jobs(self):
        self.run("scancel", "--signal=KILL", "--full", "--user", str(os.geteuid()), check=False)
        until("no job of Slurm is left", lambda: not self.run("squeue", "-h", check=False), 60)

    def close(self):
        if self.daemons:
            self.end_jobs()
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in self.daemons:
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for pid in self.ours():
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)


class Trainers(StackTest):
    """The stack's own trainer is stopped all the while: what is trained is trained by jobs of Slurm."""

    settings = {"threads": 1}  # as --cpus-per-task below, so that the same bits come of it

    @classmethod
    def setUpClass(cls):
        missing = [program for program in PROGRAMS if not shutil.which(program, path=PATH)]
        if missing:
            raise unittest.SkipTest("NOT TESTED: ops/slurm/trainer.sbatch needs a Slurm to run under, and there is no "
                                    + ", ".join(missing) + " (Debian: slurmctld, slurmd, slurm-client, munge)")
        cls.slurm = Slurm()
        cls.addClassCleanup(cls.slurm.close)
        cls.slurm.start()
        super().setUpClass()

    @classmethod
    def before_up(cls):
        port = three_free_ports()
        cls.stack.ask("keys", "init")
        cls.key = cls.stack.ask("keys", "client", "nodes", "--file", cls.stack.path("nodes.key"))["file"]
        cls.address = f"tcp://127.0.0.1:{port}"
        for above, service in enumerate(("dispatcher", "gateway", "blobs", "studies")):
            cls.stack.environ[f"INKLING_{service.upper()}_LISTEN"] = f"tcp://127.0.0.1:{port + above}"

    @classmethod
    def prepare(cls):
        cls.stack.ask("demo-data", cls.stack.path("demo"), "--count", 60)
        cls.stack.ask("ingest", cls.stack.path("demo"), "--name", "demo")
        cls.train, cls.undisturbed = cls.stack.train_long(TRAIN, 10, LONG_S)
        # A home as the nodes see it: addresses and a key.
        cls.nodes = Stack()
        cls.addClassCleanup(cls.nodes.remove)
        cls.nodes.ask("stack", "add", "lab", cls.address, "--key", cls.key)
        cls.own = cls.stack.pid("trainer-0")
        os.kill(cls.own, signal.SIGSTOP)
        until("the stack's own trainer is lost", lambda: cls.states()["trainer-0"] == "lost")

    @classmethod
    def tearDownClass(cls):
        if hasattr(cls, "own"):
            os.kill(cls.own, signal.SIGCONT)
        super().tearDownClass()

    @classmethod
    def states(cls):
        return {worker["worker"]: worker["state"] for worker in cls.stack.ask("workers")}

    def setUp(self):
        self.addCleanup(self.slurm.end_jobs)

    def sbatch(self, *settings, options=()):
        """The number of a job that is a trainer. It sees none of the stack's files."""
        return self.slurm.run("sbatch", "--parsable", "--cpus-per-task", 1, *options, SCRIPT, "lab", *settings,
                              environ={"INKLING_HOME": self.nodes.home}).strip()

    def log(self, job):
        return pathlib.Path(self.slurm.path(f"inkling-trainer-{job}.log")).read_text()

    def name(self, job):
        return f"trainer-{socket.gethostname().split('.')[0][:14]}-{job}"

    def ended_well(self, job):
        until(f"job {job} of Slurm ends", lambda: self.slurm.state(job) not in ("RUNNING", "COMPLETING", "PENDING"))
        self.assertEqual(self.slurm.state(job), "COMPLETED", self.log(job))
        self.assertNotIn(self.name(job), self.states())

    def given_back(self, end, options=()):
        """A trainer that is ended in the midst of a job gives it back, and the next one goes on from its checkpoint."""
        job = self.stack.ask(*self.train, "--model", f"given-{end.__name__}", "--detach")["job"]
        first = self.sbatch(options=options)
        until("it trains", lambda: self.stack.ask("job", "show", job)["progress"] > 0.05)
        end(first)
        until("the job waits again", lambda: self.stack.ask("job", "show", job)["state"] == "queued")
        until("Slurm's job is over", lambda: self.slurm.state(first) not in ("RUNNING", "COMPLETING"))
        self.assertNotIn(self.name(first), self.states())
        self.assertIn("draining", self.log(first))
        second = self.sbatch("--idle-exit-s", 3)
        followed = self.stack.ask("job", "follow", job)
        self.assertEqual(followed["weights_sha256"], self.undisturbed["weights_sha256"])
        self.assertEqual(self.stack.ask("job", "show", job)["attempts"], 2)
        self.assertIn("goes on from step", self.stack.run("job", "logs", job)[1])
        self.ended_well(second)

    def test_two_trainers_do_the_work_and_leave(self):
        jobs = [self.stack.ask(*TRAIN, 2, "--model", f"slurm-{n}", "--detach")["job"] for n in range(2)]
        trainers = [self.sbatch("--idle-exit-s", 3) for _ in range(2)]
        for job in jobs:
            self.assertEqual(self.stack.ask("job", "follow", job)["model"][:6], "slurm-")
        for trainer in trainers:
            self.ended_well(trainer)

    def test_scancel_gives_the_job_back(self):
        self.given_back(self.scancel)

    def scancel(self, trainer):
        self.slurm.run("scancel", trainer)

    def test_the_time_limit_gives_the_job_back(self):
        self.given_back(self.near_the_limit, ("--time", 60, "--signal", "B:TERM@119"))

    def near_the_limit(self, trainer):
        """The limit comes near only now: from the start on, the signal might come before the first progress, as
        Slurm looks at the limits every 30 s and sends it up to a minute early."""
        self.slurm.run("scontrol", "update", f"JobId={trainer}", "TimeLimit=2")
        begin = time.monotonic()
        until("the time limit's signal comes", lambda: "draining" in self.log(trainer), 180)
        print(f"the signal came {time.monotonic() - begin:.0f} s after the limit was set", flush=True)

    def test_a_stack_that_is_not_known(self):
        job = self.slurm.run("sbatch", "--parsable", "--cpus-per-task", 1, SCRIPT, "gone",
                             environ={"INKLING_HOME": self.nodes.home}).strip()
        until("it fails", lambda: self.slurm.state(job) == "FAILED")
        self.assertIn("no stack 'gone'", self.log(job))


if __name__ == "__main__":
    unittest.main(verbosity=2)
