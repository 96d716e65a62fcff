//! One connection: ciphertext in, plaintext and ciphertext out.
//!
//! Rule: between calls only an incomplete record is kept, or a handshake message that is still coming. rustls sees whole
//! records only, sees bytes again that it did not discard, and is never called again after an error but for its alert.

use std::sync::Arc;

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{Error, ProtocolVersion};

use super::records::{is_plain, missing, whole};
use super::{names, Certificates};

/// The most that is kept of handshake messages that come in pieces; rustls' own buffered connections allow as much.
/// An incomplete record may come on top (18,436 bytes at most).
const MOST_KEPT: usize = 1 << 16;
/// Plaintext per record (RFC 8446 section 5.1).
const RECORD: usize = 1 << 14;
/// More than any suite adds to a record: header, explicit nonce, content type, tag.
const OVERHEAD: usize = 5 + 8 + 1 + 16;

/// What a call of [`Session::receive`] led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing special.
    Going,
    /// The handshake completed in this call; plaintext may have come, too.
    Established,
    /// The client has ended its side properly (close_notify): no plaintext will come any more. If the handshake completed
    /// in this same call, [`Session::is_handshaking`] says so.
    Closed,
    /// The first byte is that of plain HTTP. Nothing was taken.
    Plain,
}

/// Why a session is over; for debugging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    why: Box<str>,
}

impl Failure {
    pub(super) fn new(why: impl ToString) -> Failure {
        Failure { why: why.to_string().into_boxed_str() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Failure {}

/// The server's side of one TLS connection.
pub struct Session {
    state: State,
    /// What is incomplete. Its first `seen` bytes are records that rustls has processed and wants to see again.
    kept: Vec<u8>,
    seen: usize,
    server_name: Option<Box<str>>,
    established: bool,
    peer_closed: bool,
    closing: bool,
}

enum State {
    /// Before the first byte.
    Fresh(Arc<Certificates>),
    Running(Box<UnbufferedServerConnection>),
    Failed(Failure),
}

impl Session {
    /// Nothing is made before the first byte comes; the certificates of then are used.
    pub fn new(certificates: Arc<Certificates>) -> Session {
        Session {
            state: State::Fresh(certificates),
            kept: Vec::new(),
            seen: 0,
            server_name: None,
            established: false,
            peer_closed: false,
            closing: false,
        }
    }

    /// Bytes kept because they are incomplete.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// True from the beginning until the handshake is complete.
    pub fn is_handshaking(&self) -> bool {
        !self.established
    }

    /// Whether nobody waits for what the call appended in which the handshake completed: in TLS 1.3 these are tickets.
    pub fn ends_with_tickets(&self) -> bool {
        self.connection().and_then(|connection| connection.protocol_version()) == Some(ProtocolVersion::TLSv1_3)
    }

    /// Takes ciphertext as it came, and decrypts it in place. What must be sent in return is appended to `out`; `plain`
    /// is called for each piece of plaintext. An error is final; `out` then has the alert, if there is one to send.
    /// After [`Session::close`] input is not looked at any more: nobody could be told what is wrong with it.
    pub fn receive(
        &mut self,
        data: &mut [u8],
        out: &mut Vec<u8>,
        plain: &mut dyn FnMut(&[u8]),
    ) -> Result<Progress, Failure> {
        if let State::Fresh(certificates) = &self.state {
            match data.first() {
                None => return Ok(Progress::Going),
                Some(first) if is_plain(*first) => return Ok(Progress::Plain),
                Some(_) => {}
            }
            let connection = certificates.config().and_then(UnbufferedServerConnection::new);
            match connection {
                Ok(connection) => self.state = State::Running(Box::new(connection)),
                Err(why) => return Err(self.fail(Failure::new(why))),
            }
        }
        if let State::Failed(failure) = &self.state {
            return Err(failure.clone());
        }
        if self.peer_closed {
            return Ok(Progress::Closed);
        }
        if self.closing {
            return Ok(Progress::Going);
        }
        let was_handshaking = !self.established;
        self.take_in(data, out, plain).map_err(|failure| self.fail(failure))?;
        Ok(if self.peer_closed {
            Progress::Closed
        } else if was_handshaking && self.established {
            Progress::Established
        } else {
            Progress::Going
        })
    }

    fn fail(&mut self, failure: Failure) -> Failure {
        self.state = State::Failed(failure.clone());
        self.kept = Vec::new();
        self.seen = 0;
        failure
    }

    /// First completes what is kept, then works in `data` itself, then keeps what is incomplete.
    fn take_in(&mut self, mut data: &mut [u8], out: &mut Vec<u8>, plain: &mut dyn FnMut(&[u8])) -> Result<(), Failure> {
        while !self.kept.is_empty() && !data.is_empty() {
            let (taken, rest) = data.split_at_mut(missing(&self.kept[self.seen..]).min(data.len()));
            self.kept.extend_from_slice(taken);
            data = rest;
            if missing(&self.kept[self.seen..]) == 0 {
                let mut kept = std::mem::take(&mut self.kept);
                let done = self.process(&mut kept, out, plain)?;
                kept.drain(..done);
                self.keep(kept)?;
            }
        }
        let (records, incomplete) = data.split_at_mut(whole(data));
        if !records.is_empty() {
            let done = self.process(records, out, plain)?;
            self.keep(records[done..].to_vec())?;
        }
        if !self.peer_closed {
            self.kept.extend_from_slice(incomplete);
        }
        Ok(())
    }

    /// Remembers what rustls has seen and not discarded. After the peer's end nothing more is looked at.
    fn keep(&mut self, seen: Vec<u8>) -> Result<(), Failure> {
        if seen.len() > MOST_KEPT {
            return Err(Failure::new("a handshake message in too many pieces"));
        }
        // An empty buffer may still own memory.
        self.kept = if seen.is_empty() || self.peer_closed { Vec::new() } else { seen };
        self.seen = self.kept.len();
        Ok(())
    }

    /// Has rustls handle whole records; returns how many bytes of their front are done with.
    fn process(
        &mut self,
        records: &mut [u8],
        out: &mut Vec<u8>,
        plain: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, Failure> {
        let State::Running(connection) = &mut self.state else {
            return Err(Failure::new("no session"));
        };
        let done = process(connection, records, out, plain, &mut self.peer_closed);
        if !self.established {
            self.server_name = names::take_asked().or(self.server_name.take());
            self.established = !connection.is_handshaking();
        }
        done.map_err(|why| {
            flush(connection, out);
            Failure::new(why)
        })
    }

    /// Appends `data` to `out` in as few records as it takes. Only when not handshaking.
    pub fn encrypt(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        if let State::Failed(failure) = &self.state {
            return Err(failure.clone());
        }
        if !self.established || self.closing {
            return Err(Failure::new(if self.closing { "closed" } else { "still handshaking" }));
        }
        let expected = data.len() + data.len().div_ceil(RECORD) * OVERHEAD;
        out.try_reserve(expected).map_err(|_| Failure::new("no memory"))?;
        self.write(out, expected, |traffic, space| traffic.encrypt(data, space)).map_err(|failure| self.fail(failure))
    }

    /// Appends close_notify, once; nothing if still handshaking or failed.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        if self.established && !self.closing && matches!(self.state, State::Running(_)) {
            self.closing = true;
            // Failing here means that close_notify or an alert has gone out before.
            let _ = self.write(out, 2 + OVERHEAD, |traffic, space| traffic.queue_close_notify(space));
            self.kept = Vec::new();
            self.seen = 0;
        }
    }

    fn write(
        &mut self,
        out: &mut Vec<u8>,
        expected: usize,
        write: impl FnMut(&mut WriteTraffic<'_>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), Failure> {
        let State::Running(connection) = &mut self.state else {
            return Err(Failure::new("no session"));
        };
        // What rustls has seen and not discarded it must see again.
        let seen = &mut self.kept[..self.seen];
        write_records(connection, seen, out, expected, write).inspect_err(|_| flush(connection, out))
    }

    fn connection(&self) -> Option<&UnbufferedServerConnection> {
        match &self.state {
            State::Running(connection) => Some(connection),
            _ => None,
        }
    }

    /// The name that the client asked for, also where no certificate has it.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// "TLSv1.3 TLS13_AES_128_GCM_SHA256", once they are agreed.
    pub fn version_and_suite(&self) -> Option<String> {
        let connection = self.connection()?;
        let version = match connection.protocol_version()? {
            ProtocolVersion::TLSv1_3 => "TLSv1.3",
            ProtocolVersion::TLSv1_2 => "TLSv1.2",
            _ => return None,
        };
        Some(format!("{version} {:?}", connection.negotiated_cipher_suite()?.suite()))
    }

    /// The protocol agreed by ALPN, if the client speaks ALPN.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.connection()?.alpn_protocol()
    }

    /// The client's own certificate, verified, DER.
    pub fn client_certificate(&self) -> Option<&[u8]> {
        self.connection()?.peer_certificates()?.first().map(AsRef::as_ref)
    }

    /// Bytes of incomplete input kept here.
    pub fn buffered(&self) -> usize {
        self.kept.len()
    }
}

type WriteTraffic<'a> = rustls::unbuffered::WriteTraffic<'a, rustls::server::ServerConnectionData>;

/// Takes rustls through everything that whole records make it do. On an error its alert is still queued.
fn process(
    connection: &mut UnbufferedServerConnection,
    records: &mut [u8],
    out: &mut Vec<u8>,
    plain: &mut dyn FnMut(&[u8]),
    peer_closed: &mut bool,
) -> Result<usize, Error> {
    let mut done = 0;
    loop {
        let UnbufferedStatus { mut discard, state } = connection.process_tls_records(&mut records[done..]);
        match state? {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    plain(record.payload);
                }
            }
            ConnectionState::EncodeTlsData(chunk) => encode(chunk, out),
            ConnectionState::TransmitTlsData(sent) => sent.done(),
            ConnectionState::PeerClosed => *peer_closed = true,
            // More input is needed, or will be: BlockedHandshake, WriteTraffic, Closed.
            _ => return Ok(done + discard),
        }
        done += discard;
    }
}

/// Appends what `write` makes; `expected` is the room that it takes, unless something else has to go out before.
fn write_records(
    connection: &mut UnbufferedServerConnection,
    seen: &mut [u8],
    out: &mut Vec<u8>,
    expected: usize,
    mut write: impl FnMut(&mut WriteTraffic<'_>, &mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), Failure> {
    loop {
        match connection.process_tls_records(seen).state.map_err(Failure::new)? {
            ConnectionState::EncodeTlsData(chunk) => encode(chunk, out),
            ConnectionState::TransmitTlsData(sent) => sent.done(),
            ConnectionState::WriteTraffic(mut traffic) => {
                let start = out.len();
                let mut room = expected;
                let written = loop {
                    out.resize(start + room, 0);
                    match write(&mut traffic, &mut out[start..]) {
                        Err(EncryptError::InsufficientSize(more)) if more.required_size > room => {
                            room = more.required_size;
                        }
                        other => break other,
                    }
                };
                out.truncate(start + *written.as_ref().unwrap_or(&0));
                return written.map(|_| ()).map_err(Failure::new);
            }
            _ => return Err(Failure::new("nothing can be sent any more")),
        }
    }
}

fn encode(mut chunk: EncodeTlsData<'_, rustls::server::ServerConnectionData>, out: &mut Vec<u8>) {
    let start = out.len();
    let Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) = chunk.encode(&mut []) else {
        return;
    };
    out.resize(start + required_size, 0);
    let written = chunk.encode(&mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
}

/// The alert that an error queued. Only as long as there is something queued: rustls looks at that first, and after an
/// error it must not look at anything else.
fn flush(connection: &mut UnbufferedServerConnection, out: &mut Vec<u8>) {
    while connection.wants_write() {
        match connection.process_tls_records(&mut []).state {
            Ok(ConnectionState::EncodeTlsData(chunk)) => encode(chunk, out),
            Ok(ConnectionState::TransmitTlsData(sent)) => sent.done(),
            _ => return,
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("handshaking", &!self.established)
            .field("server_name", &self.server_name)
            .field("buffered", &self.kept.len())
            .finish_non_exhaustive()
    }
}
