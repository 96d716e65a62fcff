"""Runs a server on a core of its own and reads what it costs from /proc.

Rule: every process started here is ended here, by its id, whatever happens in between.
"""
import http.client
import itertools
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent.parent
STATE = HERE / "state"
PEERS = {
    "mhd": [str(STATE / "mhd")],
    "evhttp": [str(STATE / "evhttp")],
    "lws": [str(STATE / "lws")],
    "h2o": [str(STATE / "h2o")],
    "nginx": [str(HERE / "peers" / "nginx.sh")],
}
FLOOR = "floor"
OURS = "encke"
COMMANDS = {
    FLOOR: [str(STATE / "floor")],
    OURS: [str(STATE / "build" / "c-examples" / "testbed")],
    **PEERS,
}


def available():
    """Those that are built or installed here; nginx.sh needs nginx itself."""
    nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    return [name for name, command in COMMANDS.items() if os.access(command[0], os.X_OK) and (name != "nginx" or nginx)]


CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, CLIENT_CORE = CORES[0], CORES[-1]
PORTS = itertools.count(20000 + os.getpid() % 1000 * 10)


def pinned(core, command):
    return ["taskset", "-c", str(core), *map(str, command)]


def free_port():
    for port in PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def process_tree(pid):
    """The process and its descendants."""
    found = [pid]
    for p in found:
        for children in pathlib.Path(f"/proc/{p}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:
                pass
    return found


def cpu_seconds(pids):
    """CPU time of all threads, user and kernel, to the nanosecond."""
    total = 0
    for pid in pids:
        for stat in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
            total += int(stat.read_text().split()[0])
    return total / 1e9


def memory_kib(pids):
    """(resident, private) KiB."""
    resident = private = 0
    for pid in pids:
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            key, *value = line.split()
            if key == "Rss:":
                resident += int(value[0])
            elif key in ("Private_Dirty:", "Private_Clean:"):
                private += int(value[0])
    return resident, private


def threads(pids):
    return sum(len(os.listdir(f"/proc/{pid}/task")) for pid in pids)


class Server:
    """`with Server(name) as s:` — started, answering on s.port, pinned to its core; ended on the way out."""

    def __init__(self, name, command=None, tls=False, plain_too=False):
        self.name = name
        self.port = free_port()
        self.tls = tls
        self.plain_port = free_port() if plain_too else None
        command = list(command or COMMANDS[name])
        if not any("{port}" in part for part in command):
            command.append(str(self.port))
        command = [part.replace("{port}", str(self.port)) for part in command] + ["tls"] * tls
        command += [str(self.plain_port)] * plain_too
        self.log = open(STATE / "servers.log", "a")
        self.process = subprocess.Popen(
            pinned(SERVER_CORE, command),
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env={**os.environ, "STATE": str(STATE)}, cwd=HERE,
        )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.__exit__()
            raise
        self.pids = process_tree(self.process.pid)

    def _wait_until_it_answers(self):
        deadline = time.monotonic() + 5
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}: see {STATE / 'servers.log'}")
            try:
                # An answered request, not only a connection: a worker process may still be starting behind the listener.
                self.ask("/plaintext")
                return
            except (OSError, http.client.HTTPException) as why:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{self.name} does not answer: {why}") from why
            time.sleep(0.02)

    def ask(self, path):
        """The body of GET path, on a connection of its own; with TLS the certificate is verified."""
        if self.tls:
            trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            trusted.load_verify_locations(STATE / "cert.pem")
            connection = http.client.HTTPSConnection("localhost", self.port, timeout=1, context=trusted)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        pids = process_tree(self.process.pid)
        for sig in (signal.SIGTERM, signal.SIGKILL):
            for pid in pids:
                try:
                    os.kill(pid, sig)
                except OSError:
                    pass
            try:
                self.process.wait(3)
                break
            except subprocess.TimeoutExpired:
                pass
        self.log.close()
        for work in STATE.glob("nginx.*"):
            shutil.rmtree(work, ignore_errors=True)

    def load(self, command, timeout=60, plain_openssl=False):
        """Runs a client on the other core: (its output, the server's CPU seconds meanwhile)."""
        config = os.devnull if plain_openssl else HERE / "clients" / "openssl.cnf"
        before = cpu_seconds(self.pids)
        done = subprocess.run(
            pinned(CLIENT_CORE, command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout,
            env={**os.environ, "OPENSSL_CONF": str(config)}, cwd=HERE,
        )
        return done.stdout, cpu_seconds(self.pids) - before

    def idle(self, connections):
        return Idle(self, connections)


class Idle:
    """`with server.idle(5000) as held:` — so many connections that have been answered once and now do nothing."""

    def __init__(self, server, connections):
        self.server = server
        self.wanted = connections

    def __enter__(self):
        self.client = subprocess.Popen(
            pinned(CLIENT_CORE, [STATE / "idle", self.server.port, self.wanted, *["tls"] * self.server.tls]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE,
        )
        line = self.client.stdout.readline()
        if f"held={self.wanted} " not in line:
            self.__exit__()
            raise RuntimeError(f"{self.server.name}: {line.strip() or 'no idle connections'}")
        return self.wanted

    def __exit__(self, *unused):
        self.client.stdin.close()
        try:
            self.client.wait(20)
        except subprocess.TimeoutExpired:
            self.client.kill()
            self.client.wait()


def request(path, body=b""):
    if not body:
        return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
