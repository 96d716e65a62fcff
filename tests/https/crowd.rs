//! Many clients at a time, and such as never come to an end. Rule: they cost others nothing but a turn.

use std::time::Duration;

use ::encke::capi::config::ENCKE_OPT_HANDSHAKE_TIMEOUT_MS;
use async_io::Timer;
use futures_lite::future::or;
use rustls::version::TLS13;

use super::client::{run, run_all, Client, Trouble};
use super::host::Host;
use super::setup::{speaking, usual, VERSIONS};

/// All of them have sent their first flight before any of them reads.
#[test]
fn three_hundred_handshakes_at_once() {
    const CROWD: usize = 300;
    let host = Host::start(&usual());
    let (host, configs) = (&host, &VERSIONS.map(speaking));
    let clients = run_all((0..CROWD).map(|n| async move {
        let mut client = Client::connect(host, &configs[n % 2], "localhost").await;
        let hello = client.take_out();
        client.raw(&hello).await;
        client
    }));
    run_all(clients.into_iter().map(|mut client| async move {
        client.handshake().await.expect("a handshake");
        assert_eq!(client.get("/small").await.expect("an answer").body, b"hello");
    }));
    let log = host.wait_for_end_of(CROWD);
    assert_eq!(log.requests.len(), CROWD);
}

const PATIENCE: [(i32, u64); 1] = [(ENCKE_OPT_HANDSHAKE_TIMEOUT_MS, 600)];

/// A client that is served. On a busy machine its own handshake may take too long: then it comes again.
async fn served(host: &Host) -> Client {
    loop {
        let Ok(mut client) = Client::open(host, &speaking(&TLS13)).await else { continue };
        if let Ok(answer) = client.get("/small").await {
            assert_eq!(answer.body, b"hello");
            return client;
        }
    }
}

/// Clients that say nothing, or half of it, are let go of; who is through stays.
#[test]
fn half_open_handshakes() {
    const EACH: usize = 20;
    let host = Host::with(&usual(), &PATIENCE);
    let configs = VERSIONS.map(speaking);
    run(async {
        let mut good = served(&host).await;
        let mut clients = Vec::new();
        for n in 0..EACH {
            let config = &configs[n % 2];
            clients.push(Client::connect(&host, config, "localhost").await);
            let mut half = Client::connect(&host, config, "localhost").await;
            let hello = half.take_out();
            half.raw(&hello[..1 + n * (hello.len() - 2) / EACH]).await;
            clients.push(half);
            let mut whole = Client::connect(&host, config, "localhost").await;
            let hello = whole.take_out();
            whole.raw(&hello).await;
            clients.push(whole);
        }
        served(&host).await;
        for mut client in clients {
            // What the server said to those who sent all of their hello is not looked at.
            let left = client.raw_rest().await;
            assert!(matches!(left, (_, Trouble::Cut | Trouble::Reset)), "{left:?}");
        }
        assert_eq!(good.get("/small").await.expect("an answer").body, b"hello");
    });
    let log = host.wait_for("the end of all", |log| log.opened == log.closed);
    assert!(log.opened > 3 * EACH);
}

/// A handshake that goes on and on, a byte per record, is no better than one that rests.
#[test]
fn slow_handshakes() {
    let host = Host::with(&usual(), &PATIENCE);
    run(async {
        let mut client = Client::connect(&host, &speaking(&TLS13), "localhost").await;
        let mut pieces = endless_hello();
        let trouble = loop {
            client.raw(&pieces.next().expect("no end")).await;
            // The pace: whatever comes first, the end or the next byte's turn.
            let pause = async {
                Timer::after(Duration::from_millis(5)).await;
                None
            };
            if let Some(trouble) = or(async { Some(client.raw_rest().await.1) }, pause).await {
                break trouble;
            }
        };
        assert!(matches!(trouble, Trouble::Cut | Trouble::Reset), "{trouble:?}");
        served(&host).await;
    });
    assert_eq!(host.log().aborted, 0);
}

/// A ClientHello of 60,000 bytes, each in a record of its own.
fn endless_hello() -> impl Iterator<Item = Vec<u8>> {
    let message = [1, 0, 0xea, 0x60, 3, 3].into_iter().chain(std::iter::repeat(0));
    message.map(|byte| vec![22, 3, 1, 0, 1, byte])
}
