"""Requests that two servers in a row might read in two ways. Every one has to be refused, its connection closed, and what
lies behind it never looked at; the few that are well-formed have to be read in the one way that the RFCs have.

Rule: a shape counts as withstood only if the smuggled request was not answered, whatever else the server did.
"""

from client import Client
from score import Score

SMUGGLED = b"GET /bytes/7777 HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED_SMUGGLED = b"0\r\n\r\n" + SMUGGLED


def post(*lines, body=CHUNKED_SMUGGLED, version=b"HTTP/1.1"):
    return b"POST / " + version + b"\r\nHost: a\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def get(*lines):
    return b"GET / HTTP/1.1\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + SMUGGLED


CHUNKED = b"Transfer-Encoding: chunked"

# Framing that can be read in two ways: 400, or 501 where a coding is well-formed and not chunked.
FRAMING = {
    "Content-Length and Transfer-Encoding": post(b"Content-Length: 4", CHUNKED),
    "Transfer-Encoding and Content-Length": post(CHUNKED, b"Content-Length: 4"),
    "Content-Length twice, equal": post(b"Content-Length: 0", b"Content-Length: 0", body=SMUGGLED),
    "Content-Length twice, different": post(b"Content-Length: 0", b"Content-Length: 44", body=SMUGGLED),
    "Content-Length as a list": post(b"Content-Length: 0, 0", body=SMUGGLED),
    "Content-Length with a sign": post(b"Content-Length: +0", body=SMUGGLED),
    "Content-Length below zero": post(b"Content-Length: -1", body=SMUGGLED),
    "Content-Length in hexadecimal": post(b"Content-Length: 0x0", body=SMUGGLED),
    "Content-Length with an underscore": post(b"Content-Length: 0_0", body=SMUGGLED),
    "Content-Length with a dot": post(b"Content-Length: 0.0", body=SMUGGLED),
    "Content-Length with text behind it": post(b"Content-Length: 0 a", body=SMUGGLED),
    "Content-Length that is empty": post(b"Content-Length:", body=SMUGGLED),
    "Content-Length beyond 64 bits": post(b"Content-Length: 18446744073709551616", body=SMUGGLED),
    "Content-Length in other digits": post("Content-Length: \u0660".encode(), body=SMUGGLED),
    "Content-Length with a vertical tab": post(b"Content-Length: \x0b0", body=SMUGGLED),
    "Content-Length with NUL": post(b"Content-Length: 0\x00", body=SMUGGLED),
    "a blank before the colon of Content-Length": post(b"Content-Length : 0", body=SMUGGLED),
    "a blank before the colon of Transfer-Encoding": post(b"Transfer-Encoding : chunked", b"Content-Length: 4"),
    "a tab before the colon of Transfer-Encoding": post(b"Transfer-Encoding\t: chunked", b"Content-Length: 4"),
    "a blank before the name": post(b" Transfer-Encoding: chunked", b"Content-Length: 4"),
    "a folded Transfer-Encoding": post(b"Transfer-Encoding:", b" chunked", b"Content-Length: 4"),
    "a field folded into Transfer-Encoding": post(b"X: y", b" Transfer-Encoding: chunked", b"Content-Length: 4"),
    "xchunked": post(b"Transfer-Encoding: xchunked", b"Content-Length: 4"),
    "chunked in quotes": post(b'Transfer-Encoding: "chunked"'),
    "chunked with a vertical tab": post(b"Transfer-Encoding: \x0bchunked"),
    "chunked with NUL": post(b"Transfer-Encoding: chunked\x00"),
    "chunked with a byte of Latin-1": post(b"Transfer-Encoding: \xa0chunked"),
    "chunked, identity": post(b"Transfer-Encoding: chunked, identity"),
    "identity, chunked": post(b"Transfer-Encoding: identity, chunked"),
    "identity": post(b"Transfer-Encoding: identity", body=SMUGGLED),
    "chunked, chunked": post(b"Transfer-Encoding: chunked, chunked"),
    "chunked in two fields": post(CHUNKED, CHUNKED),
    "chunked in one field, cow in another": post(CHUNKED, b"Transfer-Encoding: cow"),
    "cow in one field, chunked in another": post(b"Transfer-Encoding: cow", CHUNKED),
    "chunked with a parameter": post(b"Transfer-Encoding: chunked;a=b"),
    "chunked with a comma": post(b"Transfer-Encoding: chunked,"),
    "an empty Transfer-Encoding": post(b"Transfer-Encoding:", body=SMUGGLED),
    "Transfer-Encoding with HTTP/1.0": post(CHUNKED, version=b"HTTP/1.0"),
    "Transfer-Encoding with HTTP/1.0 and keep-alive": post(CHUNKED, b"Connection: keep-alive", version=b"HTTP/1.0"),
    "a bare LF hides Transfer-Encoding": post(b"X: y\nTransfer-Encoding: chunked", b"Content-Length: 4"),
    "a bare CR hides Transfer-Encoding": post(b"X: y\rTransfer-Encoding: chunked", b"Content-Length: 4"),
    "CR CR LF hides Transfer-Encoding": post(b"X: y\r\r\nTransfer-Encoding: chunked", b"Content-Length: 4"),
    "a name with NUL": post(b"Transfer-Encoding\x00: chunked", b"Content-Length: 4"),
    "a name with a parenthesis": post(b"Transfer-Encoding(: chunked", b"Content-Length: 4"),
    "a line without a colon": post(b"Transfer-Encoding chunked", b"Content-Length: 4"),
    "a head that ends in LF LF": b"GET / HTTP/1.1\r\nHost: a\n\n" + SMUGGLED,
    "a head that ends in CR LF LF": b"GET / HTTP/1.1\r\nHost: a\r\n\n" + SMUGGLED,
    "a chunk's size in 0x": post(CHUNKED, body=b"0x0\r\n\r\n" + SMUGGLED),
    "a chunk's size with a sign": post(CHUNKED, body=b"+0\r\n\r\n" + SMUGGLED),
    "a chunk's size below zero": post(CHUNKED, body=b"-1\r\n\r\n" + SMUGGLED),
    "a chunk's size beyond 64 bits": post(CHUNKED, body=b"10000000000000000\r\n\r\n" + SMUGGLED),
    "a chunk's size that wraps to zero at 128 bits": post(CHUNKED, body=b"1" + b"0" * 32 + b"\r\n\r\n" + SMUGGLED),
    "a blank behind a chunk's size": post(CHUNKED, body=b"0 \r\n\r\n" + SMUGGLED),
    "a blank before a chunk's size": post(CHUNKED, body=b" 0\r\n\r\n" + SMUGGLED),
    "an empty chunk size": post(CHUNKED, body=b"\r\n\r\n" + SMUGGLED),
    "a chunk's size that ends in LF": post(CHUNKED, body=b"0\n\r\n" + SMUGGLED),
    "a chunk's size that ends in CR": post(CHUNKED, body=b"0\r\r\n\r\n" + SMUGGLED),
    "a LF in a chunk extension": post(CHUNKED, body=b"2;\nxx\r\n2c\r\n0\r\n\r\n" + SMUGGLED),
    "a CR in a chunk extension": post(CHUNKED, body=b"1;a\rb\r\nx\r\n0\r\n\r\n" + SMUGGLED),
    "a chunk extension with NUL": post(CHUNKED, body=b"0;a\x00\r\n\r\n" + SMUGGLED),
    "a chunk that ends in LF": post(CHUNKED, body=b"1\r\na\n0\r\n\r\n" + SMUGGLED),
    "a chunk longer than its size": post(CHUNKED, body=b"1\r\nabc\r\n0\r\n\r\n" + SMUGGLED),
    "a chunk that ends in two other bytes": post(CHUNKED, body=b"1\r\naxx0\r\n\r\n" + SMUGGLED),
    "trailers that end in LF LF": post(CHUNKED, body=b"0\r\nT: v\n\n" + SMUGGLED),
    "a folded trailer": post(CHUNKED, body=b"0\r\nT: v\r\n w\r\n\r\n" + SMUGGLED),
    "a trailer without a colon": post(CHUNKED, body=b"0\r\nGET /bytes/7777 HTTP/1.1\r\nHost: a\r\n\r\n" + SMUGGLED),
}
# Whom a request is for, and what it asks.
ROUTING = {
    "no Host": get(),
    "two Hosts": get(b"Host: a", b"Host: b"),
    "an empty Host": get(b"Host:"),
    "a Host with a path": get(b"Host: a/b"),
    "a Host with user information": get(b"Host: a@b"),
    "a Host that is a list": get(b"Host: a b"),
    "a Host with a bad port": get(b"Host: a:b"),
    "a folded Host": get(b"Host:", b" a"),
    "a blank before the colon of Host": get(b"Host : a"),
    "a target with a fragment": b"GET /#x HTTP/1.1\r\nHost: a\r\n\r\n" + SMUGGLED,
    "a target with a blank": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n" + SMUGGLED,
    "a target with NUL": b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n" + SMUGGLED,
    "a target with a byte from 0x80 on": b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n" + SMUGGLED,
    "a target without a slash": b"GET a HTTP/1.1\r\nHost: a\r\n\r\n" + SMUGGLED,
    "a target with user information": b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n" + SMUGGLED,
    "a target of another scheme": b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n" + SMUGGLED,
    "a request without a version": b"GET /\r\n\r\n" + SMUGGLED,
    "a version in small letters": b"GET / http/1.1\r\nHost: a\r\n\r\n" + SMUGGLED,
    "a version of two digits": b"GET / HTTP/1.10\r\nHost: a\r\n\r\n" + SMUGGLED,
    "two blanks in the request line": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n" + SMUGGLED,
    "a tab in the request line": b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n" + SMUGGLED,
    "a blank behind the version": b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n" + SMUGGLED,
    "a blank before the method": b" GET / HTTP/1.1\r\nHost: a\r\n\r\n" + SMUGGLED,
    "a method with a control character": b"G\x01T / HTTP/1.1\r\nHost: a\r\n\r\n" + SMUGGLED,
    "a bare LF before the request": b"\n" + get(b"Host: a"),
    "a bare CR before the request": b"\r" + get(b"Host: a"),
    "a byte order mark": b"\xef\xbb\xbf" + get(b"Host: a"),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SMUGGLED,
    "a ClientHello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + SMUGGLED,
    "a field value with NUL": get(b"Host: a", b"X: a\x00b"),
    "a field value with DEL": get(b"Host: a", b"X: a\x7fb"),
    "a field without a name": get(b"Host: a", b": b"),
    "a blank before the first field": b"GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n" + SMUGGLED,
}
# Well-formed: the statuses that follow one another, and nothing behind them.
READ_ONE_WAY = {
    "GET with a body": (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED, [200]),
    "GET with chunks": (
        b"GET / HTTP/1.1\r\nHost: a\r\n" + CHUNKED + b"\r\n\r\n%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n",
        [200],
    ),
    "a request as a chunk": (post(CHUNKED, body=b"%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n"), [200]),
    "a request as a quoted extension": (post(CHUNKED, body=b'0;a="GET /bytes/7777 HTTP/1.1"\r\n\r\n'), [200]),
    "framing fields as trailers": (
        post(CHUNKED, body=b"0\r\nContent-Length: 50\r\nTransfer-Encoding: gzip\r\n\r\n"),
        [200],
    ),
    "a body, then a request": (post(b"Content-Length: 0", body=b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n"), [200, 404]),
    "Transfer-Encoding in other letters": (post(b"tRANSFER-eNCODING: cHUNKED", body=b"1\r\na\r\n0\r\n\r\n"), [200]),
    "a request behind Connection: close": (get(b"Host: a", b"Connection: close"), [200]),
    "a request behind HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n" + SMUGGLED, [200]),
    "an Upgrade that is declined": (
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 3\r\n\r\nabc"
            b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n"
        ),
        [200, 404],
    ),
}


def statuses(port, data):
    """What came back until the connection ended."""
    found = []
    with Client(port) as client:
        client.send(data)
        client.end()
        while client.buffer or client.more():
            answer = client.read()
            if len(answer.body) == 7777:
                raise AssertionError("the smuggled request was answered")
            found.append(answer.status)
    return found


def refused(port, data):
    found = statuses(port, data)
    if found not in ([400], [501], [505]):
        raise AssertionError(f"answered {found}")


def read_one_way(port, data, wanted):
    found = statuses(port, data)
    if found != wanted:
        raise AssertionError(f"answered {found} instead of {wanted}")


def run(port):
    score = Score("smuggling")
    for name, data in {**FRAMING, **ROUTING}.items():
        score.run(name, refused, port, data)
    for name, (data, wanted) in READ_ONE_WAY.items():
        score.run(name, read_one_way, port, data, wanted)
    return score
