//! Requests and answers through TLS: many at a time, and large ones both ways, compared byte by byte.

use rustls::version::TLS13;

use super::client::{post_head, request, run, run_all, Client, Trouble};
use super::host::Host;
use super::server::{pattern, MIB};
use super::setup::{speaking, usual, VERSIONS};
use super::worker::batch_body;

/// A comparison of megabytes that fails in a line.
#[track_caller]
fn assert_same(got: &[u8], expected: &[u8], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let differs = got.iter().zip(expected).position(|(one, other)| one != other);
    assert!(got == expected, "{what}: different from byte {differs:?} on");
}

/// The host's other thread has all of them before it answers the first, in another order.
#[test]
fn sixteen_deep() {
    let host = Host::start(&usual());
    run(async {
        for config in VERSIONS.map(speaking) {
            let mut client = Client::open(&host, &config).await.expect("a handshake");
            let requests: String = (0..16).map(|n| request(&format!("/batch/16/{n}"))).collect();
            client.send(requests.as_bytes()).await.expect("sent");
            for n in 0..16 {
                let answer = client.answer().await.expect("an answer");
                assert_eq!(answer.status, 200);
                assert_same(&answer.body, &batch_body(n), &format!("answer {n}"));
            }
            assert!(client.plain.is_empty());
        }
    });
}

/// Several connections pipeline at a time; each batch is made of all of them.
#[test]
fn pipelines_side_by_side() {
    let host = Host::start(&usual());
    let config = &speaking(&TLS13);
    run_all((0..4).map(|at| {
        let host = &host;
        async move {
            let mut client = Client::open(host, config).await.expect("a handshake");
            for round in 0..3 {
                let requests: String = (0..8).map(|n| request(&format!("/batch/32/{}", at * 8 + n))).collect();
                client.send(requests.as_bytes()).await.expect("sent");
                for n in 0..8 {
                    let body = client.answer().await.expect("an answer").body;
                    assert_same(&body, &batch_body(at * 8 + n), &format!("round {round}, client {at}, answer {n}"));
                }
            }
        }
    }));
}

#[test]
fn bodies_to_the_client() {
    let host = Host::start(&usual());
    run(async {
        for config in VERSIONS.map(speaking) {
            let mut client = Client::open(&host, &config).await.expect("a handshake");
            for size in [0, 1, (16 << 10) - 1, 16 << 10, (16 << 10) + 1, MIB, 20 * MIB] {
                for how in ["lent", "stream"] {
                    let target = format!("/{how}/{size}");
                    let answer = client.get(&target).await.expect("an answer");
                    assert_same(&answer.body, &pattern()[..size], &target);
                }
            }
        }
    });
    let log = host.wait_for_end_of(2);
    assert_eq!(log.released, log.lent);
    assert!(log.done.iter().all(|code| *code == 0), "{log:?}");
}

/// Both ways at a time.
#[test]
fn bodies_there_and_back() {
    let host = Host::start(&usual());
    run(async {
        for config in VERSIONS.map(speaking) {
            let mut client = Client::open(&host, &config).await.expect("a handshake");
            for size in [1, 1000, 64 << 10, (64 << 10) + 1, MIB, 20 * MIB] {
                let answer = client.post("/echo", &pattern()[..size]).await.expect("an answer");
                assert_same(&answer.body, &pattern()[..size], &format!("{size} bytes"));
            }
        }
    });
}

#[test]
fn a_chunked_body_there_and_back() {
    let host = Host::start(&usual());
    let body = &pattern()[..MIB];
    let mut sent = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in body.chunks(30_001) {
        sent.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        sent.extend_from_slice(piece);
        sent.extend_from_slice(b"\r\n");
    }
    sent.extend_from_slice(b"0\r\n\r\n");
    run(async {
        for config in VERSIONS.map(speaking) {
            let mut client = Client::open(&host, &config).await.expect("a handshake");
            client.send(&sent).await.expect("sent");
            assert_same(&client.answer().await.expect("an answer").body, body, "chunked");
        }
    });
}

/// The client changes its keys, and asks the server to, in the middle of a body each way.
#[test]
fn key_updates() {
    let host = Host::start(&usual());
    run(async {
        let mut client = Client::open(&host, &speaking(&TLS13)).await.expect("a handshake");
        let body = &pattern()[..MIB];
        client.send(post_head("/echo", body.len()).as_bytes()).await.expect("sent");
        for piece in body.chunks(100_000) {
            client.send(piece).await.expect("sent");
            client.tls.refresh_traffic_keys().expect("TLS 1.3");
        }
        assert_same(&client.answer().await.expect("an answer").body, body, "with other keys");
        assert_eq!(client.get("/small").await.expect("an answer").body, b"hello");
    });
}

/// A client that asks for the end gets the answer, and an end that is announced.
#[test]
fn the_end_is_announced() {
    let host = Host::start(&usual());
    run(async {
        for config in VERSIONS.map(speaking) {
            let mut client = Client::open(&host, &config).await.expect("a handshake");
            let last = "GET /lent/100000 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            client.send(last.as_bytes()).await.expect("sent");
            assert_same(&client.answer().await.expect("an answer").body, &pattern()[..100_000], "the last answer");
            assert_eq!(client.rest().await, Trouble::Ended);
        }
    });
}
