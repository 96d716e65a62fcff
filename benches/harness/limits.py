"""What encke must reach. One row per promise: how it reads, and how it is judged from the run's figures."""
from statistics import median

from .servers import FLOOR, OURS, PEERS


class Limit:
    def __init__(self, text, unit, limit, value, beaten=None):  # beaten: the metric in which no peer may be as good
        self.text, self.unit, self.limit, self.value, self.beaten = text, unit, limit, value, beaten

    def judge(self, results):
        """(measured as text, True | False | None where something is missing)."""
        value = self.value(results)
        if value is None:
            return "not measured", None
        good = value <= self.limit
        text = f"{value:.0f} {self.unit}" if value >= 100 else f"{value:.3g} {self.unit}".strip()
        if self.beaten:
            peers = {p: m for p in PEERS if (m := middle(results, self.beaten, p)) is not None}
            if peers:
                ours, best = middle(results, self.beaten, OURS), min(peers, key=peers.get)
                good = good and ours < peers[best]
                text += f"; best peer {best} {ratio_to_floor(results, self.beaten, best):.3g}"
        return text, good


class PeerLimit:
    """A ratio to the best peer, or to the one that is named."""

    def __init__(self, text, limit, metric, peer=None):
        self.text, self.limit, self.metric, self.peer = text, limit, metric, peer

    def judge(self, results):
        peer = self.peer or best_peer(results, self.metric)
        value = ratio(results, self.metric, OURS, peer)
        if value is None:
            return "not measured", None
        return f"{value:.3g} × {peer}", value <= self.limit


def middle(results, metric, server):
    values = results.get((metric, server))
    return median(values.values()) if values else None


def best_peer(results, metric, most_is_best=False):
    """None: nobody has a figure, or none is better than another (most_is_best is None)."""
    peers = {p: m for p in PEERS if (m := middle(results, metric, p)) is not None}
    if not peers or most_is_best is None:
        return None
    return (max if most_is_best else min)(peers, key=peers.get)


def ratio(results, metric, server, other):
    """The middle of the ratios of single rounds: what disturbs a round disturbs both."""
    one, two = results.get((metric, server), {}), results.get((metric, other), {})
    rounds = [one[r] / two[r] for r in one if r in two]
    return median(rounds) if rounds else None


def ratio_to_floor(results, metric, server=OURS):
    return ratio(results, metric, server, FLOOR)


def ours(metric):
    return lambda results: middle(results, metric, OURS)


def to_floor(metric):
    return lambda results: ratio_to_floor(results, metric)


LIMITS = [
    Limit("CPU per request, 64 connections: at most 1.08 × floor, below every peer", "× floor", 1.08, to_floor("plaintext_us"), "plaintext_us"),
    Limit("CPU per request, 16 deep: at most 1.35 × floor, below every peer", "× floor", 1.35, to_floor("pipelined_us"), "pipelined_us"),
    Limit("system calls per request, one connection: at most 6.1", "", 6.1, ours("syscalls_1")),
    Limit("system calls per request, 16 deep: at most 0.40", "", 0.40, ours("syscalls_16")),
    Limit("two pipelined requests of 200 ms: at most 215 ms", "ms", 215, ours("two_200ms")),
    Limit("... and every answer in its order", "out of order", 0, lambda r: None if (v := middle(r, "in_order", OURS)) is None else 1 - v),
    Limit("64 pipelined requests of 10 ms: at most 20 ms", "ms", 20, ours("sixty_four_10ms")),
    Limit("user memory per idle connection: at most 256 bytes", "bytes", 256, ours("idle_bytes")),
    Limit("CPU beside 5,000 idle connections: at most 1.05 × without", "×", 1.05, ours("beside_idle_ratio")),
    Limit("stripped libencke.so, HTTP alone: at most 700 kB", "kB", 700, ours("library_kb")),
    Limit("stripped libencke.so, HTTP and TLS: at most 2,000 kB", "kB", 2000, ours("library_tls_kb")),
    Limit("resident memory of c-examples/hello: at most 3 MB", "KiB", 3 * 1024, ours("hello_kib")),
    Limit("threads: 1", "", 1, ours("threads")),
    PeerLimit("https: CPU per request, 64 connections: at most the best peer's", 1, "https_us"),
    PeerLimit("https: CPU per full handshake: at most 0.6 × the best peer's", 0.6, "handshake_us"),
    PeerLimit("https: CPU per resumed handshake, TLS 1.3: at most 0.6 × the best peer's", 0.6, "resumed13_us"),
    PeerLimit("https: CPU per resumed handshake, TLS 1.2: at most 0.75 × the best peer's", 0.75, "resumed12_us"),
    PeerLimit("https: CPU per body of 1 MiB: at most 0.5 × h2o's", 0.5, "big_tls_us", "h2o"),
    Limit("https: user memory per idle connection: at most 4 KB", "bytes", 4096, ours("idle_tls_bytes")),
    Limit("500 handshakes at once: the longest encke_run at most 1 ms", "µs", 1000, ours("run_max_us")),
]
