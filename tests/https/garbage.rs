//! Random bytes in each phase of a connection: it ends, nothing of it reaches the host, and others are served.

use std::io::Write;
use std::sync::Arc;

use rustls::ProtocolVersion::TLSv1_2;
use rustls::{ClientConfig, ClientConnection};

use super::client::{request, run, Client, Trouble};
use super::host::Host;
use super::setup::{speaking, usual, VERSIONS};

const ROUNDS: u64 = 10;

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 32) * n) >> 32
    }

    fn bytes(&mut self, n: u64) -> Vec<u8> {
        (0..n).map(|_| self.below(256) as u8).collect()
    }
}

/// What came before the garbage.
#[derive(Debug, Clone, Copy)]
enum Phase {
    Nothing,
    HalfHello,
    Hello,
    Established,
    HalfRequest,
    HalfRecord,
}

const PHASES: [Phase; 6] =
    [Phase::Nothing, Phase::HalfHello, Phase::Hello, Phase::Established, Phase::HalfRequest, Phase::HalfRecord];

#[derive(Debug, Clone, Copy)]
enum Shape {
    Noise,
    /// The header of a record is good.
    Record,
    /// What would be right, but for one bit of its last record.
    Flipped,
}

const SHAPES: [Shape; 3] = [Shape::Noise, Shape::Record, Shape::Flipped];

/// Goes as far as the phase; returns what would be right to send next.
async fn advance(client: &mut Client, phase: Phase) -> Result<Vec<u8>, Trouble> {
    match phase {
        Phase::Nothing => return Ok(client.take_out()),
        Phase::HalfHello => {
            let hello = client.take_out();
            let (sent, rest) = hello.split_at(hello.len() / 2);
            client.raw(sent).await;
            return Ok(rest.to_vec());
        }
        Phase::Hello => {
            // Until there is a second flight, of which nothing is sent.
            let hello = client.take_out();
            client.raw(&hello).await;
            // With TLS 1.2 the handshake waits for that flight, with TLS 1.3 it is complete.
            let waits = |tls: &ClientConnection| tls.protocol_version() == Some(TLSv1_2) && tls.wants_write();
            while client.tls.is_handshaking() && !waits(&client.tls) {
                client.turn_without_sending().await?;
            }
        }
        Phase::Established | Phase::HalfRequest | Phase::HalfRecord => client.handshake().await?,
    }
    let whole = request("/small");
    let mut rest = whole.as_bytes();
    if matches!(phase, Phase::HalfRequest) {
        client.send(&rest[..10]).await?;
        rest = &rest[10..];
    }
    client.tls.writer().write_all(rest).expect("room");
    let mut next = client.take_out();
    if matches!(phase, Phase::HalfRecord) {
        client.raw(&next[..20]).await;
        next.drain(..20);
    }
    Ok(next)
}

async fn throw(host: &Host, config: &Arc<ClientConfig>, phase: Phase, shape: Shape, rng: &mut Rng) {
    let mut client = Client::connect(host, config, "localhost").await;
    let right = advance(&mut client, phase).await.expect("a good server");
    let n = 1 + rng.below(600);
    let garbage = match shape {
        Shape::Noise => rng.bytes(n),
        Shape::Record => {
            let mut record = vec![20 + rng.below(4) as u8, 3, 3, (n >> 8) as u8, n as u8];
            record.extend(rng.bytes(n));
            record
        }
        Shape::Flipped => {
            let mut flipped = right;
            // The last record is the request's; of the first flight it is all one.
            let last = flipped.len() - 1 - rng.below(40) as usize;
            flipped[last] ^= 1 << rng.below(8);
            flipped
        }
    };
    client.raw(&garbage).await;
    // Anything else may be the beginning of what could still be right.
    let certainly_wrong = match shape {
        Shape::Noise => false,
        Shape::Record => matches!(phase, Phase::Established | Phase::HalfRequest),
        Shape::Flipped => !matches!(phase, Phase::Nothing | Phase::HalfHello),
    };
    if !certainly_wrong {
        client.fin();
    }
    let (_, end) = client.raw_rest().await;
    assert!(matches!(end, Trouble::Cut | Trouble::Reset));
}

#[test]
fn in_each_phase() {
    let seed = std::env::var("ENCKE_HTTPS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("ENCKE_HTTPS_SEED={seed}");
    let mut rng = Rng(seed);
    let host = Host::start(&usual());
    let mut thrown = 0;
    run(async {
        for round in 0..ROUNDS {
            for config in VERSIONS.map(speaking) {
                let mut good = Client::open(&host, &config).await.expect("a handshake");
                for phase in PHASES {
                    for shape in SHAPES {
                        println!("round {round}: {shape:?} in {phase:?}");
                        throw(&host, &config, phase, shape, &mut rng).await;
                        thrown += 1;
                    }
                }
                assert_eq!(good.get("/facts").await.expect("an answer").status, 200);
            }
        }
    });
    let served = 2 * ROUNDS as usize;
    let log = host.wait_for_end_of(thrown + served);
    assert!(log.requests.iter().all(|target| target == "/facts") && log.requests.len() == served, "{log:?}");
}
