"""The measures of push: one publisher, many subscribers, messages of 100 bytes. The client stamps, checks order and counts;
`push_floor` sends what it is given and does nothing else."""
import re
import shutil

from .measures import MEASURES, measure, pairs
from .servers import CLIENT_CORE, FLOOR, HERE, OURS, STATE, Server

PUSHLOAD = STATE / "pushload"
COMMANDS = {FLOOR: [str(STATE / "push_floor")], OURS: [str(STATE / "push")], "nchan": ["sh", str(HERE / "peers" / "nchan.sh")]}
SERVERS = [FLOOR, OURS, "nchan"]


def run(name, subscribers, rate, count, *extra, command=(), tls=False, transport="sse"):
    with Server(f"push {name}", [*COMMANDS[name], "{port}", *map(str, command)], tls=tls) as server:
        out, _ = server.load([
            PUSHLOAD, "--addr", f"127.0.0.1:{server.port}", "--path", "/feed", "--pub-path", "/feed", "--transport", transport,
            "--subs", subscribers, "--rate", rate, "--count", count, "--size", 100, "--pids", ",".join(map(str, server.pids)), *extra,
        ], timeout=100)
        figures = pairs(out)
        if "srv_us" not in figures:
            raise RuntimeError(out.strip()[-300:])
        if figures.get("gaps", "0") != "0" or figures.get("disorder", "0") != "0":
            raise RuntimeError(f"messages lost or out of order: {out.strip()[-300:]}")
        return figures, out.strip().splitlines()[0], server.ask("/runs") if name == OURS else ""


def fan_out(name, subscribers, rate, count):
    if name not in SERVERS or name == "nchan" and not shutil.which("nginx", path="/usr/sbin:/usr/bin"):
        return
    figures, note, runs = run(name, subscribers, rate, count)
    yield f"fanout_{subscribers}_us", float(figures["srv_us"]), note
    yield f"fanout_{subscribers}_p99_ms", float(figures["p99_ms"]), note
    yield f"accept_{subscribers}_us", float(figures["conn_cpu_us"]), "accept and subscribe"
    if subscribers == 10000:
        yield "subscriber_bytes", float(figures["rss_per_sub_b"]), "resident, per subscriber"
    if runs:
        longest = pairs(runs)
        yield f"push_run_{subscribers}_us", float(longest["took_max"]), runs


@measure
def push1k(name, seconds):
    """1,000 subscribers, 50 messages a second."""
    del seconds
    yield from fan_out(name, 1000, 50, 150)


@measure
def push10k(name, seconds):
    """10,000 subscribers, 5 messages a second."""
    del seconds
    yield from fan_out(name, 10000, 5, 20)


@measure
def push19k(name, seconds):
    """19,000 subscribers, 2 messages a second."""
    del seconds
    yield from fan_out(name, 19000, 2, 10)


@measure
def pushbatch(name, seconds):
    """1,000 subscribers, ten messages pending for each send."""
    del seconds
    if name in (FLOOR, OURS):
        figures, note, _ = run(name, 1000, 200, 600, command=[10] if name == OURS else [10])
        yield "fanout_batch_us", float(figures["srv_us"]), note


@measure
def pushfull(name, seconds):
    """1,000 subscribers, as many messages as go."""
    del seconds
    if name in (FLOOR, OURS):
        figures, note, _ = run(name, 1000, 0, 300)
        yield "fanout_per_s", float(figures["per_s"]), note
