//! Owns one connection to a bus, in the clear or over TLS. Rule: what is sent waits here, and nobody waits for it but the
//! task itself.

use std::future::{poll_fn, Future};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use rustix::io::Errno;

use super::names::Names;
use super::response::Fault;
use super::url::{Place, Url};
use crate::io::dial::{dial, dial_unix, outcome, reason, Dialled};
use crate::io::tasks::{Port, Reactor, Timer};

#[cfg(not(feature = "tls"))]
use super::no_tls as tls;
#[cfg(feature = "tls")]
use crate::tls;

pub use tls::{Client, Trust};

/// Milliseconds for one address while there are others to be tried.
const ONE_ADDRESS: u64 = 2_000;

/// Why there is no connection to an address, and whether there was one.
struct Failed {
    shaking: bool,
    why: Fault,
}

#[derive(Debug)]
pub struct Stream {
    port: Port,
    tls: Option<Box<Client>>,
    /// Bytes for the socket, from `start`.
    unsent: Vec<u8>,
    start: usize,
}

fn fault(what: &str, errno: Errno) -> Fault {
    format!("{what}: {}", reason(errno)).into()
}

/// A future that must be ready in time.
pub async fn within<T>(
    reactor: &Rc<Reactor>,
    milliseconds: u64,
    late: &'static str,
    future: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let mut future = pin!(future);
    let mut timer = Timer::new(reactor, reactor.now().saturating_add(milliseconds));
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Pending => timer.poll(context).map(|()| Err(late.into())),
        ready => ready,
    })
    .await
}

impl Stream {
    /// Connects to the first of the addresses that takes it, and shakes hands.
    pub async fn connect(
        reactor: &Rc<Reactor>,
        url: &Url,
        names: &Names,
        trust: Option<&Trust>,
    ) -> Result<Stream, Fault> {
        let addresses = match &url.place {
            Place::Unix(path) => {
                let dialled =
                    dial_unix(path).map_err(|errno| fault(&format!("connect to {}", path.display()), errno))?;
                return Ok(Stream::over(established(reactor, dialled, "connect").await?));
            }
            Place::Address(address) => vec![*address],
            Place::Name(name, port) => {
                let addresses = Box::pin(names.look_up(reactor, name)).await?;
                addresses.into_iter().map(|ip| SocketAddr::new(ip, *port)).collect()
            }
        };
        let tls = url.tls.as_deref().zip(trust);
        let mut failed: Option<Failed> = None;
        for (i, address) in addresses.iter().enumerate() {
            let mut shaking = false;
            let attempt = Stream::to(reactor, *address, tls, &mut shaking);
            let result = match i + 1 == addresses.len() {
                true => attempt.await,
                false => within(reactor, ONE_ADDRESS, "no handshake in 2 seconds", attempt).await,
            };
            match result {
                Ok(stream) => return Ok(stream),
                // Of several failures the one that came furthest says most.
                Err(why) if shaking || !failed.as_ref().is_some_and(|failed| failed.shaking) => {
                    failed = Some(Failed { shaking, why });
                }
                Err(_) => {}
            }
        }
        Err(failed.map_or_else(|| "the host has no address".into(), |failed| failed.why))
    }

    /// Connects to this address, and shakes hands.
    async fn to(
        reactor: &Rc<Reactor>,
        address: SocketAddr,
        tls: Option<(&str, &Trust)>,
        shaking: &mut bool,
    ) -> Result<Stream, Fault> {
        let what = format!("connect to {address}");
        let dialled = dial(address).map_err(|errno| fault(&what, errno))?;
        let mut stream = Stream::over(established(reactor, dialled, &what).await?);
        if let Some((name, trust)) = tls {
            *shaking = true;
            stream.shake_hands(trust, name).await?;
        }
        Ok(stream)
    }

    fn over(port: Port) -> Stream {
        Stream { port, tls: None, unsent: Vec::new(), start: 0 }
    }

    async fn shake_hands(&mut self, trust: &Trust, name: &str) -> Result<(), Fault> {
        let mut client = Client::new(trust, name).map_err(|why| format!("TLS: {why}"))?;
        client.take_unsent(&mut self.unsent).map_err(|why| format!("TLS: {why}"))?;
        self.tls = Some(Box::new(client));
        poll_fn(|context| loop {
            if let Poll::Ready(Err(why)) = self.poll_send(context) {
                return Poll::Ready(Err(why));
            }
            let over = !self.tls.as_ref().is_some_and(|client| client.is_handshaking());
            if over && !self.has_unsent() {
                return Poll::Ready(Ok(()));
            }
            match self.poll_receive(context, &mut |_| ()) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => return Poll::Ready(Err("TLS: the server closed the connection".into())),
                Poll::Ready(Err(why)) => return Poll::Ready(Err(why)),
                Poll::Pending => return Poll::Pending,
            }
        })
        .await
    }

    pub fn has_unsent(&self) -> bool {
        self.start < self.unsent.len()
    }

    pub fn unsent(&self) -> usize {
        self.unsent.len() - self.start
    }

    /// Adds to what is to be sent.
    pub fn queue(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match &mut self.tls {
            None => {
                self.unsent.try_reserve(bytes.len()).map_err(|_| "no memory for what is to be sent")?;
                self.unsent.extend_from_slice(bytes);
            }
            Some(client) => {
                for piece in bytes.chunks(16 << 10) {
                    client.send(piece).map_err(|why| format!("TLS: {why}"))?;
                    client.take_unsent(&mut self.unsent).map_err(|why| format!("TLS: {why}"))?;
                }
            }
        }
        Ok(())
    }

    /// Ready when everything is with the system.
    pub fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        while self.has_unsent() {
            match self.port.poll_write(context, &self.unsent[self.start..]) {
                Poll::Ready(Ok(n)) => self.start += n,
                Poll::Ready(Err(errno)) => return Poll::Ready(Err(fault("sending", errno))),
                Poll::Pending => return Poll::Pending,
            }
        }
        // An idle connection keeps nothing.
        self.unsent = Vec::new();
        self.start = 0;
        Poll::Ready(Ok(()))
    }

    /// Reads once; false: the end.
    pub fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<bool, Fault>> {
        let Stream { port, tls, unsent, .. } = self;
        let mut failure = None;
        let mut over = false;
        let read = port.poll_read(context, &mut |bytes| match tls {
            None => take(bytes),
            Some(client) => match client.receive(bytes, take) {
                Ok(closed) => over = closed,
                Err(why) => failure = Some(format!("TLS: {why}")),
            },
        });
        let n = match read {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(errno)) => return Poll::Ready(Err(fault("receiving", errno))),
            Poll::Ready(Ok(n)) => n,
        };
        if let Some(client) = tls {
            // Also the alert of a failure, of which nobody waits for the sending.
            let taken = client.take_unsent(unsent);
            if failure.is_some() {
                let _ = self.poll_send(context);
            } else if let Err(why) = taken {
                failure = Some(format!("TLS: {why}"));
            }
        }
        match failure {
            Some(why) => Poll::Ready(Err(why.into())),
            None => Poll::Ready(Ok(n > 0 && !over)),
        }
    }
}

async fn established(reactor: &Rc<Reactor>, dialled: Dialled, what: &str) -> Result<Port, Fault> {
    let Dialled { fd, connected } = dialled;
    let port = Port::new(reactor, fd, connected);
    if !connected {
        poll_fn(|context| port.poll_writable(context)).await.map_err(|errno| fault(what, errno))?;
        port.with_fd(outcome).map_err(|errno| fault(what, errno))?;
    }
    Ok(port)
}
