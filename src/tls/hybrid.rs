//! X25519MLKEM768 for a provider that does not have it: what is recorded today stays secret from the quantum computers
//! of tomorrow, unless both X25519 and ML-KEM-768 are broken.
//!
//! Rule: the format of draft-ietf-tls-ecdhe-mlkem; in shares and in the secret ML-KEM comes first.

use ml_kem::kem::{Decapsulate, KeyExport};
use ml_kem::ml_kem_768::{DecapsulationKey, EncapsulationKey};
use ml_kem::B32;
use rustls::crypto::{ActiveKeyExchange, CompletedKeyExchange, SharedSecret, SupportedKxGroup};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::{Error, NamedGroup, PeerMisbehaved, ProtocolVersion};
use zeroize::Zeroize;

use super::provider::backend;

pub(super) static X25519MLKEM768: &dyn SupportedKxGroup = &Hybrid;

const ENCAPSULATION_KEY: usize = 1184;
const CIPHERTEXT: usize = 1088;

#[derive(Debug)]
struct Hybrid;

impl SupportedKxGroup for Hybrid {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let classical = backend::kx_group::X25519.start()?;
        let mut seed = [0; 64];
        random(&mut seed)?;
        let key = DecapsulationKey::from_seed(seed.into());
        seed.zeroize();
        let share = [key.encapsulation_key().to_bytes().as_slice(), classical.pub_key()].concat();
        Ok(Box::new(Started { classical, key, share }))
    }

    fn start_and_complete(&self, share: &[u8]) -> Result<CompletedKeyExchange, Error> {
        let (theirs, classical) = share.split_at_checked(ENCAPSULATION_KEY).ok_or(INVALID)?;
        let theirs = EncapsulationKey::new(theirs.try_into().map_err(|_| INVALID)?).map_err(|_| INVALID)?;
        let classical = backend::kx_group::X25519.start_and_complete(classical)?;
        let mut message = B32::default();
        random(&mut message)?;
        let (ciphertext, mut shared) = theirs.encapsulate_deterministic(&message);
        message.zeroize();
        let secret = SharedSecret::from([shared.as_slice(), classical.secret.secret_bytes()].concat());
        shared.zeroize();
        let pub_key = [ciphertext.as_slice(), &classical.pub_key].concat();
        Ok(CompletedKeyExchange { group: self.name(), pub_key, secret })
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_3
    }
}

/// The side that speaks first, which a server never is; the trait wants both.
struct Started {
    classical: Box<dyn ActiveKeyExchange>,
    key: DecapsulationKey,
    share: Vec<u8>,
}

impl ActiveKeyExchange for Started {
    fn complete(self: Box<Self>, share: &[u8]) -> Result<SharedSecret, Error> {
        let (ciphertext, classical) = share.split_at_checked(CIPHERTEXT).ok_or(INVALID)?;
        let classical = self.classical.complete(classical)?;
        let mut shared = self.key.decapsulate(ciphertext.try_into().map_err(|_| INVALID)?);
        let secret = SharedSecret::from([shared.as_slice(), classical.secret_bytes()].concat());
        shared.zeroize();
        Ok(secret)
    }

    fn pub_key(&self) -> &[u8] {
        &self.share
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }
}

const INVALID: Error = Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);

fn random(bytes: &mut [u8]) -> Result<(), Error> {
    Ok(backend::default_provider().secure_random.fill(bytes)?)
}
