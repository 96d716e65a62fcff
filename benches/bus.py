#!/usr/bin/env python3
"""Measures the message bus beside a floor program: see README.md.   bus.py [-c 1000,goal] [-r ROUNDS]"""
import argparse
import resource
import sys
import time
from statistics import median

sys.dont_write_bytecode = True
from harness import bus, report
from harness.servers import FLOOR, STATE

# What the original daemon costs per delivery, as a ratio to the same floor; ours is to be 0.65 of it.
ORIGINAL = 10.9 / 6.1
GOAL = 0.65 * ORIGINAL


def behind_ms(case):
    """Beside the floor nobody is to be behind: then a send carries more than it should, or finds a receiver that is awake already."""
    return min(250, 5 * 1000 / bus.CASES[case][2])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-c", "--cases", default=",".join(bus.CASES), help=f"of {','.join(bus.CASES)}")
    parser.add_argument("-r", "--rounds", type=int, help="instead of each case's own")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    started, results, failures = time.strftime("%Y-%m-%d %H:%M"), {}, []
    for case in options.cases.split(","):
        *_, rounds, names = bus.CASES[case]
        for round_ in range(options.rounds or rounds):
            for name in names if round_ % 2 == 0 else reversed(names):
                try:
                    figures = bus.run(name, case)
                except Exception as why:
                    failures.append(f"{case} {name}: {why}")
                    print("FAILED", failures[-1], flush=True)
                    continue
                results.setdefault((case, name), []).append((round_, figures))
                print(case, name, {key: round(value, 2) for key, value in figures.items()}, flush=True)
    lines = ["# encke-bus", "", f"{started}, {report.machine()}. `{' '.join(['bus.py', *sys.argv[1:]])}`; middle of the rounds, ratios to the floor of the same round. Nothing was missing.", "",
             "| | server | CPU µs per delivery | × floor | of a core | deliveries/s | p50 ms | p99 ms | longest ms | private bytes per subscriber | private MiB at the end |",
             "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"]
    judged, disturbed = [], []
    for (case, name), rounds in results.items():
        middle = lambda key: median(figures[key] for _, figures in rounds)
        floor = dict(results.get((case, FLOOR), []))
        ratios = [figures["us"] / floor[r]["us"] for r, figures in rounds if r in floor and max(figures["p99_ms"], floor[r]["p99_ms"]) < behind_ms(case)]
        if floor and name != FLOOR and len(ratios) < len(rounds):
            disturbed.append(f"{bus.CASES[case][0]}: {len(rounds) - len(ratios)} of {len(rounds)} rounds have no ratio: somebody was {behind_ms(case):.0f} ms behind, so the machine was busy")
        ratio = f"{median(ratios):.2f}" if ratios else ""
        lines.append(f"| {bus.CASES[case][0]} | {name} | {middle('us'):.2f} | {ratio} | {middle('core'):.2f} | {middle('per_s'):.0f} | {middle('p50_ms'):.1f} | "
                     f"{middle('p99_ms'):.1f} | {middle('max_ms'):.1f} | {middle('sub_b'):.0f} | {middle('most_mib'):.0f} |")
        if name != FLOOR and case == "1000" and ratios:
            judged.append((f"CPU per delivery at 1,000 subscribers at most {GOAL:.2f} × floor", median(ratios), median(ratios) <= GOAL))
        if name != FLOOR and case == "goal":
            judged.append(("19,000 subscribers, 20 messages/s for 60 s: p99 below 1,000 ms", middle("p99_ms"), middle("p99_ms") < 1000))
    lines += ["", *(f"- {text}" for text in disturbed), *(f"- {'met' if good else '**MISSED**'}: {what}: {value:.2f}" for what, value, good in judged)]
    if failures:
        lines += ["", "Failed:", "", *(f"- {failure}" for failure in failures)]
    text = "\n".join(lines) + "\n"
    (STATE / "bus.md").write_text(text)
    print("\n" + text)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
