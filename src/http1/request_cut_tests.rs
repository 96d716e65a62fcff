//! Request heads cut anywhere and damaged anyhow: what must hold for any bytes.

use super::tests::{check_invariants, LIMITS, WITH_CONNECT};
use super::*;
use crate::every;

#[test]
fn scan_says_when_parsing_may_help() {
    let mut scan = Scan::new();
    assert!(std::mem::size_of::<Scan>() <= 8);
    assert!(scan.worth_parsing(b"GET /"));
    assert!(!scan.worth_parsing(b"GET / HT"));
    assert!(scan.worth_parsing(b"GET / HTTP/")); // doubled
    assert!(!scan.worth_parsing(b"GET / HTTP/1.1\r\nA:b"));
    assert!(scan.worth_parsing(b"GET / HTTP/1.1\r\nA:b\r\n\r\n"));
    // A fresh buffer.
    assert!(scan.worth_parsing(b"G"));
}

/// An end of head is seen across every seam, and the bytes looked at stay within a constant factor.
#[test]
fn scan_across_seams() {
    let fields = "X-Filler: 0123456789\r\n".repeat(20);
    for end in ["\r\n\r\n", "\n\n", "\n\r\n"] {
        let text = format!("GET / HTTP/1.1\r\n{fields}Host: a{end}");
        let bytes = text.as_bytes();
        for cut in bytes.len() - 6..bytes.len() {
            let mut scan = Scan::new();
            assert!(scan.worth_parsing(&bytes[..cut - 3]));
            assert!(!scan.worth_parsing(&bytes[..cut]), "{end:?} {cut}");
            assert!(scan.worth_parsing(bytes), "{end:?} {cut}");
        }
        let mut scan = Scan::new();
        let parsed: usize = (1..=bytes.len()).filter(|&cut| scan.worth_parsing(&bytes[..cut])).sum();
        assert!(parsed <= 4 * bytes.len(), "{parsed}");
    }
}

/// The verdict on a stream and how many of its bytes it took.
fn verdicts(bytes: &[u8], limits: &Limits) {
    let mut head = RequestHead::default();
    let whole = parse(bytes, limits, &mut head);
    if whole == Ok(Parsed::Complete) {
        check_invariants(bytes, &head);
        let named = diagnose(&bytes[head.method.start as usize..head.len], limits.max_fields);
        assert!(!matches!(named, Verdict::Fault(_)), "{named:?}");
    }
    let len = head.len;
    let text = || String::from_utf8_lossy(bytes).into_owned();
    let mut last = Ok(Parsed::Partial);
    for end in (0..bytes.len()).step_by(every(17)).chain([bytes.len()]) {
        let now = parse(&bytes[..end], limits, &mut head);
        if last != Ok(Parsed::Partial) {
            assert_eq!(now, last, "{:?} at {end}", text());
        }
        if now == Ok(Parsed::Complete) {
            assert!(whole == Ok(Parsed::Complete) && head.len == len && end >= len, "{:?} at {end}", text());
        }
        if let Err(fault) = now {
            assert!(!fault.text.is_empty() && fault.text != "malformed request head", "{:?} at {end}", text());
        }
        last = now;
    }
    assert_eq!(last, whole);
}

/// Any bytes, cut anywhere: no panic, and a verdict once reached is final. The bytes are known heads, damaged.
#[test]
fn a_verdict_is_final() {
    let seeds: [&str; 9] = [
        "GET /plain HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n",
        "\r\n\r\nPOST /a?b=c HTTP/1.1\r\nhost: h\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n0123456789",
        "PUT /x HTTP/1.0\r\nConnection: keep-alive\r\nX-Long: \u{e9} some value with spaces\t \r\n\r\nGET",
        "CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n",
        "OPTIONS * HTTP/1.7\r\nHost: a.b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET https://[2001:db8::1]:8443/p?q HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n",
        "GET /w HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /\u{e9}\u{e9} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\nContent-Length: 5\r\n\r\n",
    ];
    let tokens: [&[u8]; 12] =
        [b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b"\0", b"\x7f", b"\xff", b"#", b",", b"\r\n\r\n"];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let limits = [
        LIMITS,
        WITH_CONNECT,
        Limits { max_head: 64, ..LIMITS },
        Limits { max_fields: 1, ..LIMITS },
        Limits { max_head: 0, max_fields: 0, allow_connect: true },
    ];
    for seed in seeds {
        for limits in &limits {
            verdicts(seed.as_bytes(), limits);
        }
    }
    for round in 0..12_000 / every(600) {
        let mut bytes = seeds[round % seeds.len()].as_bytes().to_vec();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            match random.below(5) {
                0 => bytes[at] = random.below(256) as u8,
                1 => drop(bytes.remove(at)),
                2 => bytes[at] ^= 1 << random.below(8),
                3 => {
                    let token = tokens[random.below(tokens.len())];
                    bytes.splice(at..at, token.iter().copied());
                }
                _ => {
                    let end = (at + random.below(12)).min(bytes.len());
                    let copied = bytes[at..end].to_vec();
                    bytes.splice(at..at, copied);
                }
            }
        }
        verdicts(&bytes, &limits[round / seeds.len() % limits.len()]);
    }
}

/// xorshift64*, for repeatable damage.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}
