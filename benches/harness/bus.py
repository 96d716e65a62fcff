"""The message bus: encke-bus with one encke-pub and thousands of encke-sub, messages of 100 bytes. encke-sub looks at every chunk,
order and gap; a run with anything missing has no figure. The floor (peers/push_floor.c) holds sockets and sends the same bytes.

Each case: its name, subscribers, messages a second, messages in all, rounds, and who takes part: where a floor stands beside ours,
every send carries one message; elsewhere a bus that is behind may send several together.
"""
import subprocess
import time

from .measures import pairs
from .servers import CLIENT_CORE, FLOOR, HERE, OURS, STATE, Server, cpu_seconds, memory_kib, pinned

TOOLS = STATE / "build" / "tools"
COMMANDS = {
    FLOOR: [str(STATE / "push_floor"), "{port}"],
    OURS: [str(TOOLS / "encke-bus"), "--listen", "127.0.0.1:{port}"],
}
# name: (title, subscribers, rate, count, rounds, servers)
CASES = {
    "1000": ("1,000 subscribers, 100 messages/s", 1000, 100, 500, 5, [FLOOR, OURS]),
    "10000-slow": ("10,000 subscribers, 8 messages/s", 10000, 8, 64, 3, [FLOOR, OURS]),
    "19000-slow": ("19,000 subscribers, 4 messages/s", 19000, 4, 32, 3, [FLOOR, OURS]),
    "10000": ("10,000 subscribers, 100 messages/s", 10000, 100, 1000, 1, [OURS]),
    "19000": ("19,000 subscribers, 100 messages/s", 19000, 100, 1000, 1, [OURS]),
    "goal": ("19,000 subscribers, 20 messages/s for 60 s", 19000, 20, 1200, 1, [OURS]),
}


def run(name, case):
    """The figures of one run, or an exception that says what was missing."""
    title, subscribers, rate, count, _, _ = CASES[case]
    limit = 40 + 2 * count // rate
    with Server(f"bus {name}", COMMANDS[name]) as server:
        before_kib = memory_kib(server.pids)[1]
        sub = subprocess.Popen(
            pinned(CLIENT_CORE, [TOOLS / "encke-sub", "-p", server.port, "-n", subscribers, "-m", count, "-1", "-i", 0, "-d", limit]),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=HERE)
        try:
            said = []
            for line in sub.stdout:
                said.append(line)
                if line.startswith("subscribed="):
                    break
            else:
                raise RuntimeError(f"{name}: {''.join(said).strip()[-300:]}")
            held_kib = memory_kib(server.pids)[1]
            cpu, began = cpu_seconds(server.pids), time.monotonic()
            pub = subprocess.run(
                pinned(CLIENT_CORE, [TOOLS / "encke-pub", "-r", rate, "-n", count, "-i", 0, f"http://127.0.0.1:{server.port}/msgbus/flood"]),
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=limit, cwd=HERE)
            out, _ = sub.communicate(timeout=limit)
            took, cpu = time.monotonic() - began, cpu_seconds(server.pids) - cpu
            most_kib = memory_kib(server.pids)[1]
        finally:
            sub.kill()
            sub.wait()
    figures = pairs(out)
    wanted = subscribers * count
    if pub.returncode or sub.returncode or figures.get("delivered") != str(wanted):
        raise RuntimeError(f"{name}: {wanted} wanted; {out.strip()[-300:]} {pub.stdout.strip()[-200:]}")
    return {
        "us": cpu / wanted * 1e6, "core": cpu / took, "per_s": wanted / took, "sub_b": (held_kib - before_kib) * 1024 / subscribers,
        "most_mib": most_kib / 1024, **{key: float(figures[key]) for key in ("p50_ms", "p99_ms", "max_ms")},
    }
