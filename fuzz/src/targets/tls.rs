//! A TLS session under any bytes, before, during and after a handshake with a real client in memory.
//!
//! What must hold: plaintext is what the client said, from its beginning, whatever was done to the bytes; untouched bytes
//! lead to a session that works, however they are cut; a failure is final; what is kept and what is sent is bounded.
//!
//! Keys are random in each run, but every length is the same (Ed25519, X25519), so an input leads the same way again.

use std::io::{Read, Write};
use std::sync::{Arc, OnceLock};

use encke::tls::{Certificates, ClientCertificates, Failure, Progress, Session};
use pki_types::pem::PemObject;
use pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::client::Resumption;
use rustls::crypto::{ring, CryptoProvider};
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, NamedGroup, RootCertStore};

use crate::bytes::{pattern, pieces, Bytes};

pub const CA: &str = include_str!("../../fixtures/ca.pem");
pub const SERVER: &str = include_str!("../../fixtures/server.pem");
pub const SERVER_KEY: &str = include_str!("../../fixtures/server.key.pem");
pub const CLIENT: &str = include_str!("../../fixtures/client.pem");
pub const CLIENT_KEY: &str = include_str!("../../fixtures/client.key.pem");
pub const P256: &str = include_str!("../../fixtures/p256.pem");
pub const P256_KEY: &str = include_str!("../../fixtures/p256.key.pem");

/// What a session may keep: a handshake message in pieces, and an incomplete record (src/tls/session.rs).
const MOST_KEPT: usize = (1 << 16) + 18_436;
const MOST_STEPS: usize = 60;

pub fn run(data: &[u8]) {
    let mut input = Bytes::new(data);
    let choice = input.u8();
    if choice % 4 == 0 {
        return raw(&mut input);
    }
    talk(choice / 4, &mut input);
}

/// 2030: the fixtures are valid then, whatever this machine's clock says.
#[derive(Debug)]
struct Fixed;

impl TimeProvider for Fixed {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_900_000_000)))
    }
}

fn quick() -> Arc<CryptoProvider> {
    static QUICK: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let quick = QUICK.get_or_init(|| {
        let mut provider = ring::default_provider();
        provider.kx_groups.retain(|group| group.name() == NamedGroup::X25519);
        Arc::new(provider)
    });
    quick.clone()
}

fn serving() -> Certificates {
    let certificates = Certificates::new();
    certificates.add(SERVER.as_bytes(), SERVER_KEY.as_bytes()).expect("the fixtures");
    certificates
}

// ---- bytes of nobody -------------------------------------------------------------------------------------------------

/// How a session took some bytes.
#[derive(Debug, PartialEq, Eq)]
struct Taken {
    end: Result<Progress, Failure>,
    sent: usize,
    kept: usize,
    handshaking: bool,
}

fn take(certificates: &Arc<Certificates>, pieces: &[&[u8]]) -> Taken {
    let mut session = Session::new(certificates.clone());
    let mut out = Vec::new();
    let mut end = Ok(Progress::Going);
    for piece in pieces {
        let now = session.receive(&mut piece.to_vec(), &mut out, &mut |_| panic!("plaintext without a key"));
        assert!(session.buffered() <= MOST_KEPT);
        end = now;
        if !matches!(end, Ok(Progress::Going)) {
            break;
        }
    }
    if let Err(failure) = &end {
        check_failed(&mut session, failure);
    }
    Taken { end, sent: out.len(), kept: session.buffered(), handshaking: session.is_handshaking() }
}

/// Whatever is called after a failure says the same, and sends nothing.
fn check_failed(session: &mut Session, failure: &Failure) {
    assert!(!failure.to_string().is_empty());
    let mut out = Vec::new();
    for mut bytes in [vec![], vec![22, 3, 1, 0, 0], vec![b'G'; 10]] {
        let again = session.receive(&mut bytes, &mut out, &mut |_| panic!("plaintext after a failure"));
        assert_eq!(again.as_ref(), Err(failure));
    }
    assert_eq!(session.encrypt(b"x", &mut out).as_ref(), Err(failure));
    session.close(&mut out);
    assert!(out.is_empty() && session.buffered() == 0, "something is sent or kept after a failure");
}

fn raw(input: &mut Bytes<'_>) {
    static SERVING: OnceLock<Arc<Certificates>> = OnceLock::new();
    let certificates = SERVING.get_or_init(|| Arc::new(serving()));
    let manner = input.u8();
    let bytes = input.rest();
    let whole = take(certificates, &[bytes]);
    assert!(whole.handshaking, "a handshake with nobody");
    assert!(whole.sent <= 8192 + 2 * bytes.len(), "{} bytes for {}", whole.sent, bytes.len());
    if whole.end == Ok(Progress::Plain) {
        assert!(bytes[0].is_ascii_alphabetic() && whole.sent == 0 && whole.kept == 0);
    }
    for manner in [manner, 1] {
        assert_eq!(take(certificates, &pieces(bytes, manner)), whole, "cut in manner {manner}");
    }
}

// ---- a client --------------------------------------------------------------------------------------------------------

struct Wire {
    certificates: Arc<Certificates>,
    config: Arc<ClientConfig>,
    client: ClientConnection,
    session: Session,
    /// On the way.
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    client_said: Vec<u8>,
    server_said: Vec<u8>,
    server_got: Vec<u8>,
    client_got: Vec<u8>,
    failure: Option<Failure>,
    client_failed: bool,
    established: bool,
    closed: bool,
    client_closed: bool,
    server_closed: bool,
    key_updates: u32,
    /// Nobody has touched the bytes on their way.
    clean: bool,
    /// The client shows what it must.
    welcome: bool,
}

fn talk(choice: u8, input: &mut Bytes<'_>) {
    let version = if choice & 1 == 0 { &TLS13 } else { &TLS12 };
    let mode = [None, Some(ClientCertificates::Optional), Some(ClientCertificates::Required)][choice as usize / 2 % 3];
    let shows = choice & 16 != 0;
    let certificates = serving();
    if let Some(mode) = mode {
        certificates.add_client_roots(CA.as_bytes()).expect("the fixtures");
        certificates.set_client_certificates(mode).expect("any mode");
    }
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(CA.as_bytes()).expect("the fixtures")).expect("the fixtures");
    let builder = ClientConfig::builder_with_details(quick(), Arc::new(Fixed))
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots);
    let mut config = if shows {
        let chain = vec![CertificateDer::from_pem_slice(CLIENT.as_bytes()).expect("the fixtures")];
        let key = PrivateKeyDer::from_pem_slice(CLIENT_KEY.as_bytes()).expect("the fixtures");
        builder.with_client_auth_cert(chain, key).expect("the fixtures")
    } else {
        builder.with_no_client_auth()
    };
    config.resumption = Resumption::in_memory_sessions(4);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let welcome = shows || mode != Some(ClientCertificates::Required);
    let mut wire = Wire::new(Arc::new(certificates), Arc::new(config), welcome);
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        wire.step(input);
        wire.check();
    }
    wire.finish();
}

impl Wire {
    fn new(certificates: Arc<Certificates>, config: Arc<ClientConfig>, welcome: bool) -> Wire {
        let name = ServerName::try_from("localhost").expect("a name");
        let client = ClientConnection::new(config.clone(), name).expect("a client");
        let session = Session::new(certificates.clone());
        Wire {
            certificates,
            config,
            client,
            session,
            to_server: Vec::new(),
            to_client: Vec::new(),
            client_said: Vec::new(),
            server_said: Vec::new(),
            server_got: Vec::new(),
            client_got: Vec::new(),
            failure: None,
            client_failed: false,
            established: false,
            closed: false,
            client_closed: false,
            server_closed: false,
            key_updates: 0,
            clean: true,
            welcome,
        }
    }

    fn step(&mut self, input: &mut Bytes<'_>) {
        self.client_sends();
        match input.u8() % 18 {
            0 => self.deliver_all(0),
            1 => self.deliver_all(input.u8()),
            2 => self.inject(input.text()),
            3 => {
                let (at, with) = (input.u16() as usize, input.u8());
                let len = self.to_server.len();
                if len > 0 && with != 0 {
                    self.to_server[at % len] ^= with;
                    self.clean = false;
                }
                self.deliver_all(input.u8());
            }
            4 => {
                let n = (input.u8() as usize).min(self.to_server.len());
                self.clean &= n == 0;
                self.to_server.drain(..n);
            }
            5 => {
                let twice = self.to_server.repeat(2);
                self.clean &= twice.is_empty();
                self.to_server = twice;
                self.deliver_all(input.u8());
            }
            6 => {
                let n = input.u16() as usize % 40_000;
                if !self.client_closed {
                    let text = pattern(self.client_said.len() as u64, n);
                    // Its buffer has an end, and a client that has failed takes nothing.
                    let n = self.client.writer().write(&text).unwrap_or(0);
                    self.client_said.extend_from_slice(&text[..n]);
                }
            }
            7 => self.server_says(input.u16() as usize % 40_000),
            8 => {
                self.server_closed |= self.established;
                self.session.close(&mut self.to_client);
            }
            // Before the end of the handshake it is no end but a failure.
            9 if self.client.is_handshaking() => {}
            9 => {
                self.client.send_close_notify();
                self.client_closed = true;
            }
            10 => {
                // rustls takes 32 without data between them.
                self.key_updates += 1;
                if self.key_updates < 20 {
                    let _ = self.client.refresh_traffic_keys();
                }
            }
            11 => {
                let fresh = Certificates::new();
                fresh.add(SERVER.as_bytes(), SERVER_KEY.as_bytes()).expect("the fixtures");
                fresh.add(P256.as_bytes(), P256_KEY.as_bytes()).expect("the fixtures");
                // What clients must show stays as it is only where nothing is asked; else the old set stays.
                if self.welcome && !format!("{:?}", self.certificates).contains("Required") {
                    self.certificates.swap(&fresh).expect("another set with a certificate");
                }
            }
            12 => self.client_takes(),
            13 => self.reconnect(),
            14 => {
                let body = |text: &[u8]| [&(text.len() as u16).to_be_bytes()[..], text].concat();
                let header = [20 + input.u8() % 6, 3, input.u8() % 5];
                self.inject(&[&header[..], &body(input.text())].concat());
            }
            15 => {
                let n = (input.u16() as usize).min(self.to_server.len());
                let bytes: Vec<u8> = self.to_server.drain(..n).collect();
                self.deliver(&bytes);
            }
            16 => {
                // A handshake message in records of a few bytes each.
                let (text, size) = (input.text(), 1 + input.below(8));
                let records: Vec<u8> = text
                    .chunks(size)
                    .flat_map(|chunk| [&[22, 3, 3, 0, chunk.len() as u8][..], chunk].concat())
                    .collect();
                self.inject(&records);
            }
            _ => self.exchange(),
        }
    }

    fn client_sends(&mut self) {
        while self.client.wants_write() {
            self.client.write_tls(&mut self.to_server).expect("writing to memory");
        }
    }

    fn inject(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.clean = false;
            self.deliver(bytes);
        }
    }

    fn deliver_all(&mut self, manner: u8) {
        let bytes = std::mem::take(&mut self.to_server);
        for piece in pieces(&bytes, manner) {
            self.deliver(piece);
        }
    }

    fn deliver(&mut self, bytes: &[u8]) {
        let (before, got) = (self.to_client.len(), self.server_got.len());
        let server_got = &mut self.server_got;
        let mut copy = bytes.to_vec();
        let result =
            self.session.receive(&mut copy, &mut self.to_client, &mut |plain| server_got.extend_from_slice(plain));
        let sent = self.to_client.len() - before;
        assert!(sent <= 16_384 + 2 * bytes.len(), "{sent} bytes for {}", bytes.len());
        match result {
            Err(failure) => {
                match &self.failure {
                    Some(first) => {
                        assert_eq!(failure, *first);
                        assert!(sent == 0 && self.server_got.len() == got);
                    }
                    None => check_failed(&mut self.session, &failure),
                }
                self.failure = Some(failure);
            }
            Ok(progress) => {
                assert!(self.failure.is_none(), "it goes on after a failure");
                if self.closed || self.server_closed {
                    // Not looked at any more.
                    assert_eq!(progress, if self.closed { Progress::Closed } else { Progress::Going });
                    assert!(sent == 0 && self.server_got.len() == got && self.session.buffered() == 0);
                }
                match progress {
                    Progress::Established => assert!(!self.established && !self.session.is_handshaking()),
                    Progress::Closed => self.closed = true,
                    Progress::Plain => {
                        assert!(bytes[0].is_ascii_alphabetic() && sent == 0 && !self.clean);
                    }
                    Progress::Going => assert_eq!(self.established, !self.session.is_handshaking()),
                }
            }
        }
        self.established |= !self.session.is_handshaking();
        assert!(self.established || self.server_got.is_empty(), "plaintext before the handshake is complete");
    }

    fn server_says(&mut self, n: usize) {
        let text = pattern(7 + self.server_said.len() as u64, n);
        let before = self.to_client.len();
        let result = self.session.encrypt(&text, &mut self.to_client);
        let possible = self.established && !self.server_closed && self.failure.is_none();
        match result {
            Ok(()) => {
                assert!(possible);
                self.server_said.extend_from_slice(&text);
                let sent = self.to_client.len() - before;
                assert!(sent <= n + 64 * (n / 16_384 + 2) + 8192, "{sent} bytes for {n}");
            }
            // Encrypting may fail for good after an alert of the peer only.
            Err(failure) if possible => {
                assert!(!self.clean || self.closed, "{failure}");
                self.failure = Some(failure);
            }
            Err(_) => assert_eq!(self.to_client.len(), before),
        }
    }

    fn client_takes(&mut self) {
        let bytes = std::mem::take(&mut self.to_client);
        let mut bytes = bytes.as_slice();
        while !bytes.is_empty() {
            match self.client.read_tls(&mut bytes) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            if let Err(why) = self.client.process_new_packets() {
                self.client_failed = true;
                assert!(!self.clean || !self.welcome || self.failure.is_some(), "the client refuses: {why}");
                break;
            }
            let _ = self.client.reader().read_to_end(&mut self.client_got);
        }
    }

    /// To and fro until nobody has anything to say.
    fn exchange(&mut self) {
        for _ in 0..40 {
            self.client_sends();
            if self.to_server.is_empty() && self.to_client.is_empty() {
                return;
            }
            self.deliver_all(0);
            self.client_takes();
        }
        panic!("no end of it");
    }

    /// Another connection of the same client: it may resume.
    fn reconnect(&mut self) {
        if self.clean && self.welcome {
            self.finish_clean();
        }
        *self = Wire::new(self.certificates.clone(), self.config.clone(), self.welcome);
    }

    fn check(&self) {
        assert!(self.client_said.starts_with(&self.server_got), "plaintext that the client did not say");
        assert!(self.server_said.starts_with(&self.client_got), "plaintext that the server did not say");
        assert!(self.session.buffered() <= MOST_KEPT);
        if self.clean && self.welcome {
            assert_eq!(self.failure, None, "untouched, but it failed");
        }
        // Whatever the state, these answer.
        let _ = (self.session.version_and_suite(), self.session.client_certificate(), format!("{:?}", self.session));
        let alpn = self.session.alpn();
        // A byte changed on its way may have made the other name of it.
        assert!(alpn.is_none_or(|alpn| alpn == b"http/1.1" || alpn == b"http/1.0" && !self.clean));
        assert!(self.session.server_name().is_none_or(|name| !name.is_empty()));
    }

    fn finish_clean(&mut self) {
        self.exchange();
        self.check();
        assert!(self.established && !self.client_failed, "the handshake did not come to its end");
        if !self.server_closed {
            assert_eq!(self.server_got.len(), self.client_said.len(), "not all that the client said came");
            assert_eq!(self.closed, self.client_closed, "close_notify");
        }
        assert_eq!(self.client_got.len(), self.server_said.len(), "not all that the server said came");
        assert_eq!(self.session.server_name(), Some("localhost"));
        assert_eq!(self.session.buffered(), 0);
        assert!(self.session.version_and_suite().is_some());
    }

    fn finish(mut self) {
        if self.clean && self.welcome {
            return self.finish_clean();
        }
        if !self.clean {
            self.client_sends();
            self.deliver_all(0);
        } else {
            self.exchange();
            assert!(self.failure.is_some() && self.client_failed, "a client that shows nothing was let in");
        }
        self.check();
    }
}
