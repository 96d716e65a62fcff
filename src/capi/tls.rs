//! Section 9: TLS. Rule: a set of certificates is what the host holds a reference to; listeners keep theirs. A build
//! without TLS has every function, and each says so.

use std::ffi::{c_int, c_void};
use std::sync::Arc;

use super::guard::{guard, guard_value};
use super::input;
use crate::engine::Error;
use crate::io::secure::Certificates;

/// For encke_tls_set: whether clients are to show a certificate, ENCKE_CLIENT_CERT_. Default: required once client roots
/// were added, off before.
pub const ENCKE_TLS_CLIENT_CERT: c_int = 1;

/// Clients are not asked.
pub const ENCKE_CLIENT_CERT_OFF: u64 = 0;
/// Clients are asked; who shows none is served too (ENCKE_INFO_CLIENT_CERT tells), who shows a bad one is not.
pub const ENCKE_CLIENT_CERT_OPTIONAL: u64 = 1;
/// Without a certificate from the client roots the handshake fails.
pub const ENCKE_CLIENT_CERT_REQUIRED: u64 = 2;

/// Certificates; shared by listeners, swapped while they serve.
pub struct encke_tls {
    #[cfg_attr(not(feature = "tls"), allow(dead_code))]
    certificates: Option<Arc<Certificates>>,
}

impl std::fmt::Debug for encke_tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("encke_tls")
    }
}

#[cfg(feature = "tls")]
mod with {
    use super::*;
    use crate::tls::{ClientCertificates, Unusable};

    impl From<Unusable> for Error {
        fn from(unusable: Unusable) -> Error {
            Error::Tls(unusable.0.into())
        }
    }

    pub fn new() -> Option<Arc<Certificates>> {
        Some(Arc::default())
    }

    pub fn add(to: &Certificates, chain: &[u8], key: Option<&[u8]>) -> Result<(), Error> {
        match key {
            Some(key) => to.add(chain, key)?,
            None => to.add_client_roots(chain)?,
        }
        Ok(())
    }

    pub fn set(to: &Certificates, option: c_int, value: u64) -> Result<(), Error> {
        if option != ENCKE_TLS_CLIENT_CERT {
            return Err(Error::NotSupported(format!("option {option} is not known to this library").into()));
        }
        let mode = match value {
            ENCKE_CLIENT_CERT_OFF => ClientCertificates::Off,
            ENCKE_CLIENT_CERT_OPTIONAL => ClientCertificates::Optional,
            ENCKE_CLIENT_CERT_REQUIRED => ClientCertificates::Required,
            _ => return Err(Error::invalid(format!("ENCKE_TLS_CLIENT_CERT: {value} is not within 0 to 2"))),
        };
        to.set_client_certificates(mode)?;
        Ok(())
    }

    pub fn swap(live: &Certificates, fresh: &Certificates) -> Result<(), Error> {
        live.swap(fresh).map_err(|unusable| Error::invalid(unusable.0))
    }

    pub fn is_empty(certificates: &Certificates) -> bool {
        certificates.is_empty()
    }
}

#[cfg(not(feature = "tls"))]
mod with {
    use super::*;

    pub fn new() -> Option<Arc<Certificates>> {
        None
    }

    pub fn add(to: &Certificates, _: &[u8], _: Option<&[u8]>) -> Result<(), Error> {
        match *to {}
    }

    pub fn set(to: &Certificates, _: c_int, _: u64) -> Result<(), Error> {
        match *to {}
    }

    pub fn swap(live: &Certificates, _: &Certificates) -> Result<(), Error> {
        match *live {}
    }

    pub fn is_empty(certificates: &Certificates) -> bool {
        match *certificates {}
    }
}

/// # Safety
/// `tls` is NULL or came from encke_tls_new and was not freed.
unsafe fn of<'a>(tls: *const encke_tls, what: &'static str) -> Result<&'a Arc<Certificates>, Error> {
    // SAFETY: the caller's promise; only shared references are made.
    let Some(tls) = (unsafe { tls.as_ref() }) else { return Err(Error::invalid(format!("{what} is NULL"))) };
    tls.certificates.as_ref().ok_or_else(|| Error::NotSupported("this build has no TLS".into()))
}

/// What a listener is to speak.
///
/// # Safety
/// As [`of`].
pub(super) unsafe fn given(tls: *const encke_tls) -> Result<Option<Arc<Certificates>>, Error> {
    if tls.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    let certificates = unsafe { of(tls, "tls")? };
    if with::is_empty(certificates) {
        return Err(Error::Tls("tls has no certificate yet: encke_tls_add".into()));
    }
    Ok(Some(certificates.clone()))
}

/// An empty set of certificates; free it with encke_tls_free. NULL only for want of memory. Any thread. Since 0.1.
#[no_mangle]
pub extern "C" fn encke_tls_new() -> *mut encke_tls {
    guard_value(std::ptr::null_mut(), || Box::into_raw(Box::new(encke_tls { certificates: with::new() })))
}

/// Adds a certificate chain (the server's certificate first, then those that issued it) and its key: PKCS#8, SEC1 or
/// PKCS#1, both PEM, the bytes of the usual files; they are copied, and need no NUL. Clients get the certificate that has
/// the name they ask for (SNI; "*.example.org" covers one label), of several the first that they can check, otherwise the
/// first one added. With key NULL chain_pem holds the CAs that client certificates must come from: from then on clients
/// must show one, see ENCKE_TLS_CLIENT_CERT. May be called while listeners use it: new handshakes see it. Takes no files:
/// nothing here reads a disk. One thread at a time.
/// ENCKE_E_TLS: not usable; encke_last_error() says which of the two, which certificate of it, and why (no PEM, a wrong
/// order, expired, an encrypted key, a key that does not fit ...); ENCKE_E_INVAL: tls or chain_pem is NULL;
/// ENCKE_E_NOTSUP: this build has no TLS (encke_has_feature("tls")). On a failure nothing changes. Since 0.1.
/// RFC 5280; RFC 6066, 3; RFC 7468.
#[no_mangle]
pub unsafe extern "C" fn encke_tls_add(
    tls: *mut encke_tls,
    chain_pem: *const c_void,
    chain_len: usize,
    key_pem: *const c_void,
    key_len: usize,
) -> c_int {
    guard(|| {
        // SAFETY: the host gives NULL or a set, and readable bytes.
        let (certificates, chain, key) = unsafe {
            let certificates = of(tls, "tls")?;
            if chain_pem.is_null() {
                return Err(Error::invalid("chain_pem is NULL"));
            }
            (certificates, input::bytes(chain_pem, chain_len, "chain_pem")?, input::bytes(key_pem, key_len, "key_pem")?)
        };
        with::add(certificates, chain, (!key_pem.is_null()).then_some(key)).map(|()| 0)
    })
}

/// Sets an option of a set of certificates (ENCKE_TLS_CLIENT_CERT); new handshakes see it. One thread at a time.
/// ENCKE_E_INVAL: tls is NULL, or the value is out of range; ENCKE_E_TLS: it cannot be used with what was added;
/// ENCKE_E_NOTSUP: an option that this library does not know, or this build has no TLS. On a failure nothing changes.
/// Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_tls_set(tls: *mut encke_tls, option: c_int, value: u64) -> c_int {
    guard(|| {
        // SAFETY: the host gives NULL or a set.
        let certificates = unsafe { of(tls, "tls")? };
        with::set(certificates, option, value).map(|()| 0)
    })
}

/// Reload: in one step live gets everything of fresh, and fresh becomes empty. New handshakes use it; live connections keep
/// what they have, and sessions still resume, unless the demands on client certificates changed. Any thread, also while
/// others serve with live.
/// ENCKE_E_INVAL: one of the two is NULL, they are the same, or fresh has no certificate; ENCKE_E_NOTSUP: this build has no
/// TLS. On a failure nothing changes. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_tls_swap(live: *mut encke_tls, fresh: *mut encke_tls) -> c_int {
    guard(|| {
        // SAFETY: the host gives NULL or sets that nobody frees during the call.
        let (live, fresh) = unsafe { (of(live, "live")?, of(fresh, "fresh")?) };
        with::swap(live, fresh).map(|()| 0)
    })
}

/// Gives up your reference; listeners keep theirs. NULL is fine. One thread at a time. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_tls_free(tls: *mut encke_tls) {
    guard_value((), || {
        if !tls.is_null() {
            // SAFETY: it came from encke_tls_new and is not used any more.
            drop(unsafe { Box::from_raw(tls) });
        }
    })
}
