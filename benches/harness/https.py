"""The measures of HTTPS: as measures.py has them, with `PORT tls` for every server but the floor, which has no TLS.

One version, suite, group and certificate for all (clients/tls.h): the servers differ in how they do the work, not in the work. But
which suite a server chooses is work done or saved, too: handshakes are measured with what OpenSSL offers by default, and in rows
of their own with one suite for all.
"""
from .measures import idle_memory, load, measure, pairs, wrk
from .servers import FLOOR, OURS, STATE, Server

BIG = 1 << 20
STORM, STORMS = 500, 4  # handshakes at once, and how often
HANDSHAKES = {
    "handshake_us": "full 1.3 any", "resumed13_us": "resumed 1.3 any", "resumed12_us": "resumed 1.2 any",
    "handshake_same_us": "full 1.3 same", "resumed13_same_us": "resumed 1.3 same", "resumed12_same_us": "resumed 1.2 same",
}


@measure
def https(name, seconds):
    """64 connections, one request at a time on each, over TLS 1.3."""
    if name == FLOOR:
        return
    with Server(name, tls=True) as server:
        us, note = wrk(server, seconds)
        yield "https_us", us, note


@measure
def handshakes(name, seconds):
    """New connections, one after the other: handshake, one request, its answer. The client checks that each is of the kind."""
    if name == FLOOR:
        return
    failures = []
    with Server(name, tls=True) as server:
        for metric, kind in HANDSHAKES.items():
            out, cpu = server.load([STATE / "hs", server.port, seconds, *kind.split()], plain_openssl="any" in kind)
            done = int(pairs(out).get("handshakes", 0))
            if done:
                yield metric, cpu / done * 1e6, out.strip()
            else:  # the other kinds may work
                failures.append(f"{kind}: {out.strip()}")
    if failures:
        raise RuntimeError("; ".join(failures))


@measure
def memtls(name, seconds):
    """User memory per idle TLS connection, over 2,000 of them."""
    del seconds
    if name == FLOOR:
        return
    with Server(name, tls=True) as server:
        yield "idle_tls_bytes", *idle_memory(server, 2000)


@measure
def bigtls(name, seconds):
    """Bodies of 1 MiB over TLS, on 8 connections."""
    if name == FLOOR:
        return
    with Server(name, tls=True) as server:
        us, figures = load(server, seconds, "-c", 8, "-u", "/big", "-b", BIG)
        yield "big_tls_us", us, f"{figures['rate']}/s"


@measure
def storm(name, seconds):
    """How long single calls of encke_run are while 500 handshakes come at once. Ours only."""
    del seconds
    if name != OURS:
        return
    with Server("storm", [str(STATE / "storm")], tls=True) as server:
        server.ask("/forget")
        out, _ = server.load([STATE / "flood", server.port, STORM, STORMS])
        if pairs(out).get("handshakes") != str(STORM * STORMS):
            raise RuntimeError(f"flood: {out.strip()}")
        note = server.ask("/runs")
        runs = pairs(note)
        for percentile in ("p50", "p99", "p999", "max"):
            yield f"run_{percentile}_us", float(runs[f"took_{percentile}"]), note if percentile == "max" else out.strip()
        yield "run_max_cpu_us", float(runs["worked_max"]), "the CPU time of the one with most"
