//! Owns the messages of the domain name system, as far as a question for addresses goes (RFC 1035, RFC 3596). Rule: what is
//! not the answer to exactly this question is none; every walk over a message ends, whatever stands in it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::response::Fault;

/// Nobody who was asked in so few words answers in more.
const MAX_MESSAGE: usize = 4096;
const MAX_NAME: usize = 255;
const MAX_LABEL: usize = 63;
/// Aliases followed from a name to its addresses.
const MAX_CHAIN: usize = 8;
/// Addresses taken of one answer.
const MAX_ADDRESSES: usize = 8;
const HEAD: usize = 12;
const INTERNET: u16 = 1;
const CNAME: u16 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    A = 1,
    Aaaa = 28,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The name is there; with none, it has no address of this kind.
    Addresses(Vec<IpAddr>),
    NoSuchName,
}

/// A question with recursion desired. `None`: the name cannot be asked for.
pub fn question(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let mut message = Vec::with_capacity(HEAD + name.len() + 6);
    message.extend_from_slice(&id.to_be_bytes());
    message.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        if label.is_empty() || label.len() > MAX_LABEL {
            return None;
        }
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    if message.len() - HEAD > MAX_NAME {
        return None;
    }
    message.extend_from_slice(&(kind as u16).to_be_bytes());
    message.extend_from_slice(&INTERNET.to_be_bytes());
    Some(message)
}

struct Record {
    owner: Vec<u8>,
    what: What,
}

enum What {
    Address(IpAddr),
    Alias(Vec<u8>),
}

/// Reads a message that came for `question`. `None`: it is not the answer to it; a fault: it is, and of no use.
pub fn read(question: &[u8], message: &[u8]) -> Result<Option<Answer>, Fault> {
    let (Some(head), Some(asked)) = (message.get(..HEAD), question.get(HEAD..)) else { return Ok(None) };
    let is_answer = head[2] & 0xf8 == 0x80;
    let one_question = head[4..6] == [0, 1];
    // The lengths of labels and what stands behind the name are no letters: case is that of the name alone.
    let echoed = message.get(HEAD..question.len()).is_some_and(|echo| echo.eq_ignore_ascii_case(asked));
    if head[..2] != question[..2] || !is_answer || !one_question || !echoed {
        return Ok(None);
    }
    match head[3] & 15 {
        0 => {}
        1 => return Err("it says FORMERR".into()),
        2 => return Err("it says SERVFAIL".into()),
        3 => return Ok(Some(Answer::NoSuchName)),
        4 => return Err("it says NOTIMP".into()),
        5 => return Err("it says REFUSED".into()),
        code => return Err(format!("it says error {code}").into()),
    }
    if message.len() > MAX_MESSAGE {
        return Err("its answer is too large".into());
    }
    let truncated = head[2] & 2 != 0;
    let kind = match asked[asked.len() - 3] {
        1 => Kind::A,
        _ => Kind::Aaaa,
    };
    let mut records = Vec::new();
    let mut at = question.len();
    for _ in 0..u16::from_be_bytes([head[6], head[7]]) {
        match record(message, at, kind) {
            Some((found, next)) => {
                records.extend(found);
                at = next;
            }
            // Some servers cut in the middle of a record.
            None if truncated => break,
            None => return Err("its answer is malformed".into()),
        }
    }
    let Some((mut name, _)) = name(question, HEAD) else { return Ok(None) };
    for _ in 0..=MAX_CHAIN {
        let of_name = || records.iter().filter(|record| record.owner == name);
        let addresses: Vec<IpAddr> = of_name()
            .filter_map(|record| match &record.what {
                What::Address(ip) => Some(*ip),
                What::Alias(_) => None,
            })
            .take(MAX_ADDRESSES)
            .collect();
        if !addresses.is_empty() {
            return Ok(Some(Answer::Addresses(addresses)));
        }
        let alias = of_name().find_map(|record| match &record.what {
            What::Alias(target) => Some(target.clone()),
            What::Address(_) => None,
        });
        match alias {
            Some(target) => name = target,
            None if truncated => return Err("its answer is truncated".into()),
            None => return Ok(Some(Answer::Addresses(Vec::new()))),
        }
    }
    Err("its answer has too many aliases".into())
}

/// A record, if it is of use, and where the next one begins.
fn record(message: &[u8], at: usize, kind: Kind) -> Option<(Option<Record>, usize)> {
    let (owner, at) = name(message, at)?;
    let fixed = message.get(at..at + 10)?;
    let number = |i: usize| u16::from_be_bytes([fixed[i], fixed[i + 1]]);
    let (class, length) = (number(2), usize::from(number(8)));
    let at = at + 10;
    let data = message.get(at..at + length)?;
    let what = match number(0) {
        _ if class != INTERNET => None,
        CNAME => {
            let (target, end) = name(message, at)?;
            if end != at + length {
                return None;
            }
            Some(What::Alias(target))
        }
        1 if kind == Kind::A => Some(What::Address(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into())),
        28 if kind == Kind::Aaaa => Some(What::Address(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into())),
        _ => None,
    };
    Some((what.map(|what| Record { owner, what }), at + length))
}

/// A name in small letters, its labels with their lengths, and where what follows it begins. Each pointer leads to before
/// the place where the labels that it ends began, so that there is an end.
fn name(message: &[u8], at: usize) -> Option<(Vec<u8>, usize)> {
    let mut name = Vec::new();
    let (mut at, mut begun) = (at, at);
    let mut next = None;
    loop {
        let length = *message.get(at)?;
        match length & 0xc0 {
            0 => {
                let end = at + 1 + usize::from(length);
                name.extend(message.get(at..end)?.iter().map(u8::to_ascii_lowercase));
                if name.len() > MAX_NAME {
                    return None;
                }
                at = end;
                if length == 0 {
                    return Some((name, next.unwrap_or(at)));
                }
            }
            0xc0 => {
                let target = usize::from(length & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
                if target < HEAD || target >= begun {
                    return None;
                }
                next.get_or_insert(at + 2);
                (at, begun) = (target, target);
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
