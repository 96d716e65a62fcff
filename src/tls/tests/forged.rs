//! Records that rustls' client would never send, encrypted under its keys.

use std::sync::Arc;

use rustls::client::ClientConnection;
use rustls::crypto::cipher::{MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CipherSuite, ConnectionTrafficSecrets, ContentType, ProtocolVersion, SupportedCipherSuite, SupportedProtocolVersion,
};

use super::pki::localhost;
use super::wire::{self, client, client_of, serving, Wire};
use crate::tls::provider::provider;
use crate::tls::{Failure, Progress, Session};

/// The sending half of a client, without its manners.
struct Forger {
    encrypter: Box<dyn MessageEncrypter>,
    sequence: u64,
    version: ProtocolVersion,
}

impl Forger {
    /// An established session, and who can say anything to it.
    fn new(version: &'static SupportedProtocolVersion) -> (Forger, Session) {
        let wanted =
            [CipherSuite::TLS13_CHACHA20_POLY1305_SHA256, CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256];
        let mut chacha = (*provider()).clone();
        chacha.cipher_suites.retain(|suite| wanted.contains(&suite.suite()));
        let mut config = (*client_of(chacha, version)).clone();
        config.enable_secret_extraction = true;
        let Wire { client, session, .. } = wire::connect(&serving(&[localhost()]), &Arc::new(config));
        (Forger::of(client), session)
    }

    fn of(client: ClientConnection) -> Forger {
        let suite = client.negotiated_cipher_suite().unwrap();
        #[allow(deprecated)]
        let (sequence, secrets) = client.dangerous_extract_secrets().unwrap().tx;
        let ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } = secrets else {
            panic!("{suite:?}");
        };
        let encrypter = match suite {
            SupportedCipherSuite::Tls13(suite) => suite.aead_alg.encrypter(key, iv),
            SupportedCipherSuite::Tls12(suite) => suite.aead_alg.encrypter(key, iv.as_ref(), &[]),
        };
        Forger { encrypter, sequence, version: suite.version().version }
    }

    fn record(&mut self, typ: ContentType, payload: &[u8]) -> Vec<u8> {
        let message = OutboundPlainMessage { typ, version: self.version, payload: OutboundChunks::Single(payload) };
        self.sequence += 1;
        self.encrypter.encrypt(message, self.sequence - 1).unwrap().encode()
    }
}

const KEY_UPDATE_REQUESTED: [u8; 5] = [24, 0, 0, 1, 1];

/// What the session sends in return.
fn give(session: &mut Session, bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    session.receive(&mut bytes.to_vec(), &mut out, &mut |_| panic!("plaintext")).map(|_| out)
}

/// A handshake message in pieces after the handshake: what we send between them goes out, and the message counts.
#[test]
fn a_fragmented_key_update() {
    for cut in 1..5 {
        for bytewise in [false, true] {
            let (mut forger, mut session) = Forger::new(&TLS13);
            let (one, two) = KEY_UPDATE_REQUESTED.split_at(cut);
            let record = forger.record(ContentType::Handshake, one);
            assert_eq!(give(&mut session, &record), Ok(vec![]));
            assert_eq!(session.buffered(), record.len());
            let mut sent = Vec::new();
            session.encrypt(b"between", &mut sent).unwrap();
            assert!(!sent.is_empty());
            let record = forger.record(ContentType::Handshake, two);
            let mut answer = Vec::new();
            for piece in record.chunks(if bytewise { 1 } else { record.len() }) {
                answer.extend(give(&mut session, piece).unwrap());
            }
            // Our own key update waits for our next data.
            assert!(answer.is_empty());
            assert_eq!(session.buffered(), 0);
            let (plain, mut updated) = (sent.len(), Vec::new());
            session.encrypt(b"between", &mut updated).unwrap();
            assert!(updated.len() > plain);
        }
    }
}

/// Between the pieces of a handshake message nothing else may come.
#[test]
fn data_between_the_pieces() {
    for version in [&TLS13, &TLS12] {
        let (mut forger, mut session) = Forger::new(version);
        give(&mut session, &forger.record(ContentType::Handshake, &KEY_UPDATE_REQUESTED[..2])).unwrap();
        give(&mut session, &forger.record(ContentType::ApplicationData, b"data")).unwrap_err();
        assert_eq!(session.buffered(), 0);
    }
}

/// A TLS 1.2 client that asks for renegotiation is told no, and is still served; once. The second time ends it.
#[test]
fn renegotiation() {
    let (mut forger, mut session) = Forger::new(&TLS12);
    let hello = Wire::new(&serving(&[localhost()]), &client(&TLS12)).client_sends();
    let hello = &hello[5..];
    let warning = give(&mut session, &forger.record(ContentType::Handshake, hello)).unwrap();
    assert_eq!(warning[..5], [21, 3, 3, 0, 18]);
    session.encrypt(b"still here", &mut Vec::new()).unwrap();
    let failure = give(&mut session, &forger.record(ContentType::Handshake, hello)).unwrap_err();
    assert!(failure.to_string().contains("TooManyRenegotiationRequests"), "{failure}");
}

/// What belongs to no established session.
#[test]
fn messages_out_of_place() {
    let all: [(ContentType, &[u8]); 8] = [
        (ContentType::Handshake, &[1, 0, 0, 0]),
        (ContentType::Handshake, &[4, 0, 0, 0]),
        (ContentType::Handshake, &[20, 0, 0, 2, 1, 1]),
        (ContentType::Handshake, &[24, 0, 0, 1, 9]),
        (ContentType::Handshake, &[0xff; 100]),
        (ContentType::ChangeCipherSpec, &[1]),
        (ContentType::Alert, &[2, 80]),
        (ContentType::Heartbeat, &[1, 0, 0]),
    ];
    for version in [&TLS13, &TLS12] {
        for (typ, payload) in all {
            let (mut forger, mut session) = Forger::new(version);
            let failure = give(&mut session, &forger.record(typ, payload)).unwrap_err();
            assert_eq!(give(&mut session, &forger.record(typ, payload)), Err(failure));
        }
    }
}

/// Records without content cost us work and bring nothing: some are taken, many are not.
#[test]
fn empty_records() {
    for version in [&TLS13, &TLS12] {
        let (mut forger, mut session) = Forger::new(version);
        let taken = (0..1_000)
            .take_while(|_| give(&mut session, &forger.record(ContentType::ApplicationData, b"")).is_ok())
            .count();
        assert!((1..100).contains(&taken), "{taken}");
    }
}

/// The end that TLS 1.2 sends as a warning, and others that are no end.
#[test]
fn alerts() {
    for version in [&TLS13, &TLS12] {
        let (mut forger, mut session) = Forger::new(version);
        let mut user_canceled = forger.record(ContentType::Alert, &[1, 90]);
        let progress = session.receive(&mut user_canceled, &mut Vec::new(), &mut |_| panic!("plaintext"));
        assert_eq!(progress, Ok(Progress::Going));
        let mut close_notify = forger.record(ContentType::Alert, &[1, 0]);
        let progress = session.receive(&mut close_notify, &mut Vec::new(), &mut |_| panic!("plaintext"));
        assert_eq!(progress, Ok(Progress::Closed));
    }
}
