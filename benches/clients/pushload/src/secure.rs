//! Owns TLS of the subscribers. The server's certificate is not looked at: what is measured is the server, on loopback.

use std::io::{Read, Write};
use std::os::fd::RawFd;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256, SignatureScheme::ED25519]
    }
}

pub fn config() -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

pub fn connection(config: &Arc<ClientConfig>) -> Box<ClientConnection> {
    let name = ServerName::try_from("localhost").expect("a name");
    Box::new(ClientConnection::new(config.clone(), name).expect("a client"))
}

struct Socket(RawFd);

impl Write for Socket {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        // SAFETY: the slice is readable.
        match unsafe { libc::send(self.0, data.as_ptr() as _, data.len(), libc::MSG_NOSIGNAL) } {
            n @ 0.. => Ok(n as usize),
            _ => Err(std::io::Error::last_os_error()),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn flush(tls: &mut ClientConnection, fd: RawFd) -> bool {
    while tls.wants_write() {
        if tls.write_tls(&mut Socket(fd)).is_err() {
            return false;
        }
    }
    true
}

/// What is said before the end of the handshake goes out with it.
pub fn say(tls: &mut ClientConnection, fd: RawFd, request: &[u8]) -> bool {
    tls.writer().write_all(request).is_ok() && flush(tls, fd)
}

/// Decrypts the first `n` bytes of `buf` in place: how many those are in plain. `None`: the connection is over.
pub fn hear(tls: &mut ClientConnection, fd: RawFd, buf: &mut [u8], n: usize) -> Option<usize> {
    let (mut taken, mut plain) = (0, Vec::new());
    while taken < n {
        taken += tls.read_tls(&mut &buf[taken..n]).ok().filter(|n| *n > 0)?;
        tls.process_new_packets().ok()?;
        let _ = tls.reader().read_to_end(&mut plain); // WouldBlock where there is no more
    }
    if !flush(tls, fd) {
        return None;
    }
    buf[..plain.len()].copy_from_slice(&plain);
    Some(plain.len())
}
