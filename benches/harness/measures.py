"""The measures. Each takes a running set-up (server name, seconds per load) and yields (metric, value, note).

CPU is the server's, of all its threads, kernel included, in microseconds per request: on a shared machine that figure and ratios
of it hold still where rates do not.
"""
import pathlib
import re
import signal
import socket
import subprocess
import time

from . import servers
from .servers import FLOOR, HERE, OURS, STATE, Server, request

MEASURES = {}


def measure(function):
    MEASURES[function.__name__] = function
    return function


def wrk(server, seconds, *extra):
    origin = f"{'https://localhost' if server.tls else 'http://127.0.0.1'}:{server.port}"
    out, cpu = server.load(["wrk", "-t1", "-c64", "--latency", f"-d{seconds}s", *extra, f"{origin}/plaintext"])
    requests = re.search(r"(\d+) requests in", out)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    errors = re.findall(r"Non-2xx.*|Socket errors.*", out)
    p99 = re.search(r"99%\s+(\S+)", out)
    if not requests or not int(requests[1]) or errors:
        raise RuntimeError(f"wrk: {' '.join(errors) or out[-200:]}")
    return cpu / int(requests[1]) * 1e6, f"{float(rate[1]):.0f}/s, p99 {p99[1]}"


def load(server, seconds, *extra):
    """Our checking client: (CPU µs per request, its figures)."""
    out, cpu = server.load([STATE / "load", "-p", server.port, "-t", seconds, *["-s"] * server.tls, *extra])
    figures = pairs(out)
    if not int(figures.get("ok", 0)) or figures["bad"] != "0" or figures["lost"] != "0":
        raise RuntimeError(f"load: {out.strip()}")
    return cpu / int(figures["ok"]) * 1e6, figures


def pairs(out):
    """The key=value pairs of a client's output; what else it says is left out."""
    return dict(re.findall(r"(\w+)=(\S+)", out))


@measure
def tput(name, seconds):
    """64 connections, one request at a time on each."""
    with Server(name) as server:
        us, note = wrk(server, seconds)
        yield "plaintext_us", us, note


@measure
def pipe(name, seconds):
    """64 connections, 16 requests at a time on each."""
    with Server(name) as server:
        us, note = wrk(server, seconds, "-s", HERE / "clients" / "pipe.lua")
        yield "pipelined_us", us, note


@measure
def sys(name, seconds):
    """System calls per request on one connection, one at a time and 16 at a time."""
    del seconds
    requests = 1024
    with Server(name) as server:
        for depth in (1, 16):
            counts = STATE / f"strace.{name}"
            attach = [part for pid in server.pids for part in ("-p", str(pid))]
            tracer = subprocess.Popen(["strace", "-f", "-c", "-o", counts, *attach], stderr=subprocess.DEVNULL)
            try:
                wait_until_traced(server.pids, tracer)
                server.load([STATE / "load", "-p", server.port, "-c", 1, "-d", depth, "-n", requests, "-t", 20])
            finally:
                tracer.send_signal(signal.SIGINT)
                tracer.wait(10)
            rows = [line.split() for line in counts.read_text().splitlines() if re.match(r"\s*\d", line)]
            calls = {row[-1]: int(row[3]) for row in rows if row[-1] != "total"}
            counts.unlink()
            most = sorted(calls.items(), key=lambda c: -c[1])[:6]
            yield (
                f"syscalls_{depth}", sum(calls.values()) / requests,
                ", ".join(f"{call} {n / requests:.2f}" for call, n in most),
            )


def wait_until_traced(pids, tracer):
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and tracer.poll() is None:
        if all("TracerPid:\t0\n" not in pathlib.Path(f"/proc/{pid}/status").read_text() for pid in pids):
            return
        time.sleep(0.02)
    raise RuntimeError("strace cannot attach (kernel.yama.ptrace_scope?)")


@measure
def mem(name, seconds):
    """User memory per idle connection, over 10,000 of them."""
    del seconds
    with Server(name) as server:
        yield "idle_bytes", *idle_memory(server, 10000)


def idle_memory(server, connections):
    load(server, 2, "-c", 4, "-n", 200)
    _, before = servers.memory_kib(server.pids)
    with server.idle(connections) as held:
        _, after = servers.memory_kib(server.pids)
    return (after - before) * 1024 / held, f"private {before} -> {after} KiB"


@measure
def delayed(name, seconds):
    """1,000 connections whose requests are each answered by a 10 ms timer."""
    if name == FLOOR:
        return
    with Server(name) as server:
        us, figures = load(server, seconds, "-c", 1000, "-u", "/delay")
        yield "delayed_us", us, f"{figures['rate']}/s, p50 {figures['p50_us']} µs, p99 {figures['p99_us']} µs"


def exchange(server, sent, answers, last=b"", timeout=5):
    """Sends it in one piece on one connection: (the bytes that came back, ms of each answer's arrival)."""
    with socket.create_connection(("127.0.0.1", server.port)) as s:
        s.settimeout(timeout)
        start = time.monotonic()
        s.sendall(sent)
        data, arrivals = b"", []
        while len(arrivals) < answers or last not in data:
            try:
                piece = s.recv(1 << 16)
            except TimeoutError:
                break
            if not piece:
                break
            data += piece
            seen = len(re.findall(rb"HTTP/1\.1 200", data))
            arrivals += [(time.monotonic() - start) * 1000] * (seen - len(arrivals))
    if len(arrivals) < answers:
        raise RuntimeError(f"{len(arrivals)} of {answers} answers")
    return data, arrivals


@measure
def apipe(name, seconds):
    """Are pipelined requests in the host's hands beside each other, and answered in order?"""
    del seconds
    if name == FLOOR:
        return
    with Server(name) as server:
        _, at = exchange(server, request("/delay200") * 2, 2)
        yield "two_200ms", at[-1], f"answers after {at[0]:.0f} and {at[1]:.0f} ms"
        data, _ = exchange(server, request("/delay200") + request("/echo", b"second"), 2, b"second")
        first, second = data.find(b"Hello, World!"), data.find(b"second")
        yield "in_order", float(0 <= first < second), "/delay200, then /echo"
        _, at = exchange(server, request("/delay") * 64, 64)
        yield "sixty_four_10ms", at[-1], f"first after {at[0]:.0f} ms"


@measure
def comet(name, seconds):
    """16 busy connections beside 5,000 idle ones, as a ratio to the same without them (before and after)."""
    with Server(name) as server:
        before, _ = load(server, seconds, "-c", 16)
        cpu = servers.cpu_seconds(server.pids)
        with server.idle(5000) as held:
            accepts = (servers.cpu_seconds(server.pids) - cpu) / held * 1e6
            beside, _ = load(server, seconds, "-c", 16)
        # The server may still be closing them: wait until it rests.
        busy = servers.cpu_seconds(server.pids)
        for _ in range(100):
            time.sleep(0.1)
            now = servers.cpu_seconds(server.pids)
            if now - busy < 0.001:
                break
            busy = now
        after, _ = load(server, seconds, "-c", 16)
        yield "beside_idle_ratio", beside / ((before + after) / 2), f"{before:.2f}, {beside:.2f}, {after:.2f} µs"
        yield "accept_us", accepts, "accept, first request, its answer"


@measure
def start(name, seconds):
    """What a server weighs before its first client."""
    del seconds
    with Server(name) as server:
        resident, private = servers.memory_kib(server.pids)
        yield "start_kib", resident, f"private {private} KiB"
        yield "threads", servers.threads(server.pids), f"{len(server.pids)} processes"


@measure
def size(name, seconds):
    """The stripped library in three builds, and the memory of the smallest program with the whole one. Ours only."""
    del seconds
    build = STATE / "build"
    if name != OURS or not (build / "libencke.so").exists():
        return
    stripped = STATE / "libencke.stripped"
    builds = [("library_kb", "build.http", "HTTP alone"), ("library_tls_kb", "build.tls", "HTTP and TLS"), ("library_all_kb", "build", "everything")]
    for metric, folder, what in builds:
        library = STATE / folder / "libencke.so"
        if not library.exists():
            continue
        subprocess.run(["strip", "-o", stripped, library.resolve()], check=True)
        yield metric, stripped.stat().st_size / 1000, f"libencke.so, {what}, stripped"
        stripped.unlink()
    with Server("hello", [str(build / "c-examples" / "hello"), "127.0.0.1:{port}"]) as server:
        resident, private = servers.memory_kib(server.pids)
        yield "hello_kib", resident, f"c-examples/hello, private {private} KiB"
