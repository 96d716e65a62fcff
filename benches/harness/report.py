"""Writes a run down: every single figure to state/results.tsv, the table to state/table.md and the screen."""
import os
import platform
import time

from . import mixed
from .limits import LIMITS, middle, ratio_to_floor
from .servers import FLOOR, OURS, PEERS, STATE

# metric, how its row is called, format; CPU figures also as a ratio to the floor
ROWS = [
    ("plaintext_us", "CPU µs per request, 64 connections", "{:.2f}", True),
    ("pipelined_us", "CPU µs per request, 16 deep", "{:.2f}", True),
    ("syscalls_1", "system calls per request, 1 connection", "{:.2f}", False),
    ("syscalls_16", "system calls per request, 16 deep", "{:.2f}", False),
    ("delayed_us", "CPU µs per request of 10 ms, 1,000 connections", "{:.2f}", False),
    ("two_200ms", "two pipelined requests of 200 ms: all answered after ms", "{:.0f}", False),
    ("sixty_four_10ms", "64 pipelined requests of 10 ms: all answered after ms", "{:.0f}", False),
    ("idle_bytes", "user bytes per idle connection", "{:.0f}", False),
    ("beside_idle_ratio", "CPU beside 5,000 idle connections, ratio", "{:.3f}", False),
    ("accept_us", "CPU µs per accepted and answered connection", "{:.1f}", False),
    ("start_kib", "resident KiB after start", "{:.0f}", False),
    ("threads", "threads", "{:.0f}", False),
    ("https_us", "https: CPU µs per request, 64 connections", "{:.2f}", False),
    ("handshake_us", "https: CPU µs per full handshake", "{:.0f}", False),
    ("resumed13_us", "https: CPU µs per resumed handshake, TLS 1.3", "{:.0f}", False),
    ("resumed12_us", "https: CPU µs per resumed handshake, TLS 1.2", "{:.0f}", False),
    ("handshake_same_us", "... one suite for all: full", "{:.0f}", False),
    ("resumed13_same_us", "... one suite for all: resumed, TLS 1.3", "{:.0f}", False),
    ("resumed12_same_us", "... one suite for all: resumed, TLS 1.2", "{:.0f}", False),
    ("big_tls_us", "https: CPU µs per body of 1 MiB", "{:.0f}", False),
    ("idle_tls_bytes", "https: user bytes per idle connection", "{:.0f}", False),
    ("run_p50_us", "500 handshakes at once: µs of an encke_run, middle", "{:.0f}", False),
    ("run_p99_us", "... 99 %", "{:.0f}", False),
    ("run_p999_us", "... 99.9 %", "{:.0f}", False),
    ("run_max_us", "... longest", "{:.0f}", False),
    ("run_max_cpu_us", "... most CPU µs of one", "{:.0f}", False),
]


class Log:
    """Appends to results.tsv as the run goes, and keeps {(metric, server): {round: value}}."""

    def __init__(self):
        self.results = {}
        self.suites = {}  # {metric: {suite: servers that chose it}}
        self.failures = []
        self.file = open(STATE / "results.tsv", "a")

    def put(self, metric, server, round_, value, note):
        self.results.setdefault((metric, server), {})[round_] = value
        if "suite=" in note:
            self.suites.setdefault(metric, {}).setdefault(note.split("suite=")[1].split()[0], set()).add(server)
        self._write(metric, server, round_, f"{value:.4g}", note)

    def failed(self, measure, server, round_, why):
        self.failures.append(f"{measure} {server}: {why}")
        self._write(measure, server, round_, "failed", why)

    def _write(self, *fields):
        line = "\t".join([time.strftime("%H:%M:%S"), *map(str, fields)]).replace("\n", " ")
        print(line, flush=True)
        print(line, file=self.file, flush=True)


def table(log, command, started):
    results = log.results
    columns = [s for s in (OURS, FLOOR, *PEERS) if any(server == s for _, server in results)]
    lines = [
        "# encke beside other servers", "",
        f"{started}, {machine()}. `{command}`; middle of the rounds, ratios to `floor` of the same round in brackets.", "",
        f"| | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns),
    ]
    for metric, title, form, with_ratio in ROWS:
        cells = []
        for server in columns:
            value = middle(results, metric, server)
            cell = "" if value is None else form.format(value)
            if cell and with_ratio and (ratio := ratio_to_floor(results, metric, server)):
                cell += f" ({ratio:.2f})"
            cells.append(cell)
        if any(cells):
            lines.append(f"| {title} | {' | '.join(cells)} |")
    lines += mixed.table(log, columns)
    if log.suites:
        lines += ["", "Suites:", ""]
    for metric, title, _, _ in ROWS:
        if chosen := log.suites.get(metric):
            text = "; ".join(f"{', '.join(s for s in columns if s in servers)}: {suite}" for suite, servers in chosen.items())
            lines.append(f"- {title}: {text}")
    lines += ["", "| encke must reach | measured | |", "|---|---|---|"]
    for limit in LIMITS:
        measured, good = limit.judge(results)
        lines.append(f"| {limit.text} | {measured} | {'' if good is None else 'reached' if good else '**MISSED**'} |")
    if log.failures:
        lines += ["", "Failed:", "", *(f"- {failure}" for failure in log.failures)]
    text = "\n".join(lines) + "\n"
    (STATE / "table.md").write_text(text)
    print("\n" + text)


def machine():
    model = platform.machine()
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{model}, {os.cpu_count()} CPUs, Linux {platform.release()}"
