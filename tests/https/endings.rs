//! The end of a connection in each of its phases: announced by close_notify, cut by a FIN without it, reset. Rules: what is
//! cut is never taken for whole, by either side; and nothing is left of any of them.

use ::encke::capi::event::{ENCKE_END_OK, ENCKE_END_PEER};

use super::client::{post_head, request, run, Client, Trouble};
use super::host::Host;
use super::server::{pattern, Log, MIB};
use super::setup::{speaking, usual, VERSIONS};

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Announced,
    Cut,
    Reset,
}

const ENDS: [End; 3] = [End::Announced, End::Cut, End::Reset];

#[derive(Debug, Clone, Copy)]
enum Phase {
    Nothing,
    HalfHello,
    Hello,
    Established,
    HalfHead,
    /// Of a body that arrives whole.
    HalfSmallBody,
    /// Of one that arrives in pieces.
    HalfLargeBody,
    HalfChunkedBody,
    /// Between two requests.
    Answered,
}

const PHASES: [Phase; 9] = [
    Phase::Nothing,
    Phase::HalfHello,
    Phase::Hello,
    Phase::Established,
    Phase::HalfHead,
    Phase::HalfSmallBody,
    Phase::HalfLargeBody,
    Phase::HalfChunkedBody,
    Phase::Answered,
];

async fn advance(client: &mut Client, host: &Host, phase: Phase) -> Result<(), Trouble> {
    if matches!(phase, Phase::Nothing | Phase::HalfHello | Phase::Hello) {
        let hello = client.take_out();
        let n = match phase {
            Phase::Nothing => 0,
            Phase::HalfHello => hello.len() / 2,
            _ => hello.len(),
        };
        client.raw(&hello[..n]).await;
        if n == hello.len() {
            client.turn_without_sending().await?;
        }
        return Ok(());
    }
    client.handshake().await?;
    match phase {
        Phase::HalfHead => client.send(b"GET /small HTTP/1.1\r\nHost: local").await,
        Phase::HalfSmallBody => client.send((post_head("/echo", 10) + "hello").as_bytes()).await,
        Phase::HalfLargeBody => {
            client.send(post_head("/echo", MIB).as_bytes()).await?;
            client.send(&pattern()[..MIB / 2]).await?;
            host.wait_for_request("/echo");
            Ok(())
        }
        Phase::HalfChunkedBody => {
            let head = "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
            client.send(format!("{head}20000\r\n").as_bytes()).await?;
            client.send(&pattern()[..0x20000]).await?;
            client.send(b"\r\n").await?;
            host.wait_for_request("/echo");
            Ok(())
        }
        Phase::Answered => client.get("/small").await.map(drop),
        _ => Ok(()),
    }
}

async fn end(mut client: Client, how: End) {
    match how {
        End::Announced => client.close_notify().await,
        End::Cut => client.fin(),
        End::Reset => return client.reset(),
    }
    client.raw_rest().await;
}

/// What was begun and not finished is never taken for whole.
#[test]
fn of_the_client_in_each_phase() {
    for config in VERSIONS.map(speaking) {
        for phase in PHASES {
            for how in ENDS {
                let host = Host::start(&usual());
                run(async {
                    let mut client = Client::connect(&host, &config, "localhost").await;
                    advance(&mut client, &host, phase).await.unwrap_or_else(|trouble| panic!("{phase:?}: {trouble:?}"));
                    end(client, how).await;
                });
                let log = host.wait_for_end_of(1);
                let expected = match phase {
                    Phase::Answered => (1, 0, vec![ENCKE_END_OK]),
                    Phase::HalfLargeBody | Phase::HalfChunkedBody => (1, 1, vec![ENCKE_END_PEER]),
                    _ => (0, 0, Vec::new()),
                };
                assert_eq!((log.requests.len(), log.aborted, log.done), expected, "{phase:?}, {how:?}");
                assert_eq!(log.whole_bodies, 0, "{phase:?}, {how:?}");
            }
        }
    }
}

/// A client that says that it sends no more waits for its answer; one that is cut off does not.
#[test]
fn of_the_client_before_the_answer() {
    for config in VERSIONS.map(speaking) {
        for target in ["/held", "/begun"] {
            for how in ENDS {
                let host = Host::start(&usual());
                run(async {
                    let mut client = Client::open(&host, &config).await.expect("a handshake");
                    client.send(request(target).as_bytes()).await.expect("sent");
                    host.wait_for_request(target);
                    if how != End::Announced {
                        end(client, how).await;
                        host.wait_for("the end of the request", |log| log.aborted == 1);
                        return;
                    }
                    client.close_notify().await;
                    host.wait_for("the end of its input", |log| log.half_closed == 1);
                    host.release();
                    let answer = client.answer().await.expect("an answer");
                    let expected = if target == "/held" { b"released" } else { &pattern()[..3000] };
                    assert_eq!(answer.body, expected, "{target}");
                    assert_eq!(client.rest().await, Trouble::Ended, "{target}");
                });
                let log = host.wait_for_end_of(1);
                let code = if how == End::Announced { ENCKE_END_OK } else { ENCKE_END_PEER };
                assert_eq!((log.done, log.half_closed), (vec![code], usize::from(how == End::Announced)), "{how:?}");
            }
        }
    }
}

/// In the middle of a large answer.
#[test]
fn of_the_client_within_the_answer() {
    for config in VERSIONS.map(speaking) {
        for how in ENDS {
            let host = Host::start(&usual());
            let target = format!("/stream/{}", 20 * MIB);
            run(async {
                let mut client = Client::open(&host, &config).await.expect("a handshake");
                client.send(request(&target).as_bytes()).await.expect("sent");
                while client.plain.len() < 100_000 {
                    client.turn().await.expect("more");
                }
                if how != End::Announced {
                    return end(client, how).await;
                }
                client.close_notify().await;
                let answer = client.answer().await.expect("all of it");
                assert!(answer.body == pattern());
                assert_eq!(client.rest().await, Trouble::Ended);
            });
            let Log { aborted, done, .. } = host.wait_for_end_of(1);
            match how {
                End::Announced => assert_eq!((aborted, done), (0, vec![ENCKE_END_OK])),
                _ => assert_eq!((aborted, done), (1, vec![ENCKE_END_PEER]), "{how:?}"),
            }
        }
    }
}

/// What the host gives up has no end that a client could take for the answer's.
#[test]
fn of_the_server_within_the_answer() {
    for config in VERSIONS.map(speaking) {
        for version in ["1.1", "1.0"] {
            let host = Host::start(&usual());
            run(async {
                let mut client = Client::open(&host, &config).await.expect("a handshake");
                let request = format!("GET /begun HTTP/{version}\r\nHost: localhost\r\n\r\n");
                client.send(request.as_bytes()).await.expect("sent");
                host.wait_for_request("/begun");
                host.give_up();
                let end = client.rest().await;
                assert!(matches!(end, Trouble::Cut | Trouble::Reset), "HTTP/{version}: {end:?}");
                assert!(!client.plain.ends_with(b"0\r\n\r\n"));
            });
        }
    }
}

/// An answer to HTTP/1.0 ends with the connection: the end must be announced.
#[test]
fn of_an_answer_without_length() {
    for config in VERSIONS.map(speaking) {
        let host = Host::start(&usual());
        run(async {
            let mut client = Client::open(&host, &config).await.expect("a handshake");
            client.send(format!("GET /stream/{MIB} HTTP/1.0\r\n\r\n").as_bytes()).await.expect("sent");
            assert_eq!(client.rest().await, Trouble::Ended);
            let head = client.plain.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head");
            assert!(client.plain[head + 4..] == pattern()[..MIB]);
        });
    }
}
