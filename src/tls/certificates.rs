//! The certificates, keys and client roots that listeners share, changed while they serve.
//!
//! Rule: a change is whole or not at all, and the next handshake sees it. The work is done before the lock is taken;
//! under it values only move. The lock is a leaf: nothing else is locked and nobody is called while it is held.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{Error, InconsistentKeys, ServerConfig};
use webpki::EndEntityCert;

use super::clients::{ClientCertificates, Policy, Roots};
use super::names::Names;
use super::provider::{backend, provider};
use super::{chain, key, pem, Unusable};

/// Certificates, keys and client roots, for any number of listeners and threads.
pub struct Certificates {
    provider: Arc<CryptoProvider>,
    contents: Mutex<Contents>,
}

#[derive(Default)]
struct Contents {
    names: Arc<Names>,
    policy: Policy,
    /// Made with the first configuration. They belong to one policy.
    tickets: Option<Arc<dyn ProducesTickets>>,
    /// Made when the first connection after a change asks for it.
    config: Option<Arc<ServerConfig>>,
}

impl Contents {
    /// `change` says whether sessions of before prove what clients must show from now on.
    fn change_policy(&mut self, change: impl FnOnce(&mut Policy) -> bool) {
        self.config = None;
        if change(&mut self.policy) {
            self.tickets = None;
        }
    }
}

impl Certificates {
    /// None yet: clients are refused.
    pub fn new() -> Certificates {
        Certificates { provider: provider(), contents: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a chain (leaf first) and its key, both PEM. Clients get it for the DNS names of its leaf, and the first one
    /// added for every other name. On an error nothing has changed.
    pub fn add(&self, chain_pem: &[u8], key_pem: &[u8]) -> Result<(), Unusable> {
        if is_key(chain_pem) && is_chain(key_pem) {
            return Err(Unusable("chain and key are swapped: the chain is a key, and the key a certificate".into()));
        }
        let chain = chain::read(chain_pem)?;
        let certified = Arc::new(CertifiedKey::new(chain, key::read(key_pem)?));
        match certified.keys_match() {
            // Unknown: the provider does not tell the key's public half.
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(_) => return Err(Unusable("key: it does not belong to certificate 1 of the chain".into())),
        }
        let leaf = certified.cert[0].clone();
        let leaf = EndEntityCert::try_from(&leaf).map_err(|why| Unusable(format!("chain: {why:?}")))?;
        let mut contents = self.lock();
        contents.config = None;
        Arc::make_mut(&mut contents.names).add(certified.clone(), leaf.valid_dns_names());
        Ok(())
    }

    /// Adds CAs that client certificates must come from, PEM. Unless [`Certificates::set_client_certificates`] says
    /// otherwise, before or after, clients must show one from now on. On an error nothing has changed.
    pub fn add_client_roots(&self, pem: &[u8]) -> Result<(), Unusable> {
        let roots = Roots::read(pem)?;
        self.lock().change_policy(|policy| policy.add_roots(roots));
        Ok(())
    }

    /// Whether clients show a certificate. A mode may come before its roots: until then no certificate is accepted, so
    /// that Required lets nobody in. Never an error today.
    pub fn set_client_certificates(&self, mode: ClientCertificates) -> Result<(), Unusable> {
        self.lock().change_policy(|policy| policy.set_mode(mode));
        Ok(())
    }

    /// In one step `self` gets all of `fresh`, and `fresh` becomes empty. Sessions can be resumed across it unless what
    /// clients must show has changed. Err if `fresh` has no certificate or is `self`: nothing has changed.
    pub fn swap(&self, fresh: &Certificates) -> Result<(), Unusable> {
        let (mine, theirs) = (std::ptr::from_ref(self) as usize, std::ptr::from_ref(fresh) as usize);
        if mine == theirs {
            return Err(Unusable("the fresh set and the live set are the same".into()));
        }
        // Always the lower address first, so that two opposite swaps do not wait for each other.
        let (mut live, mut new);
        if mine < theirs {
            live = self.lock();
            new = fresh.lock();
        } else {
            new = fresh.lock();
            live = self.lock();
        }
        if new.names.is_empty() {
            return Err(Unusable("the fresh set has no certificate".into()));
        }
        let old = std::mem::replace(&mut *live, std::mem::take(&mut *new));
        if live.policy.is_same(&old.policy) && old.tickets.is_some() {
            live.tickets = old.tickets.clone();
            live.config = None;
        }
        // What is old goes after the locks.
        drop((live, new));
        Ok(())
    }

    /// True as long as no certificate has been added.
    pub fn is_empty(&self) -> bool {
        self.lock().names.is_empty()
    }

    /// The configuration for a connection that begins now.
    pub(super) fn config(&self) -> Result<Arc<ServerConfig>, Error> {
        let mut contents = self.lock();
        if let Some(config) = &contents.config {
            return Ok(config.clone());
        }
        if contents.tickets.is_none() {
            // Without randomness there is no resumption; handshakes will say more.
            contents.tickets = backend::Ticketer::new().ok();
        }
        let config = Arc::new(self.build(&contents)?);
        contents.config = Some(config.clone());
        Ok(config)
    }

    fn build(&self, contents: &Contents) -> Result<ServerConfig, Error> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_client_cert_verifier(contents.policy.verifier(&self.provider))
            .with_cert_resolver(contents.names.clone());
        config.ignore_client_order = true;
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"http/1.0".to_vec()];
        // Stateless: a ticket carries the session, nothing is kept here. One is enough: a resumed session brings the next.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 1;
        if let Some(tickets) = &contents.tickets {
            config.ticketer = tickets.clone();
        }
        Ok(config)
    }
}

fn is_chain(text: &[u8]) -> bool {
    pem::has(text, |label| label == "CERTIFICATE") && !pem::has(text, |label| label.ends_with("PRIVATE KEY"))
}

fn is_key(text: &[u8]) -> bool {
    pem::has(text, |label| label.ends_with("PRIVATE KEY")) && !pem::has(text, |label| label == "CERTIFICATE")
}

impl Default for Certificates {
    fn default() -> Certificates {
        Certificates::new()
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let contents = self.lock();
        f.debug_struct("Certificates")
            .field("names", &contents.names)
            .field("client_certificates", &contents.policy.mode())
            .finish_non_exhaustive()
    }
}
