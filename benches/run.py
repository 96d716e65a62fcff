#!/usr/bin/env python3
"""Measures encke beside other servers: see README.md. Without options: everything, about 12 minutes.

    run.py [--quick] [-m tput,pipe] [-s encke,floor,h2o] [-r ROUNDS] [-t SECONDS] [--ours 'COMMAND {port}']
"""
import argparse
import resource
import shlex
import sys
import time

sys.dont_write_bytecode = True  # before our own modules: nothing is left beside them
from harness import https, mixed, report, servers
from harness.measures import MEASURES

# measure: (rounds, seconds per load); ours and the floor take part in every round, peers as often as said
FULL = {
    "tput": (3, 2), "pipe": (3, 2), "sys": (1, 0), "apipe": (1, 0), "delayed": (1, 2),
    "mem": (1, 0), "comet": (3, 2), "start": (1, 0), "size": (1, 0),
    "https": (3, 2), "handshakes": (3, 1), "bigtls": (3, 1), "memtls": (1, 0), "storm": (3, 0), "mixed": (3, 3),
}
QUICK = {
    "tput": (3, 2), "pipe": (3, 2), "sys": (1, 0), "apipe": (1, 0), "mem": (1, 0), "comet": (2, 2), "start": (1, 0), "size": (1, 0),
    "https": (1, 2), "handshakes": (1, 1), "bigtls": (1, 1), "memtls": (1, 0), "storm": (1, 0),
}
PEERS_ONCE = {"comet"}  # more rounds than one only for ours


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="ours and the floor only, about a minute")
    parser.add_argument("-m", "--measures", help=f"of {','.join(MEASURES)}")
    parser.add_argument("-s", "--servers", help=f"of {','.join(servers.COMMANDS)}")
    parser.add_argument("-r", "--rounds", type=int, help="instead of each measure's own")
    parser.add_argument("-t", "--seconds", type=int, help="per load")
    parser.add_argument("--ours", help="another command for `encke`, run in benches/; {port} stands for the port")
    options = parser.parse_args()

    if options.ours:
        servers.COMMANDS[servers.OURS] = shlex.split(options.ours)
    if options.servers:
        names = options.servers.split(",")
    elif options.quick:
        names = [servers.FLOOR, servers.OURS]
    else:
        names = sorted({*servers.available(), servers.FLOOR, servers.OURS}, key=list(servers.COMMANDS).index)
    plan = QUICK if options.quick else FULL
    wanted = options.measures.split(",") if options.measures else list(plan)
    if unknown := [m for m in wanted if m not in MEASURES] + [n for n in names if n not in servers.COMMANDS]:
        parser.error(f"unknown: {', '.join(unknown)}")

    # 10,000 connections need their descriptors, here and in the servers.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    log, started = report.Log(), time.strftime("%Y-%m-%d %H:%M")
    for measure in wanted:
        rounds, seconds = plan.get(measure, FULL[measure])
        for round_ in range(1, (options.rounds or rounds) + 1):
            # Alternated, so that a drift of the machine does not favour the first or the last.
            for name in names if round_ % 2 else reversed(names):
                if round_ > 1 and measure in PEERS_ONCE and name != servers.OURS and not options.rounds:
                    continue
                try:
                    for metric, value, note in MEASURES[measure](name, options.seconds or seconds):
                        log.put(metric, name, round_, value, note)
                except Exception as why:  # a server that fails a measure is a result too
                    log.failed(measure, name, round_, f"{type(why).__name__}: {why}")
    report.table(log, " ".join(["run.py", *sys.argv[1:]]), started)
    return any(f.split()[1] == f"{servers.OURS}:" for f in log.failures)


if __name__ == "__main__":
    sys.exit(main())
