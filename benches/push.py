#!/usr/bin/env python3
"""Measures fan-out beside a floor program and nchan: see README.md.   push.py [-c 1000,10000] [-r ROUNDS]"""
import argparse
import resource
import sys
import time
from statistics import median

sys.dont_write_bytecode = True
from harness import push, report
from harness.servers import FLOOR, OURS, STATE


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-c", "--cases", default=",".join(push.CASES), help=f"of {','.join(push.CASES)}")
    parser.add_argument("-r", "--rounds", type=int, default=3)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    started, results, failures, longest = time.strftime("%Y-%m-%d %H:%M"), {}, [], {}
    for case in options.cases.split(","):
        for round_ in range(options.rounds):
            names = [name for name in push.CASES[case][-1] if push.available(name)]
            for name in names if round_ % 2 == 0 else reversed(names):
                try:
                    figures, runs = push.run(name, case)
                except Exception as why:
                    failures.append(f"{case} {name}: {why}")
                    continue
                results.setdefault((case, name), []).append((round_, figures))
                if runs:
                    longest.setdefault(case, []).append(runs)
                print(case, name, figures, runs, flush=True)
    lines = ["# encke's fan-out", "", f"{started}, {report.machine()}. `{' '.join(['push.py', *sys.argv[1:]])}`; middle of the rounds, ratios to the floor of the same round.", "",
             "| | server | CPU µs per delivery | × floor | p50 ms | p99 ms | CPU µs per accepted subscriber | × floor | resident bytes per subscriber | deliveries/s |",
             "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for (case, name), rounds in results.items():
        middle = lambda key: median(figures[key] for _, figures in rounds)
        floor = dict(results.get((case, FLOOR), []))
        ratio = lambda key: f"{median(ratios):.2f}" if (ratios := [figures[key] / floor[r][key] for r, figures in rounds if r in floor]) else ""
        lines.append(f"| {push.CASES[case][0]} | {name} | {middle('srv_us'):.2f} | {ratio('srv_us')} | {middle('p50_ms'):.1f} | {middle('p99_ms'):.1f} | "
                     f"{middle('conn_cpu_us'):.1f} | {ratio('conn_cpu_us')} | {middle('rss_per_sub_b'):.0f} | {middle('per_s'):.0f} |")
    lines += ["", "The longest `encke_run` after the first publish, in µs:", ""]
    for case, all_ in longest.items():
        lines.append(f"- {push.CASES[case][0]}: " + "; ".join(
            f"{runs['runs']} runs, 99.9 % below {runs['took_p999']}, longest {runs['took_max']} ({runs['worked_max']} of CPU; {runs['left_max']} when all subscribers leave at once)" for runs in all_))
    if failures:
        lines += ["", "Failed:", "", *(f"- {failure}" for failure in failures)]
    text = "\n".join(lines) + "\n"
    (STATE / "push.md").write_text(text)
    print("\n" + text)
    return any(OURS in failure for failure in failures)


if __name__ == "__main__":
    sys.exit(main())
