//! Owns a client: rustls over a socket of async-io, and HTTP/1.1 just enough to read answers. Rule: it says exactly how a
//! connection ended, and never waits without a deadline.

use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use async_executor::LocalExecutor;
use async_io::{block_on, Async, Timer};
use futures_lite::future::or;
use pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind};

use super::host::{Host, DEADLINE};

/// Why a client got no further.
#[derive(Debug, PartialEq)]
pub enum Trouble {
    /// What rustls objects to, or the alert that came.
    Tls(rustls::Error),
    /// The end of the stream without close_notify.
    Cut,
    /// A reset.
    Reset,
    /// close_notify came although there is more to expect.
    Ended,
}

#[derive(Debug, PartialEq, Clone)]
pub struct Answer {
    pub status: u16,
    /// Without Date.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// The first answer in `bytes`, and how long it is. None: more must come.
    pub fn parse(bytes: &[u8]) -> Option<(Answer, usize)> {
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(start) = head.parse(bytes).expect("an answer") else { return None };
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).expect("text");
        let fields = head.headers.iter().map(|field| (field.name.to_ascii_lowercase(), text(field.value)));
        let fields: Vec<_> = fields.filter(|(name, _)| name != "date").collect();
        let is = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        let (body, n) = match (is("content-length"), is("transfer-encoding")) {
            (Some(length), None) => {
                let length = length.parse().expect("a length");
                (bytes[start..].get(..length)?.to_vec(), length)
            }
            (None, Some("chunked")) => chunked(&bytes[start..])?,
            framing => panic!("framing {framing:?}"),
        };
        Some((Answer { status: head.code.expect("a status"), fields, body }, start + n))
    }
}

/// The body, and the length of what carries it.
fn chunked(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut pieces = Vec::new();
    let mut at = 0;
    loop {
        let size = httparse::parse_chunk_size(&bytes[at..]).expect("a chunk");
        let httparse::Status::Complete((line, size)) = size else { return None };
        at += line;
        let piece = bytes.get(at..at + size as usize)?;
        at += size as usize;
        assert_eq!(bytes.get(at..at + 2)?, b"\r\n");
        at += 2;
        if size == 0 {
            return Some((pieces.concat(), at));
        }
        pieces.push(piece);
    }
}

pub struct Client {
    pub socket: Async<TcpStream>,
    pub tls: ClientConnection,
    /// What came and was not asked for yet.
    pub plain: Vec<u8>,
    /// The server takes nothing any more; what it said before may still be there to read.
    deaf: bool,
}

/// Runs a test's client side.
pub fn run<T>(what: impl Future<Output = T>) -> T {
    block_on(or(what, async {
        Timer::after(DEADLINE).await;
        panic!("not within {DEADLINE:?}");
    }))
}

/// Runs many of them at a time.
pub fn run_all<T>(clients: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let executor = LocalExecutor::new();
    let tasks: Vec<_> = clients.map(|client| executor.spawn(client)).collect();
    run(executor.run(async {
        let mut all = Vec::new();
        for task in tasks {
            all.push(task.await);
        }
        all
    }))
}

impl Client {
    /// Connected; not a byte was sent.
    pub async fn connect(host: &Host, config: &Arc<ClientConfig>, name: &str) -> Client {
        let socket = Async::<TcpStream>::connect(([127, 0, 0, 1], host.port)).await.expect("a listener");
        socket.get_ref().set_nodelay(true).expect("TCP_NODELAY");
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let tls = ClientConnection::new(config.clone(), name).expect("a client");
        Client { socket, tls, plain: Vec::new(), deaf: false }
    }

    /// Connected, and through with the handshake, as far as the client sees it.
    pub async fn open(host: &Host, config: &Arc<ClientConfig>) -> Result<Client, Trouble> {
        Client::named(host, config, "localhost").await
    }

    pub async fn named(host: &Host, config: &Arc<ClientConfig>, name: &str) -> Result<Client, Trouble> {
        let mut client = Client::connect(host, config, name).await;
        client.handshake().await.map(|()| client)
    }

    pub async fn handshake(&mut self) -> Result<(), Trouble> {
        while self.tls.is_handshaking() {
            self.turn().await?;
        }
        self.flush().await
    }

    fn send_some(&mut self) -> bool {
        let mut moved = false;
        while self.tls.wants_write() && !self.deaf {
            match self.tls.write_tls(&mut self.socket.get_ref()) {
                Ok(_) => moved = true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.deaf = true,
            }
        }
        moved
    }

    fn receive_some(&mut self) -> Result<bool, Trouble> {
        let n = match self.tls.read_tls(&mut self.socket.get_ref()) {
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err(Trouble::Reset),
            Err(error) => panic!("{error}"),
        };
        let state = match self.tls.process_new_packets() {
            Ok(state) => state,
            Err(error) => {
                // The alert.
                self.send_some();
                return Err(Trouble::Tls(error));
            }
        };
        let start = self.plain.len();
        self.plain.resize(start + state.plaintext_bytes_to_read(), 0);
        self.tls.reader().read_exact(&mut self.plain[start..]).expect("what rustls has");
        match (state.peer_has_closed(), n) {
            (true, _) => Err(Trouble::Ended),
            (false, 0) => Err(Trouble::Cut),
            _ => Ok(true),
        }
    }

    /// Sends and receives what can be; waits until something can.
    pub async fn turn(&mut self) -> Result<(), Trouble> {
        loop {
            let sent = self.send_some();
            if self.receive_some()? || sent {
                return Ok(());
            }
            if self.tls.wants_write() && !self.deaf {
                let _ = or(self.socket.readable(), self.socket.writable()).await;
            } else {
                let _ = self.socket.readable().await;
            }
        }
    }

    // ---- without TLS's help ------------------------------------------------------------------------------------------

    /// What wants to be sent, instead of sending it.
    pub fn take_out(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut out).expect("room");
        }
        out
    }

    /// Receives what comes; what rustls wants to send in return stays with it.
    pub async fn turn_without_sending(&mut self) -> Result<(), Trouble> {
        while !self.receive_some()? {
            let _ = self.socket.readable().await;
        }
        Ok(())
    }

    /// Sends bytes as they are; a server that has hung up is none of our business.
    pub async fn raw(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.socket.write_with(|mut socket| socket.write(bytes)).await {
                Ok(n) => bytes = &bytes[n..],
                Err(_) => return,
            }
        }
    }

    /// What comes until the end, as it is, and how it ends: as a cut or a reset.
    pub async fn raw_rest(&mut self) -> (Vec<u8>, Trouble) {
        let mut all = Vec::new();
        let mut piece = [0; 4096];
        loop {
            match self.socket.read_with(|mut socket| socket.read(&mut piece)).await {
                Ok(0) => return (all, Trouble::Cut),
                Ok(n) => all.extend_from_slice(&piece[..n]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return (all, Trouble::Reset),
                Err(error) => panic!("{error}"),
            }
        }
    }

    // ---- with it -----------------------------------------------------------------------------------------------------

    pub async fn flush(&mut self) -> Result<(), Trouble> {
        while self.tls.wants_write() && !self.deaf {
            self.turn().await?;
        }
        Ok(())
    }

    /// Sends, and receives meanwhile.
    pub async fn send(&mut self, mut bytes: &[u8]) -> Result<(), Trouble> {
        while !bytes.is_empty() {
            let n = self.tls.writer().write(bytes).expect("room or none");
            bytes = &bytes[n..];
            if n == 0 {
                self.turn().await?;
            }
        }
        self.flush().await
    }

    pub async fn answer(&mut self) -> Result<Answer, Trouble> {
        let mut trouble = Ok(());
        loop {
            // What came together with an end counts.
            if let Some((answer, n)) = Answer::parse(&self.plain) {
                self.plain.drain(..n);
                return Ok(answer);
            }
            trouble?;
            trouble = self.turn().await;
        }
    }

    pub async fn get(&mut self, target: &str) -> Result<Answer, Trouble> {
        self.send(request(target).as_bytes()).await?;
        self.answer().await
    }

    pub async fn post(&mut self, target: &str, body: &[u8]) -> Result<Answer, Trouble> {
        self.send(post_head(target, body.len()).as_bytes()).await?;
        self.send(body).await?;
        self.answer().await
    }

    /// What the host knows of the connection.
    pub async fn facts(&mut self) -> Result<Facts, Trouble> {
        let answer = self.get("/facts").await?;
        let mut lines = answer.text().split('\n').map(str::to_owned);
        let mut next = || lines.next().expect("four facts");
        Ok(Facts { server_name: next(), version_and_suite: next(), alpn: next(), certificate: next() })
    }

    /// How the connection ends, once all that is still to come has come.
    pub async fn rest(&mut self) -> Trouble {
        loop {
            if let Err(trouble) = self.turn().await {
                return trouble;
            }
        }
    }

    /// Says close_notify, sends it, and closes the sending side.
    pub async fn close_notify(&mut self) {
        self.tls.send_close_notify();
        let _ = self.flush().await;
        self.fin();
    }

    /// Closes the sending side of the socket, and no more.
    pub fn fin(&self) {
        let _ = self.socket.get_ref().shutdown(Shutdown::Write);
    }

    /// Resets the connection.
    pub fn reset(self) {
        let socket = self.socket.into_inner().expect("the socket");
        rustix::net::sockopt::set_socket_linger(&socket, Some(std::time::Duration::ZERO)).expect("SO_LINGER");
    }

    /// The certificate that the server showed, in this handshake or the one that is resumed.
    pub fn leaf(&self) -> &CertificateDer<'_> {
        &self.tls.peer_certificates().expect("a certificate")[0]
    }

    pub fn kind(&self) -> HandshakeKind {
        self.tls.handshake_kind().expect("the handshake is complete")
    }
}

#[derive(Debug, PartialEq)]
pub struct Facts {
    pub server_name: String,
    pub version_and_suite: String,
    pub alpn: String,
    /// In hexadecimal.
    pub certificate: String,
}

pub fn request(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

pub fn post_head(target: &str, length: usize) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n")
}
