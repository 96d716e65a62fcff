"""The referee: RFC 9112, RFC 9110 and RFC 3986 as regular expressions, written down from the collected ABNF and not from
our parser. It names every production that a message violates, whoever accepts or refuses it.

Rule: what is stricter than the RFCs, because docs/http.md says so, is a fault of its own and is marked here as POLICY.
"""

import ipaddress
import re

from readers import Reading, Request, text

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
OWS = rb"[ \t]*"
TARGET = rb"[\x21\x22\x24-\x7e]+"  # POLICY: a path may have every visible character, where RFC 3986 has fewer
VALUE = rb"(?:[\x21-\x7e\x80-\xff](?:[\t \x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?"

REQUEST_LINE = re.compile(rb"(%s) (%s) (HTTP/[0-9]\.[0-9])" % (TOKEN, TARGET))
FIELD_LINE = re.compile(rb"(%s):%s(%s)%s" % (TOKEN, OWS, VALUE, OWS))
EXTENSION = rb"(?:%s;%s%s(?:%s=%s(?:%s|%s))?)*" % (OWS, OWS, TOKEN, OWS, OWS, TOKEN, QUOTED)
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]+)(%s)" % EXTENSION)
REG_NAME = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")
IP_FUTURE = re.compile(rb"[vV][0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+,;=:]+")
AUTHORITY = re.compile(rb"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]*))?")
ABSOLUTE = re.compile(rb"(?:http|https)://([^/?]*)(.*)", re.IGNORECASE)


def ends_of(*lines):
    """What may follow a line of which a part is there, as far as it is of interest whether something may."""
    return sorted({line[n:] for line in lines for n in range(len(line) + 1)}, key=len)


ENDS_OF_REQUEST_LINE = ends_of(b"G /x HTTP/1.1", b"G / HTTP/1.1")
ENDS_OF_CHUNK_LINE = ends_of(b'0;a="\\a"', b"0;a=b", b"0")

# Limits of docs/http.md, in bytes, lines and digits. POLICY, all of them.
EMPTY_LINES, FIELDS, HEAD, EXTENSIONS, TRAILERS, DIGITS, BODY = 8, 100, 32 << 10, 4096, 8192, 16, 64 << 20


def is_authority(value):
    match = AUTHORITY.fullmatch(value)
    if not match or match[2] and int(match[2]) > 65535:
        return False
    host = match[1]
    if not host.startswith(b"["):
        return bool(REG_NAME.fullmatch(host))
    if IP_FUTURE.fullmatch(host[1:-1]):
        return True
    try:
        return b"%" not in host and bool(ipaddress.IPv6Address(host[1:-1].decode("latin-1")))
    except ValueError:
        return False


def elements(values):
    """The elements of a list field, empty ones included."""
    return [element.strip(b" \t") for value in values for element in value.split(b",")]


class Message:
    """What the bytes from here on are, if a request begins here: `faults`, and the rest while there are none."""

    def __init__(self, data):
        self.data = data
        self.faults = set()
        self.incomplete = False
        self.trailers = b""
        start = len(data) - len(data.lstrip(b"\r\n"))
        lead = data[:start]
        self.begun = start < len(data)
        self.check(re.fullmatch(rb"(?:\r\n)*" if self.begun else rb"(?:\r\n)*\r?", lead), "line-end")
        self.check(lead.count(b"\r\n") <= EMPTY_LINES, "empty-lines")
        end = data.find(b"\r\n\r\n", start)
        # A parser that takes a bare LF or a folded line finds the end of the head elsewhere: look no further than that.
        if (shorter := re.search(rb"\n\r?\n", data[start:])) and (end < 0 or start + shorter.start() < end):
            end = start + shorter.start()
            self.faults.add("line-end")
        whole = end >= 0
        self.head = data[start:end] if whole else data[start:]
        self.rest = data[end + 4 :] if whole else b""
        self.whole = whole
        self.check(len(self.head) + start <= HEAD - 4, "head-size")
        plain = self.head.removesuffix(b"\r") if not whole else self.head
        self.check(not re.search(rb"(?<!\r)\n|\r(?!\n)", plain), "line-end")
        lines = plain.split(b"\r\n")
        self.line = lines[0]
        self.fields = []
        self.incomplete = not whole
        ended = whole or plain != self.head  # the last line lacks its LF at most
        if self.begun:
            self.read_request_line(lines[0], ended or len(lines) > 1)
            self.read_fields(lines[1:], whole, ended)
            if whole:
                self.read_semantics()
                self.read_body(self.rest)

    def check(self, fine, fault):
        if not fine:
            self.faults.add(fault)

    # ---- the head -------------------------------------------------------------------------------------------------------

    def read_request_line(self, line, whole):
        self.method = self.target = b""
        self.version = b"HTTP/1.1"
        match = REQUEST_LINE.fullmatch(line)
        if not match and not whole:
            if any(REQUEST_LINE.fullmatch(line + end) for end in ENDS_OF_REQUEST_LINE):
                return  # it may yet become one
        if match:
            self.method, self.target, self.version = match.groups()
            self.check(self.version.startswith(b"HTTP/1."), "version-unsupported")
            self.read_target()
            return
        parts = line.split(b" ")
        self.check(re.fullmatch(TOKEN, parts[0]) or not parts[0] or parts[0][:1] == b"\t", "method")
        self.check(len(parts) == 3 and all(parts) and not re.match(rb"\t|.*\t$", line), "request-line")
        if len(parts) > 1:
            self.check(re.fullmatch(TARGET, parts[1]) or not parts[1], "target")
        if len(parts) > 2:
            self.check(re.fullmatch(rb"HTTP/[0-9]\.[0-9]", parts[2]) or not parts[2], "version")
            self.check(not re.match(rb"HTTP/[02-9]\.[0-9]", parts[2]), "version-unsupported")

    def read_target(self):
        target, method = self.target, self.method
        absolute = ABSOLUTE.fullmatch(target)
        if method == b"CONNECT":
            port = re.search(rb":0*([0-9]+)$", target)
            self.check(is_authority(target), "authority")
            self.check(port and port[1] != b"0", "target")
        elif absolute:
            self.check(is_authority(absolute[1]), "authority")
        else:
            self.check(target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"), "target")

    def read_fields(self, lines, whole, ended):
        self.check(len(lines) <= FIELDS, "too-many-fields")
        for n, line in enumerate(lines):
            if n == len(lines) - 1 and not line and not whole:
                break  # of the empty line
            if line[:1] in (b" ", b"\t"):
                self.faults.add("obs-fold")
                continue
            match = FIELD_LINE.fullmatch(line)
            if not match and n == len(lines) - 1 and not ended and FIELD_LINE.fullmatch(line + b":"):
                break  # it may yet become one
            if match:
                self.fields.append((match[1].lower(), match[2]))
                continue
            name, colon, value = line.partition(b":")
            self.check(re.fullmatch(TOKEN, name) and colon, "field-line")
            self.check(re.fullmatch(VALUE, value.strip(b" \t")), "field-value")

    def values(self, name):
        return [value for field, value in self.fields if field == name]

    def read_semantics(self):
        current = self.version != b"HTTP/1.0"
        hosts, lengths, codings = (
            self.values(b"host"),
            self.values(b"content-length"),
            self.values(b"transfer-encoding"),
        )
        self.check(hosts or not current, "host-missing")
        self.check(len(hosts) < 2, "host-repeated")
        for host in hosts:
            self.check(
                host, "host-empty"
            )  # POLICY: it is allowed for a URI without an authority, which http does not have
            self.check(not host or is_authority(host), "authority")
        expectations = [e for e in elements(self.values(b"expect")) if e and e.lower() != b"100-continue"]
        self.check(not current or not expectations, "expectation")

        self.length = 0
        for length in lengths:
            fine = re.fullmatch(rb"[0-9]+", length) and int(length) < 1 << 64
            self.check(fine, "content-length")
            self.length = int(length) if fine else 0
        self.check(len(lengths) < 2, "content-length-repeated")  # POLICY: equal values may be taken as one
        self.check(self.length <= BODY, "body-size")
        self.chunked = bool(codings)
        if codings:
            self.check(not lengths, "length-and-coding")  # POLICY: a server may let Transfer-Encoding win
            self.check(current, "coding-in-1.0")
            # POLICY: no coding but chunked, and no empty elements.
            self.check([c.lower() for c in elements(codings)] == [b"chunked"], "coding")

    # ---- the body -------------------------------------------------------------------------------------------------------

    def read_body(self, data):
        if self.chunked:
            self.read_chunks(data)
        else:
            self.body = data[: self.length]
            self.incomplete = len(data) < self.length
            self.taken = self.length

    def read_chunks(self, data):
        at, body, extensions = 0, [], 0
        while True:
            end = data.find(b"\r\n", at)
            line = data[at:end] if end >= 0 else data[at:].removesuffix(b"\r")
            match = CHUNK_LINE.fullmatch(line)
            if end < 0 and not match:
                if not any(CHUNK_LINE.fullmatch(line + end) for end in ENDS_OF_CHUNK_LINE):
                    self.judge_chunk_line(line)
                self.check(not re.match(rb"[0-9A-Fa-f]*[ \t]", line), "chunk-size-blank")
                self.incomplete = True
                return
            if not match:
                return self.judge_chunk_line(line)
            extensions += len(match[2])
            self.check(extensions <= EXTENSIONS, "extensions-size")
            self.check(
                re.match(rb"[^ \t]|$", match[2]), "chunk-size-blank"
            )  # POLICY: BWS before an extension is refused
            self.check(len(match[1]) <= DIGITS, "chunk-size-range")  # POLICY: a recipient has to guard against overflow
            size = int(match[1], 16)
            if end < 0:
                self.incomplete = True
                return
            at = end + 2
            if size == 0:
                break
            piece = data[at : at + size]
            body.append(piece)
            after = data[at + size : at + size + 2]
            self.check(b"\r\n".startswith(after), "chunk-data")
            if len(piece) < size or after != b"\r\n":
                self.incomplete = True
                return
            at += size + 2
        self.read_trailers(data, at)
        self.body = b"".join(body)

    def judge_chunk_line(self, line):
        size, rest = re.match(rb"([0-9A-Fa-f]*)(.*)", line, re.DOTALL).groups()
        if not size or not re.match(rb"[ \t]*;|[ \t]*$|[\r\n]|$", rest, re.DOTALL):
            self.faults.add("chunk-size")
        elif re.match(rb"[ \t]", rest):
            self.faults.add("chunk-size-blank" if re.match(rb"[ \t]+;", rest) else "chunk-size")
        self.check(len(size) <= DIGITS, "chunk-size-range")
        self.check(not re.search(rb"[\r\n]", rest), "chunk-line-end")
        if rest:
            self.check(re.fullmatch(EXTENSION, rest), "chunk-extension")
            self.check(len(rest) <= EXTENSIONS, "extensions-size")

    def read_trailers(self, data, at):
        # The section ends with an empty line; a line is looked at as far as it is there.
        match = re.compile(rb"(?:(?!\r\n).*?\r\n)*?\r\n", re.DOTALL).match(data, at)
        section = data[at : match.end()] if match else data[at:]
        self.trailers = section
        self.check(len(section) <= TRAILERS, "trailers-size")
        *lines, last = (section.removesuffix(b"\r\n") if match else section).split(b"\r\n")
        self.check(all(FIELD_LINE.fullmatch(line) for line in lines), "trailer")
        ended = match or last.endswith(b"\r")
        last = last if match else last.removesuffix(b"\r")
        self.check(not last or FIELD_LINE.fullmatch(last) or not ended and FIELD_LINE.fullmatch(last + b":"), "trailer")
        self.incomplete = match is None
        self.taken = match.end() if match else len(data)


def read(data):
    """The whole stream, as the RFCs and docs/http.md have it. Reasons are the names of faults."""
    reading = Reading()
    reading.messages = []
    while True:
        message = Message(data)
        reading.messages.append(message)
        if message.faults:
            reading.end, reading.reason = "refused", " ".join(sorted(message.faults))
        elif message.incomplete or not message.begun:
            reading.end = "incomplete" if message.begun else "idle"
        if message.faults or message.incomplete or not message.begun:
            return reading
        minor = int(message.version[-1:])
        options = {option.lower() for option in elements(message.values(b"connection"))}
        keep = b"close" not in options and (minor > 0 or b"keep-alive" in options)
        protocols = [p for p in elements(message.values(b"upgrade")) if p]
        fine = all(re.fullmatch(rb"%s(?:/%s)?" % (TOKEN, TOKEN), protocol) for protocol in protocols)
        upgrade = message.method == b"CONNECT" or (minor > 0 and b"upgrade" in options and bool(protocols) and fine)
        fields = [(text(name), text(value)) for name, value in message.fields]
        reading.requests.append(
            Request(
                text(message.method),
                text(message.target),
                min(minor, 1),
                fields,
                text(message.body),
                keep,
                message.chunked,
                upgrade,
            )
        )
        if not keep:
            reading.end = "closed"
            return reading
        data = message.rest[message.taken :]
