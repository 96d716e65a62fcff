"""Every way in which two readings of the same bytes may differ, and why. Whatever is not here is a failure.

Rule: a difference is explained by what the bytes are, as the referee sees them, and never by the word of a parser alone.
The tables of docs/parsers.md are written from this file.
"""

import re
from dataclasses import dataclass

from grammar import Message

PEERS = ("h11", "llhttp")


@dataclass(frozen=True)
class Kind:
    what: str
    section: str
    why: str
    # Which parsers are known to differ in this way.
    peers: tuple = PEERS


class Unexplained(Exception):
    pass


# ---- what encke refuses -------------------------------------------------------------------------------------------------

# The faults that the referee must find for a refusal of ours with these words; a word that is not here is a failure.
REASONS = {
    "line-end": [
        "line that ends in a bare LF",
        "bare CR in the head",
        "bare CR before the request line",
        "bare LF before the request line",
    ],
    "empty-lines": ["too many empty lines before the request line"],
    "request-line": [
        "white space before the method",
        "more than one space between the parts of the request line",
        "white space behind the HTTP version",
        "request line without a target",
        "request line without a version",
    ],
    "method": ["invalid character in the method"],
    "version": ["malformed HTTP version", "white space behind the HTTP version"],
    "version-unsupported": ["HTTP version is not 1.0 or 1.1"],
    "target": [
        "fragment in the request target",
        "control character in the request target",
        "non-ASCII byte in the request target",
        "request target is neither a path nor an http or https URI",
        "request target * with a method other than OPTIONS",
        "CONNECT without a port",
    ],
    "authority": [
        "host is empty",
        "IP literal of the host is not closed",
        "host has a malformed IP literal",
        "characters between the IP literal of the host and its port",
        "user information in the host",
        "malformed percent encoding in the host",
        "path, query or fragment in the host",
        "invalid character in the host",
        "port of the host is not a number",
        "port of the host is out of range",
    ],
    "host-empty": ["host is empty"],
    "host-missing": ["Host missing"],
    "host-repeated": ["Host repeated"],
    "field-line": [
        "field without a name",
        "white space before the colon of a field",
        "field line without a colon",
        "invalid character in a field name",
    ],
    "field-value": ["NUL in a field value", "control character in a field value"],
    "obs-fold": ["obsolete line folding of a field", "white space before the first field"],
    "expectation": ["expectation other than 100-continue"],
    "content-length": [
        "Content-Length is a list",
        "Content-Length has a sign",
        "Content-Length is not a number",
        "Content-Length out of range",
        "Content-Length is empty",
    ],
    "content-length-repeated": ["Content-Length repeated"],
    "length-and-coding": ["Content-Length beside Transfer-Encoding"],
    "coding-in-1.0": ["Transfer-Encoding on HTTP/1.0"],
    "coding": [
        "empty element in Transfer-Encoding",
        "chunked transfer coding with parameters",
        "chunked transfer coding repeated",
        "chunked is not the final transfer coding",
        "transfer coding other than chunked",
        "malformed Transfer-Encoding",
    ],
    "chunk-size": ["chunk size is not plain hexadecimal digits", "chunk without a size"],
    "chunk-size-blank": ["chunk size is not plain hexadecimal digits"],
    "chunk-size-range": ["chunk size out of range"],
    "chunk-line-end": [
        "bare CR in a chunk's size line",
        "bare LF in a chunk's size line",
        "bare LF in a chunk extension",
        "bare CR in a chunk extension",
        "chunk without a size",
    ],
    "chunk-extension": [
        "malformed chunk extension",
        "control character in a chunk extension",
        "bare CR in a chunk extension",
        "bare LF in a chunk extension",
        "bare CR in a chunk's size line",
    ],
    "chunk-data": ["chunk longer than its size"],
    "trailer": [
        "malformed trailer field",
        "white space before the colon of a trailer field",
        "obsolete line folding of a trailer field",
        "control character in a trailer field",
        "bare LF in the trailer section",
        "bare CR in the trailer section",
    ],
    "body-size": ["the body is larger than the limit"],
    "extensions-size": ["chunk extensions too long"],
    "trailers-size": ["trailer section too large"],
    "too-many-fields": ["too many fields"],
    "head-size": ["fields too large", "request target too long"],
}
IN_BODY = [fault for fault in REASONS if fault.startswith(("chunk", "trailer", "body", "extension"))]


def fault_of(reading, message):
    """What our refusal is about; the referee has to agree."""
    if not reading.reason:  # the answer to HEAD has no text, and only a fault behind the head comes so late
        candidates = IN_BODY
    else:
        candidates = [fault for fault, reasons in REASONS.items() if reading.reason in reasons]
    for fault in candidates:
        if fault in message.faults:
            return fault
    if "line-end" in message.faults:  # with other ends, the lines are other lines
        return "line-end"
    raise Unexplained(f"encke refuses ({reading.reason!r}); the referee has {sorted(message.faults)}")


# Which of them another parser takes. None takes a fault that is not here.
REFUSED = {
    "line-end": Kind(
        "a bare LF or a bare CR in the head or before it",
        "9112, 2.2",
        "A recipient may take a bare LF as the end of a line. Where one in front does not, a field or a whole request"
        " is hidden from it. h11 takes a bare LF everywhere, llhttp any CR and LF before the request line.",
    ),
    "empty-lines": Kind(
        "more than eight empty lines before the request line",
        "9112, 2.2",
        "A server should ignore at least one. llhttp ignores any number; h11 none (below).",
        ("llhttp",),
    ),
    "request-line": Kind(
        "more than one space between the parts of the request line, or no version",
        "9112, 3",
        "Lenient splitting is allowed, and the RFC warns of it in the same breath. llhttp skips spaces before the"
        " target and takes a line without a version as HTTP/0.9.",
        ("llhttp",),
    ),
    "version": Kind(
        "another protocol's name in the version", "9112, 2.3", "llhttp reads RTSP and ICE as well.", ("llhttp",)
    ),
    "version-unsupported": Kind(
        "a major version other than 1",
        "9110, 15.6.6",
        "505. h11 hands any version over; llhttp takes 0.9 and 2.0 in a request line of HTTP/1.",
    ),
    "target": Kind(
        "a target of none of the four forms, or with a byte that no target has",
        "9112, 3.2",
        "h11 takes any visible byte, `#` too; llhttp any scheme, `#`, `*` with every method and CONNECT without a"
        " port.",
    ),
    "authority": Kind(
        "a Host or an authority that is not host and port",
        "9112, 3.2; 3986, 3.2.2",
        "The server must answer 400 to an invalid Host. Both leave the look at its value to the program behind.",
    ),
    "host-empty": Kind("an empty Host", "9110, 4.2.1", "Allowed for a URI without authority, and an http URI has one."),
    "host-missing": Kind(
        "HTTP/1.1 without Host",
        "9112, 3.2",
        "Must be answered with 400. llhttp leaves it to the program behind; h11 asks for it only if the version is"
        " exactly 1.1.",
    ),
    "host-repeated": Kind(
        "two Host fields",
        "9112, 3.2",
        "Must be answered with 400. llhttp leaves it to the program behind.",
        ("llhttp",),
    ),
    "field-value": Kind(
        "a control character in a field value",
        "9110, 5.5",
        "NUL, CR and LF must be refused or replaced, the others may be kept. h11 keeps most of those.",
        ("h11",),
    ),
    "obs-fold": Kind(
        "a folded field line", "9112, 5.2", "A server must refuse it or unfold it. h11 unfolds.", ("h11",)
    ),
    "expectation": Kind(
        "an expectation other than 100-continue",
        "9110, 10.1.1",
        "A server may answer 417. Neither parser looks at Expect values that it does not know.",
    ),
    "content-length": Kind(
        "a Content-Length that is a list",
        "9110, 8.6",
        "A list of equal values may be refused or taken as one. h11 takes it.",
        ("h11",),
    ),
    "content-length-repeated": Kind(
        "Content-Length twice with the same value", "9110, 8.6", "As the list. h11 takes it.", ("h11",)
    ),
    "length-and-coding": Kind(
        "Content-Length beside Transfer-Encoding",
        "9112, 6.1",
        "A server may refuse it, or let Transfer-Encoding win and close the connection after the answer. h11 lets it"
        " win and keeps the connection.",
        ("h11",),
    ),
    "coding-in-1.0": Kind(
        "Transfer-Encoding with HTTP/1.0",
        "9112, 6.1",
        "The framing must be treated as faulty, even with a Content-Length. Both decode the chunks.",
    ),
    "coding": Kind(
        "a Transfer-Encoding with other codings or empty elements, that ends in chunked",
        "9112, 6.1 and 7",
        "The framing is clear, but 501 is due for a coding that is not understood. llhttp looks at the last word"
        " alone.",
        ("llhttp",),
    ),
    "chunk-size": Kind(
        "blanks behind a chunk's size and no extension",
        "9112, 7.1",
        "No production has them. h11 strips them, for servers that are known to send them.",
        ("h11",),
    ),
    "chunk-size-range": Kind(
        "a chunk's size of more than 16 digits",
        "9112, 7.1",
        "A recipient must guard against overflow. Leading zeros may hide any number of digits: h11 takes 20, llhttp"
        " all.",
    ),
    "chunk-line-end": Kind(
        "a bare CR or LF in the line of a chunk's size",
        "9112, 7.1 and 2.2",
        "To h11 a bare CR is part of the extension.",
        ("h11",),
    ),
    "chunk-extension": Kind(
        "a malformed chunk extension",
        "9112, 7.1.1",
        "A recipient must ignore what it does not understand, and may bound and refuse it. h11 takes whatever stands"
        " behind the `;`; llhttp takes empty names and values.",
    ),
    "trailer": Kind(
        "a malformed trailer field, or one that ends in a bare LF",
        "9112, 7.1.2",
        "h11 reads trailer fields as it reads fields: bare LF and folding included.",
        ("h11",),
    ),
    "body-size": Kind(
        "a body above the limit", "9110, 15.5.14", "413. The parsers know no limit and wait for the body."
    ),
    "head-size": Kind(
        "a head above the limit",
        "6585, 5; 9110, 15.5.15",
        "431, or 414 within the request line. The limits of the parsers are off here.",
    ),
    "extensions-size": Kind(
        "more than 4 KiB of chunk extensions", "9112, 7.1.1", "A recipient ought to limit them. The parsers do not."
    ),
    "trailers-size": Kind("more than 8 KiB of trailer fields", "6585, 5", "431. The parsers know no limit."),
    "too-many-fields": Kind("more than 100 fields", "6585, 5", "431. The parsers know no limit."),
}


# ---- what encke takes ---------------------------------------------------------------------------------------------------

LLHTTP_METHODS = """DELETE GET HEAD POST PUT CONNECT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK BIND
    REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PATCH PURGE MKCALENDAR LINK UNLINK
    SOURCE QUERY DESCRIBE ANNOUNCE SETUP PLAY PAUSE TEARDOWN GET_PARAMETER SET_PARAMETER REDIRECT RECORD FLUSH""".split()


def has_other_method(message):
    method, space, _ = message.line.decode("latin-1").partition(" ")
    return method not in LLHTTP_METHODS if space else not any(known.startswith(method) for known in LLHTTP_METHODS)


def has_field_in_trailers(message):
    return re.search(rb"^(?:content-length|transfer-encoding)[ \t]*:", message.trailers, re.IGNORECASE | re.MULTILINE)


def has_blanks_in_extension(message):
    lines = re.findall(rb"^[0-9A-Fa-f]+(;[^\r\n]*)", message.rest, re.MULTILINE)
    return any(re.search(rb"[;=][ \t]|[ \t](?:[;=]|$)|[\x80-\xff]", line) for line in lines)


# For each parser: a kind, its words for the refusal, and what the bytes must be.
STRICTER = {
    "h11": [
        ("h11-empty-lines", r"no request line received|illegal request line", lambda m: m.data.startswith(b"\r")),
        ("h11-trailers", r"Content-Length|Transfer-Encoding", has_field_in_trailers),
        ("h11-length-digits", r"bad Content-Length", lambda m: any(len(v) > 20 for v in m.values(b"content-length"))),
    ],
    "llhttp": [
        (
            "llhttp-methods",
            r"Invalid method|Expected space after method|Expected HTTP/2 Connection Preface",
            has_other_method,
        ),
        ("llhttp-versions", r"Invalid HTTP version", lambda m: re.search(rb" HTTP/1\.[2-9]$", m.line)),
        (
            "llhttp-coding-blank",
            r"Request has invalid `Transfer-Encoding`",
            lambda m: re.search(
                rb"^transfer-encoding:[^\r]*\t[ \t]*\r$", m.head + b"\r\n", re.IGNORECASE | re.MULTILINE
            ),
        ),
        ("llhttp-extension-blank", r"Invalid character in chunk extensions", has_blanks_in_extension),
        ("llhttp-trailers", r"Content-Length|Transfer-Encoding", has_field_in_trailers),
    ],
}

TAKEN = {
    "h11-empty-lines": Kind(
        "an empty line before the request line, or behind the last body",
        "9112, 2.2",
        "A server should ignore at least one. encke skips eight; h11 refuses.",
        ("h11",),
    ),
    "h11-trailers": Kind(
        "a malformed Content-Length or Transfer-Encoding as a trailer field",
        "9110, 6.5.1",
        "They must not be there, and are to be ignored if they are. encke drops all trailer fields; h11 checks their"
        " values.",
        ("h11",),
    ),
    "h11-length-digits": Kind(
        "a Content-Length of more than 20 digits with leading zeros",
        "9110, 8.6",
        "The grammar has no limit. encke counts the value, h11 the digits.",
        ("h11",),
    ),
    "llhttp-methods": Kind(
        "a method that is not registered",
        "9110, 9.1",
        "Any token is a method: encke hands it over, and the host answers 501. llhttp has a list.",
        ("llhttp",),
    ),
    "llhttp-versions": Kind(
        "HTTP/1.2 to HTTP/1.9",
        "9110, 2.5",
        "A higher minor version is to be served as the highest one known. llhttp refuses.",
        ("llhttp",),
    ),
    "llhttp-coding-blank": Kind(
        "`Transfer-Encoding: chunked` with a tab behind it",
        "9112, 5.1",
        "Optional white space is excluded from the value. llhttp skips spaces only.",
        ("llhttp",),
    ),
    "llhttp-extension-blank": Kind(
        "blanks around `;` and `=` of a chunk extension, or bytes from 0x80 on in a quoted one",
        "9112, 7.1.1",
        "The grammar has both, though nobody should send the blanks. llhttp refuses.",
        ("llhttp",),
    ),
    "llhttp-trailers": Kind(
        "Content-Length or Transfer-Encoding as a trailer field",
        "9110, 6.5.1",
        "As above. llhttp takes them for fields of the head, and runs into its own checks.",
        ("llhttp",),
    ),
}


# ---- what both take, and read otherwise -------------------------------------------------------------------------------------


def options(request):
    return {o.strip(" \t").lower() for name, value in request.fields if name == "connection" for o in value.split(",")}


def has(request, field):
    return any(name == field for name, _ in request.fields)


# Kind, what differs, and what must hold of our request and theirs (and of the message).
DIFFERENT = {
    "h11": [
        ("h11-keep-alive", "keep", lambda a, b, m: a.minor == 0 and a.keep and not b.keep),
        ("h11-versions", "minor", lambda a, b, m: a.minor == 1 and m.version == b"HTTP/1.%d" % b.minor),
        ("h11-upgrade", "upgrade", lambda a, b, m: b.upgrade and has(a, "upgrade")),
        (
            "h11-coding-case",
            "fields",
            lambda a, b, m: [(n, v.lower() if n == "transfer-encoding" else v) for n, v in a.fields] == b.fields,
        ),
    ],
    "llhttp": [
        ("llhttp-value-blank", "fields", lambda a, b, m: a.fields == [(n, v.rstrip(" \t")) for n, v in b.fields]),
        ("llhttp-proxy-connection", "keep", lambda a, b, m: has(a, "proxy-connection")),
        (
            "llhttp-trailer-connection",
            "keep",
            lambda a, b, m: re.search(rb"^(?:proxy-)?connection[ \t]*:", m.trailers, re.IGNORECASE | re.MULTILINE),
        ),
        ("llhttp-close", "keep", lambda a, b, m: a.minor == 0 and not a.keep and {"close", "keep-alive"} <= options(a)),
        ("llhttp-upgrade", "upgrade", lambda a, b, m: b.upgrade and has(a, "upgrade")),
    ],
}

OTHERWISE = {
    "h11-keep-alive": Kind(
        "HTTP/1.0 with `Connection: keep-alive`",
        "9112, 9.3 and C.2.2",
        "Persistent, if the server likes. encke goes on, h11 closes.",
        ("h11",),
    ),
    "h11-versions": Kind(
        "HTTP/1.2 to HTTP/1.9", "9110, 2.5", "encke calls it 1.1, h11 hands over what came.", ("h11",)
    ),
    "h11-upgrade": Kind(
        "Upgrade without `Connection: upgrade`, malformed, or with HTTP/1.0",
        "9110, 7.8",
        "No offer to leave HTTP: it may be, or must be, ignored. h11 looks for the field alone.",
        ("h11",),
    ),
    "h11-coding-case": Kind(
        "the value of Transfer-Encoding",
        "9112, 7",
        "The name of a coding is case-insensitive. encke hands it over as it came, h11 in lower case.",
        ("h11",),
    ),
    "llhttp-value-blank": Kind(
        "blanks behind a field value",
        "9112, 5.1",
        "Not part of the value. llhttp leaves them to the program behind.",
        ("llhttp",),
    ),
    "llhttp-proxy-connection": Kind(
        "Proxy-Connection", "9112, C.2.2", "Not a field of HTTP. llhttp takes it for Connection.", ("llhttp",)
    ),
    "llhttp-trailer-connection": Kind(
        "Connection as a trailer field",
        "9110, 6.5.1",
        "To be ignored there. llhttp takes it for a field of the head.",
        ("llhttp",),
    ),
    "llhttp-close": Kind(
        "HTTP/1.0 with both `close` and `keep-alive`",
        "9112, 9.3",
        "close wins. In llhttp keep-alive does.",
        ("llhttp",),
    ),
    "llhttp-upgrade": Kind(
        "Upgrade that is malformed or empty, or with HTTP/1.0",
        "9110, 7.8",
        "As above. llhttp wants both fields and does not look at Upgrade's value.",
        ("llhttp",),
    ),
    "late": Kind(
        "a fault in a head, a line or a trailer section that is not complete",
        "",
        "No difference in the verdict but in its time, seen where the stream ends before it. h11 looks at whole heads"
        " and lines, llhttp at each byte. encke finds most at once; what only the end of the head shows (a bare LF, a"
        " target, an authority, framing) is found with it.",
    ),
}

TABLES = {"Refused by encke": REFUSED, "Taken by encke": TAKEN, "Read otherwise": OTHERWISE}
KINDS = {name: kind for table in TABLES.values() for name, kind in table.items()}


# ---- the comparison -----------------------------------------------------------------------------------------------------------

ATTRIBUTES = ("method", "target", "minor", "fields", "chunked", "body", "keep", "upgrade")


def outcome(reading, n):
    return "request" if n < len(reading.requests) else reading.end


def check_ours(ours, rfc):
    """Ours against the referee: the same requests, the same end, and a fault for every refusal. Returns kinds."""
    if ours.requests != rfc.requests:
        raise Unexplained("encke and the referee read different requests")
    message = rfc.messages[-1]
    if ours.end == "refused":
        fault_of(ours, message)
    elif ours.end == "incomplete" and rfc.end == "refused" and is_late(message, None):
        return ["late"]
    elif ours.end != rfc.end:
        raise Unexplained(f"encke: {ours.end}; the referee: {rfc.end} {rfc.reason}")
    return []


COMPLETIONS = [
    begun + b"\r\n\r\n"
    for begun in (b"", b"\r\nHost: a", b" HTTP/1.1\r\nHost: a", b"/ HTTP/1.1\r\nHost: a", b"x: a", b": a", b"a", b"1")
]


def is_late(message, fault):
    """Whether the verdict on this message is certain (with this fault, if it is known) before the message is complete."""
    if fault in IN_BODY and fault != "body-size":
        return message.incomplete
    if message.whole:
        return False
    return bool(message.faults) or all(Message(message.data + end).faults for end in COMPLETIONS)


def compare(ours, theirs, peer, messages):
    """The kinds in which a parser differs from us."""
    kinds = []
    for n in range(len(ours.requests) + 1):
        here, there = outcome(ours, n), outcome(theirs, n)
        message = messages[n] if n < len(messages) else None
        if there == "leaves" or here == there == "refused":
            break
        if here == there == "request":
            kinds += different(ours.requests[n], theirs.requests[n], peer, message)
            if ours.requests[n].keep != theirs.requests[n].keep:
                break
        elif here == "refused":
            fault = fault_of(ours, message)
            if there == "incomplete" and is_late(message, fault):
                kinds.append("late")
            elif fault in REFUSED and peer in REFUSED[fault].peers:
                kinds.append(fault)
            else:
                raise Unexplained(f"{peer}: {there}; encke refuses for {fault}: {ours.reason}")
            break
        elif there == "refused":
            kinds.append(stricter(theirs, peer, message, here))
            break
        elif there == "incomplete" and peer == "llhttp" and message.line.startswith(b"PRI "):
            kinds.append("llhttp-methods")  # it waits for the rest of HTTP/2's preface
            break
        elif here != there:
            raise Unexplained(f"encke: {here}; {peer}: {there}")
    return kinds


def different(ours, theirs, peer, message):
    kinds = []
    for attribute in ATTRIBUTES:
        if getattr(ours, attribute) == getattr(theirs, attribute):
            continue
        rules = [kind for kind, what, holds in DIFFERENT[peer] if what == attribute and holds(ours, theirs, message)]
        if not rules:
            raise Unexplained(f"{attribute}: encke {getattr(ours, attribute)!r}, {peer} {getattr(theirs, attribute)!r}")
        kinds.append(rules[0])
    return kinds


def stricter(theirs, peer, message, here):
    for kind, words, holds in STRICTER[peer]:
        if re.search(words, theirs.reason) and holds(message):
            return kind
    if here == "incomplete" and is_late(message, None):
        return "late"
    raise Unexplained(f"{peer} refuses ({theirs.reason!r}); encke: {here}")
