//! Owns the way from a host's name to its addresses: the system's file of hosts, then its name servers, asked over UDP.
//! Rules: nothing here waits for anybody but as a task; nothing is remembered, the next attempt to connect asks again; every
//! question has an id of chance and a socket of its own, which hears the server alone.

use std::future::{poll_fn, Future};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use super::dns::{self, Answer, Kind};
use super::response::Fault;
use super::stream::within;
use super::system_names::{self, Config};
use crate::io::dial::{dial_udp, reason};
use crate::io::small_file;
use crate::io::tasks::{Port, Reactor, Timer};

/// Bytes read of each of the files.
const MAX_FILE: u64 = 256 << 10;
/// Milliseconds for one name, whatever resolv.conf says: it is to leave time to connect.
const LOOK_UP: u64 = 8_000;
/// Milliseconds for the addresses of the other kind when those of one have come.
const OTHER_KIND: u64 = 500;
/// Datagrams that are no answer to a question, after which somebody is taken to guess.
const MAX_STRANGE: u32 = 32;

/// Where names are looked up.
#[derive(Debug)]
pub struct Names {
    pub hosts: PathBuf,
    pub resolv_conf: PathBuf,
    /// Of the name servers.
    pub port: u16,
}

impl Default for Names {
    fn default() -> Names {
        Names { hosts: "/etc/hosts".into(), resolv_conf: "/etc/resolv.conf".into(), port: 53 }
    }
}

enum Failure {
    /// The servers know: there is no such name, or it has no address.
    Missing(&'static str),
    /// They do not.
    Unknown(Fault),
}

fn text_of(path: &Path) -> String {
    String::from_utf8_lossy(&small_file::read(path, MAX_FILE).unwrap_or_default()).into_owned()
}

impl Names {
    /// The addresses of a name, one at least, those of IPv6 first.
    pub async fn look_up(&self, reactor: &Rc<Reactor>, name: &str) -> Result<Vec<IpAddr>, Fault> {
        let whole = name.strip_suffix('.').unwrap_or(name);
        if whole == "localhost" {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let mut addresses = system_names::hosts(&text_of(&self.hosts), whole);
        if addresses.is_empty() {
            let asking = self.ask_all(reactor, name);
            let found = within(reactor, LOOK_UP, "the name servers took too long", asking).await;
            addresses = found.map_err(|why| format!("{name}: {why}"))?;
        }
        addresses.sort_by_key(IpAddr::is_ipv4);
        Ok(addresses)
    }

    async fn ask_all(&self, reactor: &Rc<Reactor>, name: &str) -> Result<Vec<IpAddr>, Fault> {
        let mut config = system_names::config(&text_of(&self.resolv_conf));
        // Every server is to have its turn.
        config.timeout = config.timeout.min(LOOK_UP / (config.servers.len() as u64 * config.attempts + 1));
        let mut missing = "no such name";
        for candidate in config.candidates(name) {
            match self.both(reactor, &config, &candidate).await {
                Ok(addresses) => return Ok(addresses),
                // What is not known now may be known later: another name must not take its place.
                Err(Failure::Unknown(why)) => return Err(why),
                Err(Failure::Missing(why)) if why == NO_ADDRESS => missing = why,
                Err(Failure::Missing(_)) => {}
            }
        }
        Err(missing.into())
    }

    /// Asks for the addresses of both kinds at once.
    async fn both(&self, reactor: &Rc<Reactor>, config: &Config, name: &str) -> Result<Vec<IpAddr>, Failure> {
        let mut six = pin!(self.ask(reactor, config, name, Kind::Aaaa));
        let mut four = pin!(self.ask(reactor, config, name, Kind::A));
        let (mut of_six, mut of_four, mut other) = (None, None, None);
        poll_fn(|context| {
            if of_six.is_none() {
                of_six = ready(six.as_mut().poll(context));
            }
            if of_four.is_none() {
                of_four = ready(four.as_mut().poll(context));
            }
            match (&of_six, &of_four) {
                (Some(_), Some(_)) => Poll::Ready(()),
                (Some(Ok(_)), None) | (None, Some(Ok(_))) => other
                    .get_or_insert_with(|| Timer::new(reactor, reactor.now().saturating_add(OTHER_KIND)))
                    .poll(context),
                _ => Poll::Pending,
            }
        })
        .await;
        let mut addresses = Vec::new();
        let mut failure = Failure::Missing("no such name");
        for result in [of_six, of_four].into_iter().flatten() {
            match (result, &failure) {
                (Ok(found), _) => addresses.extend(found),
                (Err(why @ Failure::Unknown(_)), _) => failure = why,
                (Err(why @ Failure::Missing(NO_ADDRESS)), Failure::Missing(_)) => failure = why,
                (Err(_), _) => {}
            }
        }
        match addresses.is_empty() {
            true => Err(failure),
            false => Ok(addresses),
        }
    }

    /// Asks one server after the other until one knows.
    async fn ask(
        &self,
        reactor: &Rc<Reactor>,
        config: &Config,
        name: &str,
        kind: Kind,
    ) -> Result<Vec<IpAddr>, Failure> {
        let mut failure = Fault::from("there is no name server");
        for _ in 0..config.attempts {
            for server in &config.servers {
                let exchange = self.exchange(reactor, *server, name, kind);
                match within(reactor, config.timeout, "no answer", exchange).await {
                    Ok(Answer::NoSuchName) => return Err(Failure::Missing("no such name")),
                    Ok(Answer::Addresses(found)) if found.is_empty() => return Err(Failure::Missing(NO_ADDRESS)),
                    Ok(Answer::Addresses(found)) => return Ok(found),
                    Err(why) => failure = format!("name server {server}: {why}").into(),
                }
            }
        }
        Err(Failure::Unknown(failure))
    }

    async fn exchange(&self, reactor: &Rc<Reactor>, server: IpAddr, name: &str, kind: Kind) -> Result<Answer, Fault> {
        let mut id = [0; 2];
        getrandom::fill(&mut id).map_err(|_| "no random numbers")?;
        // With a domain of the search list behind it, it may be too long for anybody to have it.
        let Some(question) = dns::question(u16::from_ne_bytes(id), name, kind) else { return Ok(Answer::NoSuchName) };
        let fd = dial_udp(SocketAddr::new(server, self.port)).map_err(reason)?;
        let port = Port::datagrams(reactor, fd);
        poll_fn(|context| port.poll_write(context, &question)).await.map_err(reason)?;
        let mut strange = 0;
        poll_fn(|context| loop {
            let mut answer = Ok(None);
            match port.poll_read(context, &mut |message| answer = dns::read(&question, message)) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(errno)) => return Poll::Ready(Err(reason(errno).into())),
                Poll::Ready(Ok(_)) => {}
            }
            if let Some(result) = answer.transpose() {
                return Poll::Ready(result);
            }
            strange += 1;
            if strange == MAX_STRANGE {
                return Poll::Ready(Err("answers to what was not asked".into()));
            }
        })
        .await
    }
}

const NO_ADDRESS: &str = "the name has no address";

fn ready<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
