"""Mixed traffic: kinds of clients at the same time (clients/mixed.c), over TLS and without it to one server, and then the plain
kinds alone, in which the floor takes part too. Which kind a server favours is its choice; so each kind has its own figures:
answers per second of the server's CPU, its share of all answers, and how long it waited. Ratios are to the best peer.
"""
from .limits import best_peer, middle, ratio
from .measures import measure, pairs
from .servers import FLOOR, STATE, Server

KINDS = {
    "lasting": "TLS, connections that stay",
    "fresh": "TLS, a new connection for each request",
    "plain": "plain, connections that stay",
    "pipelined": "plain, 16 at a time",
}
PLAIN_KINDS = ["plain", "pipelined"]
LEFT = {"left_tls": "come and gone, TLS", "left_plain": "come and gone, plain"}  # their pace is the client's choice
TRAFFIC = {"mixed": "mixed", "mixed_plain": "the plain kinds alone"}


def run(name, traffic, server, seconds, ports):
    out, cpu = server.load([STATE / "mixed", seconds, *ports])
    figures = pairs(out)
    kinds = [kind for kind in KINDS if kind in figures]
    answers = {kind: int(figures[kind]) for kind in kinds}
    if not all(answers.values()):
        raise RuntimeError(f"mixed: {out.strip()}")
    for kind in kinds:
        yield f"{traffic}_{kind}", answers[kind] / cpu, ""
        yield f"{traffic}_{kind}_share", answers[kind] / sum(answers.values()), ""
        yield f"{traffic}_{kind}_p99", int(figures[f"{kind}_p99_us"]) / 1000, ""
    yield f"{traffic}_busy", cpu / seconds, out.strip()


@measure
def mixed(name, seconds):
    """All kinds beside each other, then the plain kinds alone."""
    if name != FLOOR:
        with Server(name, tls=True, plain_too=True) as server:
            yield from run(name, "mixed", server, seconds, [server.plain_port, server.port])
    with Server(name) as server:
        yield from run(name, "mixed_plain", server, seconds, [server.port])


def cell(results, metric, server, form, most_is_best):
    value = middle(results, metric, server)
    if value is None:
        return ""
    peer = best_peer(results, metric, most_is_best)
    of_best = ratio(results, metric, server, peer) if peer else None
    return form.format(value) + (f" ({of_best:.2f})" if of_best else "")


def table(log, columns):
    """The lines of this measure's own table; none where it was not measured."""
    results, rows = log.results, []
    for traffic, title in TRAFFIC.items():
        for kind in KINDS if traffic == "mixed" else PLAIN_KINDS:
            for suffix, what, form, most_is_best in (
                ("", "answers per second of CPU", "{:.0f}", True),
                ("_share", "share of the answers", "{:.3f}", None),
                ("_p99", "99th percentile of its waits, ms", "{:.1f}", False),
            ):
                metric = f"{traffic}_{kind}{suffix}"
                cells = [cell(results, metric, server, form, most_is_best) for server in columns]
                if any(cells):
                    rows.append(f"| {title}: {KINDS[kind]}: {what} | {' | '.join(cells)} |")
    if not rows:
        return []
    head = ["", "Mixed traffic; in brackets the ratio to the best peer of each row (not to the floor).", ""]
    return [*head, f"| | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns), *rows]
