"""Runs the comparison: makes cases, has encke, the referee and the other parsers read them, and explains every difference.

    compare.py HARNESS [--cases N] [--seed S] [--first K] [--jobs J]     HARNESS: the built tests/differential.rs
    compare.py HARNESS --case K [--seed S]                               one case, and what everybody reads in it
    compare.py HARNESS --update ...                                      writes recorded.txt and the tables of docs/parsers.md

Rule: a difference without an explanation in kinds.py ends the run with an error, and so do tables that are out of date.
"""

import argparse
import json
import multiprocessing
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import generate
import grammar
import kinds
import readers

HERE = Path(__file__).resolve().parent
RECORDED = HERE / "recorded.txt"
DOCS = HERE.parent.parent / "docs" / "parsers.md"
BATCH = 5000
# Longer examples are not kept: those of the limits.
EXAMPLE = 1000
SHOWN = 10


def read_ours(harness, cases):
    """One line for each case. The harness checks on its way that cuts do not matter."""
    with tempfile.TemporaryDirectory() as directory:
        data = b"".join(struct.pack("<I", len(case)) + case for case in cases)
        Path(directory, "cases").write_bytes(data)
        environment = {**os.environ, "ENCKE_DIFFERENTIAL": directory, "RUST_BACKTRACE": "0"}
        command = [harness, "--exact", "readings_of_given_cases"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace")
        if done.returncode != 0:
            raise kinds.Unexplained(f"the harness failed:\n{done.stdout}{done.stderr}")
        return Path(directory, "readings").read_text("ascii").splitlines()


def judge(case, line):
    """The kinds of difference, as (kind, peer); raises Unexplained."""
    ours, rfc = readers.ours(line), grammar.read(case)
    found = [(kind, "encke") for kind in kinds.check_ours(ours, rfc)]
    for peer, read in readers.READERS.items():
        found += [(kind, peer) for kind in kinds.compare(ours, read(case), peer, rfc.messages)]
    return ours, found


def sort_of(request):
    body = "chunked" if request.chunked else "with length" if kinds.has(request, "content-length") else "without body"
    return f"HTTP/1.{request.minor} {body}" + ("" if request.keep else " and close")


class Findings:
    """What came out of some cases; small enough to be handed from process to process."""

    def __init__(self):
        self.cases = self.requests = self.refused = self.alike = 0
        self.counts = Counter()
        self.examples = {}
        self.failures = []

    def note(self, number, case, line):
        self.cases += 1
        try:
            ours, found = judge(case, line)
        except kinds.Unexplained as why:
            self.failures.append((number, case, str(why)))
            return
        self.requests += len(ours.requests)
        self.refused += ours.end == "refused"
        self.alike += not found
        for key in set(found):
            self.counts[key] += 1
        # The shortest case with one difference alone, for each kind and parser; for each of our reasons to refuse; and for
        # each sort of request, or two in a row, that all take.
        keys = [found[0]] if len(found) == 1 else []
        if ours.reason:
            keys.append(("refused", ours.reason))
        elif not found and 0 < len(ours.requests) < 3:
            keys.append(("taken", ", ".join(map(sort_of, ours.requests))))
        for key in keys if len(case) <= EXAMPLE else []:
            if key not in self.examples or (len(case), case) < (len(self.examples[key]), self.examples[key]):
                self.examples[key] = case

    def add(self, other):
        self.cases += other.cases
        self.requests += other.requests
        self.refused += other.refused
        self.alike += other.alike
        self.counts += other.counts
        self.failures += other.failures
        for key, case in other.examples.items():
            if key not in self.examples or (len(case), case) < (len(self.examples[key]), self.examples[key]):
                self.examples[key] = case


def run_batch(job):
    harness, seed, numbers = job
    cases = [generate.case(seed, number) for number in numbers]
    findings = Findings()
    try:
        lines = read_ours(harness, cases)
    except kinds.Unexplained as why:
        findings.failures.append((numbers.start, b"", str(why)))
        return findings
    for number, case, line in zip(numbers, cases, lines, strict=True):
        findings.note(number, case, line)
    return findings


# ---- what is shown and kept -------------------------------------------------------------------------------------------


def shown(case):
    """Printable, and what the harness reads back."""
    named = {9: "\\t", 10: "\\n", 13: "\\r", 92: "\\\\"}
    return "".join(named.get(b) or (chr(b) if 32 <= b < 127 else f"\\x{b:02x}") for b in case)


def unshown(text):
    return text.encode("ascii").decode("unicode_escape").encode("latin-1")


def as_line(reading):
    record = {name: value for name, value in asdict(reading).items()}
    return json.dumps(record, ensure_ascii=True, separators=(",", ":"))


def show_case(harness, seed, number):
    case = generate.case(seed, number)
    line = read_ours(harness, [case])[0]
    print(f"> {shown(case)}\n\nencke  {line}")
    for peer, read in readers.READERS.items():
        print(f"{peer:6} {as_line(read(case))}")
    for n, message in enumerate(grammar.read(case).messages):
        print(f"referee: message {n}: {sorted(message.faults) or 'no fault'}, incomplete: {message.incomplete}")
    print(judge(case, line)[1] or "all agree")


def record(harness, findings):
    """A file of examples that `cargo test` repeats without the other parsers."""
    keys = sorted(findings.examples)
    cases = [findings.examples[key] for key in keys]
    with RECORDED.open("w", encoding="ascii") as file:
        file.write(
            "# Written by compare.py --update: the shortest case found for each kind of difference, each refusal, each"
            " sort of request.\n"
        )
        for (kind, whose), case, line in zip(keys, cases, read_ours(harness, cases), strict=True):
            file.write(f"\n# {kind}: {whose}\n> {shown(case)}\nencke {line}\n")
            for peer, read in readers.READERS.items():
                file.write(f"{peer} {as_line(read(case))}\n")


def check_recorded(harness):
    """What is recorded of the other parsers holds for those that are installed; ours is checked by `cargo test` too."""
    case, cases, lines, wrong = b"", [], [], []
    for line in RECORDED.read_text("ascii").splitlines():
        word, _, rest = line.partition(" ")
        if word == ">":
            case = unshown(rest)
        elif word == "encke":
            cases.append(case)
            lines.append(rest)
        elif word in readers.READERS and as_line(readers.READERS[word](case)) != rest:
            wrong.append(f"recorded.txt: {word} reads {shown(case)!r} otherwise now")
    found = read_ours(harness, cases)
    wrong += [f"recorded.txt: encke reads {shown(c)!r} otherwise now" for c, a, b in zip(cases, lines, found) if a != b]
    return wrong


def tables():
    """The tables as they stand in docs/parsers.md."""
    text = ""
    for title, table in kinds.TABLES.items():
        text += f"\n### {title}\n\n| kind | what | h11 | llhttp | RFC | why |\n|---|---|---|---|---|---|\n"
        for name, kind in table.items():
            marks = " | ".join("differs" if peer in kind.peers else "" for peer in kinds.PEERS)
            text += f"| {name} | {kind.what} | {marks} | {kind.section} | {kind.why} |\n"
    return text


BEGIN, END = "<!-- written by tests/differential/compare.py --update -->\n", "<!-- end -->\n"


def check_docs(update):
    before, begin, rest = DOCS.read_text().partition(BEGIN)
    _, end, behind = rest.partition(END)
    text = before + begin + tables() + "\n" + end + behind
    if update:
        DOCS.write_text(text)
    return (
        [] if DOCS.read_text() == text and begin and end else ["docs/parsers.md: the tables are out of date (--update)"]
    )


def summary(findings, seconds):
    share = 100 * findings.alike / max(1, findings.cases)
    print(
        f"{findings.cases} cases in {seconds:.0f} s: {findings.requests} requests read, {findings.refused} cases"
        f" refused, {share:.0f} % of the cases read alike by all"
    )
    for title, table in kinds.TABLES.items():
        print(f"\n{title:32}{'h11':>8}{'llhttp':>8}")
        for name in table:
            row = [findings.counts[name, peer] or "" for peer in kinds.PEERS]
            print(f"  {name:30}{row[0]:>8}{row[1]:>8}")
    unseen = [
        f"{name} ({peer})"
        for name, kind in kinds.KINDS.items()
        for peer in kind.peers
        if not findings.counts[name, peer]
    ]
    if unseen:
        print("\nnot seen in this run: " + ", ".join(unseen))


def main():
    parser = argparse.ArgumentParser(description="Differential test of the request parser: see docs/parsers.md.")
    parser.add_argument("harness")
    parser.add_argument("--cases", type=int, default=200_000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--case", type=int)
    parser.add_argument("--update", action="store_true")
    options = parser.parse_args()
    if options.case is not None:
        return show_case(options.harness, options.seed, options.case)

    started = time.monotonic()
    end = options.first + options.cases
    jobs = [(options.harness, options.seed, range(n, min(n + BATCH, end))) for n in range(options.first, end, BATCH)]
    findings = Findings()
    with multiprocessing.Pool(options.jobs) as pool:
        for part in pool.imap(run_batch, jobs):
            findings.add(part)
    summary(findings, time.monotonic() - started)

    if options.update and not findings.failures:
        record(options.harness, findings)
    wrong = [f"seed {options.seed}, case {n}: {why}\n  > {shown(case)}" for n, case, why in findings.failures[:SHOWN]]
    wrong += check_docs(options.update)
    if not findings.failures:
        wrong += check_recorded(options.harness)
    if wrong:
        print(f"\n{len(findings.failures)} cases without an explanation" if findings.failures else "", *wrong, sep="\n")
        return 1
    print("\nevery difference is explained")
    return 0


if __name__ == "__main__":
    sys.exit(main())
