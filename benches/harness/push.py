"""Fan-out: one publisher, many subscribers, messages of 100 bytes over server-sent events. The client (clients/pushload) stamps what it
publishes, checks every subscriber's order and gaps, and counts. The floor (peers/push_floor.c) holds sockets and sends.

Each case: its name, subscribers, messages a second (0: as many as go), messages in all, and what a server is called with.
"""
import shutil

from .servers import FLOOR, HERE, OURS, STATE, Server
from .measures import pairs

NCHAN = "nchan"
COMMANDS = {
    FLOOR: [str(STATE / "push_floor"), "{port}"],
    OURS: [str(STATE / "push"), "{port}"],
    NCHAN: ["sh", str(HERE / "peers" / "nchan.sh"), "{port}"],
}
# name: (title, subscribers, rate, count, batch, tls, servers)
CASES = {
    "1000": ("1,000 subscribers", 1000, 50, 150, 0, False, [FLOOR, OURS, NCHAN]),
    "10000": ("10,000 subscribers", 10000, 5, 20, 0, False, [FLOOR, OURS, NCHAN]),
    "19000": ("19,000 subscribers", 19000, 2, 10, 0, False, [FLOOR, OURS, NCHAN]),
    "pending": ("1,000 subscribers, ten messages pending at each send", 1000, 200, 600, 10, False, [FLOOR, OURS]),
    "saturated": ("1,000 subscribers, as many messages as go", 1000, 0, 300, 0, False, [FLOOR, OURS, NCHAN]),
    "websocket": ("1,000 subscribers, WebSocket", 1000, 50, 150, 0, False, [OURS, NCHAN]),
    "multipart": ("1,000 subscribers, multipart", 1000, 50, 150, 0, False, [OURS, NCHAN]),
    "1000-tls": ("1,000 subscribers over TLS, the floor without", 1000, 50, 150, 0, True, [FLOOR, OURS]),
    "10000-tls": ("10,000 subscribers over TLS, the floor without", 10000, 5, 20, 0, True, [FLOOR, OURS]),
    "stalled": ("1,000 subscribers, one of them reads nothing", 1000, 50, 150, 0, False, [OURS]),
}


def available(name):
    return name != NCHAN or shutil.which("nginx", path="/usr/sbin:/usr/bin")


def run(name, case):
    """The figures of one run, as the client prints them, and how long encke_run took."""
    _, subscribers, rate, count, batch, tls, _ = CASES[case]
    command = [*COMMANDS[name], *([str(batch)] if batch else [])]
    transport = {"websocket": "ws", "multipart": "multipart"}.get(case, "sse")
    tls &= name == OURS
    with Server(f"push {name}", command, tls=tls) as server:
        out, _ = server.load([
            STATE / "pushload", "--addr", f"127.0.0.1:{server.port}", "--path", "/feed", "--pub-path", "/pub" if name == NCHAN else "/feed",
            "--transport", transport, "--subs", subscribers,
            *(["--tls", 1, "--pub-addr", f"127.0.0.1:{server.port + 1}"] if tls else []),
            "--rate", rate, "--count", count, "--size", 100, "--pids", ",".join(map(str, server.pids)), "--stall", int(case == "stalled"),
        ], timeout=100)
        figures = pairs(out)
        good = figures.get("gaps") == "0" and figures.get("disorder") == "0" and figures.get("failed") == "0"
        if not good or "srv_us" not in figures:
            raise RuntimeError(f"{name}: {out.strip()[-300:]}")
        runs = pairs(server.ask("/runs")) if name == OURS else {}
        return {key: float(figures[key]) for key in ("srv_us", "p50_ms", "p99_ms", "max_ms", "conn_cpu_us", "rss_per_sub_b", "per_s")}, runs
