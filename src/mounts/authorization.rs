//! Basic authentication (RFC 7617), as far as a mount needs it: who says to be whom, and whether the password is the
//! mount's. Rule: comparing takes the same time wherever the texts differ.

use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::DecodePaddingMode;
use base64::Engine as _;

use crate::engine::head::Head;

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Who a client says to be.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub user: Vec<u8>,
    pub password: Vec<u8>,
}

impl Credentials {
    /// `None`: the request has none that are understood.
    pub fn of(head: &Head) -> Option<Credentials> {
        let value = head.field("authorization")?;
        let (scheme, rest) = value.split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"basic ") {
            return None;
        }
        let mut user = LENIENT.decode(rest.trim_ascii()).ok()?;
        let colon = user.iter().position(|byte| *byte == b':')?;
        let password = user.split_off(colon + 1);
        user.pop();
        Some(Credentials { user, password })
    }
}

/// What a mount asks of its clients.
#[derive(Debug)]
pub struct Guard {
    secret: Box<[u8]>,
    /// Shown to who has not said it; fit for a quoted string.
    pub realm: Box<str>,
}

impl Guard {
    pub fn new(secret: &[u8], realm: &str) -> Guard {
        Guard { secret: secret.into(), realm: realm.replace(['\\', '"'], "'").into() }
    }

    /// Whether the client may come in; any user, with this password.
    pub fn admits(&self, credentials: Option<&Credentials>) -> bool {
        credentials.is_some_and(|credentials| same(&self.secret, &credentials.password))
    }
}

/// Takes a time that depends on the length of `given` alone.
fn same(secret: &[u8], given: &[u8]) -> bool {
    let mut difference = secret.len() ^ given.len();
    for (at, byte) in given.iter().enumerate() {
        difference |= usize::from(byte ^ secret.get(at % secret.len().max(1)).copied().unwrap_or(0));
    }
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::super::tests::head;
    use super::*;

    fn credentials(value: &str) -> Option<(String, String)> {
        let head = head(&format!("GET / HTTP/1.0\r\nAuthorization: {value}\r\n\r\n"));
        let Credentials { user, password } = Credentials::of(&head)?;
        Some((String::from_utf8(user).unwrap(), String::from_utf8(password).unwrap()))
    }

    #[test]
    fn users_and_passwords() {
        let some = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(credentials("Basic YWxpY2U6cHc="), some("alice", "pw"));
        assert_eq!(credentials("bASIC YWxpY2U6cHc"), some("alice", "pw"));
        assert_eq!(credentials("Basic   YWxpY2U6cDp3"), some("alice", "p:w"));
        assert_eq!(credentials("Basic Og=="), some("", ""));
        for bad in ["Basic", "Basic YWxpY2U=", "Bearer YWxpY2U6cHc=", "Basic YWx*Y2U6cHc=", "Basic\u{e4}"] {
            assert_eq!(credentials(bad), None, "{bad}");
        }
        assert_eq!(Credentials::of(&head("GET / HTTP/1.0\r\n\r\n")), None);
    }

    #[test]
    fn the_password_decides() {
        let guard = Guard::new(b"s3cret", "my \"realm\"");
        assert_eq!(&*guard.realm, "my 'realm'");
        let with = |password: &str| Credentials { user: b"bob".to_vec(), password: password.into() };
        assert!(guard.admits(Some(&with("s3cret"))));
        for wrong in ["", "s3cre", "s3crets", "S3cret", "s3creu", "s3crets3cret"] {
            assert!(!guard.admits(Some(&with(wrong))), "{wrong}");
        }
        assert!(!guard.admits(None));
    }
}
