"""Hosts on one machine: namespaces with a network and a disk (in memory) of their own, and links between them, which can
be cut and made slow.

All of it ends with this process, however that ends: a namespace lives as long as the process that holds it, whose
standard input ends with us, and whatever runs in there is killed with us."""

import os
import shutil
import signal
import subprocess
import tempfile

from stack import BIN, Stack, until

PORT = 7420  # of the dispatcher; gateway and blobs have the next two
LOST = "02:00:00:00:00:99"  # an address of Ethernet that nobody has


def why_not():
    """What is missing for hosts of our own, or nothing."""
    if os.geteuid() != 0:
        return "that needs root"
    for program, package in (("ip", "iproute2"), ("tc", "iproute2"), ("unshare", "util-linux"),
                             ("nsenter", "util-linux"), ("setpriv", "util-linux")):
        if not shutil.which(program):
            return f"the program {program} of the package {package} is missing"
    done = subprocess.run(["unshare", "--net", "--mount", "sh", "-c", "mount -t tmpfs tmpfs /mnt && ip link add inkx type veth peer name inky && "
                           "tc qdisc add dev inkx root tbf rate 40mbit burst 64kb latency 200ms"],
                          capture_output=True, text=True, check=False)
    return done.stderr.strip() or (f"unshare exits with {done.returncode}" if done.returncode else "")


class Host:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="inkh-")
        self.links, self.homes = 0, 0
        self.holder = subprocess.Popen(["unshare", "--net", "--mount", "cat"], stdin=subprocess.PIPE,
                                       stdout=subprocess.DEVNULL)
        spaces = f"/proc/{self.holder.pid}/ns/"
        until("namespaces of its own", lambda: all(os.readlink(spaces + kind) != os.readlink("/proc/self/ns/" + kind)
                                                   for kind in ("net", "mnt")), 30)
        self.inside = ["nsenter", f"--net={spaces}net", f"--mount={spaces}mnt", "--"]
        self.call("mount", "-t", "tmpfs", "-o", "mode=700", "tmpfs", self.folder)
        self.call("ip", "link", "set", "lo", "up")

    def call(self, *words):
        return subprocess.run([*self.inside, *words], capture_output=True, text=True, check=True).stdout

    def seen(self, path):
        """Where we find what the host has at that path."""
        return f"/proc/{self.holder.pid}/root{path}"

    def end(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdin.close()
        os.rmdir(self.folder)


class Link:
    """Between the first host and another: 10.77.N.1 and 10.77.N.2."""

    def __init__(self, near, far):
        near.links += 1
        self.near, self.far, self.name = near, far, f"far{near.links}"
        self.addresses = f"10.77.{near.links}.1", f"10.77.{near.links}.2"
        near.call("ip", "link", "add", self.name, "type", "veth", "peer", "name", "home",
                  "netns", str(far.holder.pid))
        for host, device, address in self.ends():
            host.call("ip", "address", "add", address + "/24", "dev", device)
            host.call("ip", "link", "set", device, "up")

    def ends(self):
        return (self.near, self.name, self.addresses[0]), (self.far, "home", self.addresses[1])

    def pull(self):
        """Both sides see that there is no link."""
        self.near.call("ip", "link", "set", self.name, "down")

    def lose(self):
        """Nobody sees anything: what is sent does not arrive."""
        for (host, device, _), (_, _, other) in zip(self.ends(), reversed(self.ends())):
            host.call("ip", "neighbour", "replace", other, "lladdr", LOST, "dev", device, "nud", "permanent")

    def mend(self):
        self.near.call("ip", "link", "set", self.name, "up")
        for (host, device, _), (_, _, other) in zip(self.ends(), reversed(self.ends())):
            subprocess.run([*host.inside, "ip", "neighbour", "del", other, "dev", device], check=False,
                           capture_output=True)

    def slow(self, mbit):
        """0: as fast as it goes."""
        for host, device, _ in self.ends():
            if mbit:
                host.call("tc", "qdisc", "replace", "dev", device, "root", "tbf", "rate", f"{mbit}mbit",
                          "burst", "64kb", "latency", "200ms")
            else:
                subprocess.run([*host.inside, "tc", "qdisc", "del", "dev", device, "root"], check=False,
                               capture_output=True)


class Home(Stack):
    """A home on a host, and the processes that were started with it."""

    def __init__(self, host, **settings):
        self.host = host
        host.homes += 1
        super().__init__(home=os.path.join(host.folder, f"home{host.homes}"), **settings)
        self.before = [*host.inside, "setpriv", "--pdeathsig", "KILL", "--"]
        self.processes = {}
        os.mkdir(self.seen(), 0o700)

    def seen(self, *parts):
        """Where we find what it knows as path(*parts)."""
        return self.host.seen(self.path(*parts))

    def log(self, name):
        with open(self.seen(name + ".log"), errors="replace") as file:
            return file.read()

    def begin(self, name, program, *words, **settings):
        """Starts a program, or one anew; its output goes to NAME.log."""
        program = program if program == "redis-server" else os.path.join(BIN, program)
        with open(self.seen(name + ".log"), "a") as log:
            self.processes[name] = subprocess.Popen([*self.before, program, *map(str, words)], stdout=log, stderr=log,
                                                    stdin=subprocess.DEVNULL, env=dict(self.environ, **settings),
                                                    start_new_session=True)

    def kill(self, name):
        """Its whole group, and what it has started ends with it."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def leave(self, name):
        """As it should."""
        process = self.processes.pop(name)
        process.terminate()
        return process.wait(60)

    def serve(self):
        """The services of a stack, but no trainer."""
        os.makedirs(self.seen("run"), 0o700)
        os.makedirs(self.seen("redis"))
        self.begin("redis", "redis-server", "--port", 0, "--unixsocket", self.path("run", "redis.sock"), "--dir",
                   self.path("redis"), "--appendonly", "yes", "--appendfsync", "always", "--save", "",
                   "--databases", 1, "--maxmemory-policy", "noeviction")
        until("Redis", lambda: os.path.exists(self.seen("run", "redis.sock")), 30)
        for name, program in (("dispatcher", "inkling-dispatcher"), ("blobs", "inkling-blobs"),
                              ("ingest-0", "inkling-ingest"), ("gateway-0", "inkling-gateway")):
            self.begin(name, program, "--name", name)
            self.await_ready(name)

    def await_ready(self, name):
        until(f"{name} is ready", lambda: self.run("status", "--service", name)[0] == 0, 60)

    def end(self):
        for name in list(self.processes):
            self.kill(name)

    def all_logs(self):
        return "\n".join(f"--- {name}\n" + self.log(name[:-4])[-3000:] for name in sorted(os.listdir(self.seen()))
                         if name.endswith(".log"))
