//! Owns the judgement of what a client got: its answers, in the order of its requests, to the byte. Rule: the expected
//! bytes are written down here from what the host said, not by the library's own encoder.

use crate::engine::event::End;
use crate::http1::response::reason;

use super::client::{find, Client};
use super::driver::Driver;
use super::host::Host;
use super::pipe::Ended;
use super::record::{Record, Said};
use super::script::Ask;

/// Whether the connection goes on after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Goes,
    Closes,
}

fn head(status: u16, date: Option<&[u8; 29]>, lines: &str, framing: &str, connection: &str) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} {}\r\n", reason(status));
    if let Some(date) = date {
        text.push_str(&format!("Date: {}\r\n", std::str::from_utf8(date).unwrap()));
    }
    text.push_str(lines);
    text.push_str(framing);
    text.push_str(connection);
    text.push_str("\r\n");
    text.into_bytes()
}

/// The final answer as far as the host gave it, and whether it is whole.
fn expected(record: &Record, ask: &Ask, after: After) -> (Vec<u8>, bool) {
    let persistence = match after {
        After::Closes => "Connection: close\r\n",
        After::Goes if ask.http10 => "Connection: keep-alive\r\n",
        After::Goes => "",
    };
    let mut out = Vec::new();
    let (mut chunked, mut bodiless, mut whole, mut begun, mut left) = (false, false, false, false, None);
    for (said, date) in &record.told {
        match said {
            Said::Inform { .. } => {}
            Said::Whole { status, length, lines, body, .. } => {
                let len = length.filter(|_| ask.head).unwrap_or(body.len() as u64);
                let tunnel = ask.connect && (200..300).contains(status);
                let framing = match (status, length) {
                    _ if tunnel => String::new(),
                    (204, _) | (304, None) => String::new(),
                    (304, Some(length)) => format!("Content-Length: {length}\r\n"),
                    _ => format!("Content-Length: {len}\r\n"),
                };
                out.extend(head(*status, Some(date), lines, &framing, persistence));
                if !ask.head && !tunnel && !matches!(status, 204 | 304) {
                    out.extend_from_slice(body);
                }
                whole = true;
            }
            Said::Begin { status, length, lines, first, .. } => {
                begun = true;
                let tunnel = ask.connect && (200..300).contains(status);
                bodiless = ask.head || matches!(status, 204 | 304);
                let framing = match (status, length) {
                    _ if tunnel => String::new(),
                    (101 | 204, _) => String::new(),
                    (_, Some(length)) => format!("Content-Length: {length}\r\n"),
                    _ if ask.http10 => String::new(),
                    _ => "Transfer-Encoding: chunked\r\n".to_owned(),
                };
                chunked = framing.starts_with('T') && !bodiless;
                left = *length;
                let persistence = match status {
                    101 => "Connection: upgrade\r\n",
                    _ if tunnel => "",
                    _ => persistence,
                };
                out.extend(head(*status, Some(date), lines, &framing, persistence));
                piece(&mut out, first, chunked, bodiless, &mut left);
            }
            Said::Write(data) => piece(&mut out, data, chunked, bodiless, &mut left),
            Said::End { trailers } => {
                if chunked {
                    out.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
                }
                // Fewer bytes than were promised: cut.
                whole = bodiless || left.unwrap_or(0) == 0;
                if !whole {
                    return aborted(out, begun, date, persistence, ask);
                }
            }
            Said::Abort => return aborted(out, begun, date, persistence, ask),
        }
    }
    (out, whole)
}

/// 500 where nothing went out, else whatever did. Which of both it was shows only in what the client got.
fn aborted(out: Vec<u8>, begun: bool, date: &[u8; 29], persistence: &str, ask: &Ask) -> (Vec<u8>, bool) {
    if begun {
        return (out, false);
    }
    (internal(date, persistence, ask), true)
}

fn internal(date: &[u8; 29], persistence: &str, ask: &Ask) -> Vec<u8> {
    let body = "500 the server gave no answer\n";
    let framing = format!("Content-Length: {}\r\n", body.len());
    let mut out = head(500, Some(date), "Content-Type: text/plain; charset=utf-8\r\n", &framing, persistence);
    if !ask.head {
        out.extend_from_slice(body.as_bytes());
    }
    out
}

fn piece(out: &mut Vec<u8>, data: &[u8], chunked: bool, bodiless: bool, left: &mut Option<u64>) {
    if let Some(left) = left {
        *left -= data.len() as u64;
    }
    if bodiless || data.is_empty() {
        return;
    }
    if chunked {
        out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
    }
    out.extend_from_slice(data);
    if chunked {
        out.extend_from_slice(b"\r\n");
    }
}

const FAULTS: [u16; 9] = [400, 408, 413, 414, 417, 431, 501, 503, 505];

/// Judges everything that a client got: nothing else, and where `calm`, nothing less.
pub fn judge(client: &Client, host: &Host, driver: &Driver, calm: bool) {
    let got = &client.got[..];
    let fail = |at: usize, n: usize, why: &str| -> ! {
        let from = at.saturating_sub(60);
        panic!(
            "client {} request {n}: {why} at byte {at} of {}: {:?} | told: {:.600}",
            client.index,
            got.len(),
            String::from_utf8_lossy(&got[from..got.len().min(at + 400)]),
            format!("{:?}", host.record(client.index, n).map(|record| (&record.told, record.aborted, record.done)))
        )
    };
    let sent_from = |at: usize| driver.pipes[client.pipe].sent as usize - at;
    let mut at = 0;
    let mut n = 0;
    let (mut closed, mut ended, mut cut) = (false, false, false);
    while n < client.asks.len() && at < got.len() && !closed && !cut {
        let (ask, record) = (&client.asks[n], host.record(client.index, n));
        at += informational(&got[at..], ask, record, !driver.engine.settings.manual_continue)
            .unwrap_or_else(|| fail(at, n, "an unexpected 1xx"));
        if at == got.len() {
            break;
        }
        let rest = &got[at..];
        let end = find(rest, b"\r\n\r\n").map_or(rest.len(), |end| end + 4);
        let says_close = find(&rest[..end], b"Connection: close\r\n").is_some();
        let after = if says_close { After::Closes } else { After::Goes };
        if rest.len() < 13 {
            cut = true; // too little to know whose answer it is
            break;
        }
        // The host never gives these.
        let by_library = FAULTS.iter().any(|status| rest.starts_with(format!("HTTP/1.1 {status} ").as_bytes()));
        if by_library {
            fault(rest, ask, record, calm).unwrap_or_else(|why| fail(at, n, &why));
            (at, closed, ended, n) = (got.len(), true, true, n + 1);
            break;
        }
        let Some(record) = record else { fail(at, n, "an answer to what was never handed over") };
        let (mut want, mut whole) = expected(record, ask, after);
        if !rest.ends_with(b"\r\n\r\n") && end == rest.len() && !want.starts_with(rest) {
            (want, whole) = expected(record, ask, After::Closes); // cut before it said so
        }
        if rest.starts_with(b"HTTP/1.1 500") {
            // Given up before its turn: 500 although the answer was begun.
            match record.told.last() {
                Some((Said::Abort | Said::End { .. }, date)) => {
                    let persistence = if says_close { "Connection: close\r\n" } else { "" };
                    let persistence =
                        if ask.http10 && !says_close { "Connection: keep-alive\r\n" } else { persistence };
                    (want, whole) = (internal(date, persistence, ask), true);
                }
                _ => fail(at, n, "a 500 of the library's own"),
            }
        }
        let same = want.iter().zip(rest).take_while(|(a, b)| a == b).count();
        if same < want.len().min(rest.len()) {
            fail(at + same, n, "other bytes than the host gave");
        }
        if rest.len() < want.len() || !whole {
            if rest.len() > want.len() {
                fail(at + want.len(), n, "more than the host gave");
            }
            let given_up = want.starts_with(b"HTTP/1.1 500");
            if let Err(why) = done_counts(record, ask, &want, given_up, sent_from(at)) {
                fail(at, n, &why);
            }
            cut = true;
            break;
        }
        let told_close = record.told.iter().any(|(said, _)| {
            matches!(said, Said::Whole { close: true, .. } | Said::Begin { close: true, status: 200.., .. })
        });
        let given_up = rest.starts_with(b"HTTP/1.1 500");
        if (told_close && !given_up || !ask.keep_alive) && !says_close && !record.tunnel {
            fail(at, n, "Connection: close is missing");
        }
        if let Err(why) = done_counts(record, ask, &want, given_up, sent_from(at)) {
            fail(at, n, &why);
        }
        at += want.len();
        closed = says_close || record.tunnel;
        ended = record.tunnel || may_close(record, ask);
        n += 1;
    }
    // Nobody knows what a connection that was not read for want of memory had to say.
    let starved = !calm && got[at..].starts_with(b"HTTP/1.1 503 ");
    if at < got.len() && !cut && !starved {
        fail(at, n, "bytes behind the last answer");
    }
    if client.ended(driver) == Some(Ended::Closed) && client.saw_end && cut {
        fail(at, n, "an answer was cut, and the connection closed as if it were whole");
    }
    // An end that nobody asked for is no excuse.
    let served = n == client.asks.len() || closed && ended || client.rude || client.tunnel;
    // A long body that nobody wants ends the connection, and so does a broken one.
    let long = client.asks.iter().any(|ask| ask.body.len() > 60_000 || ask.broken);
    let spoiled = long || host.records_of(client.index).any(spoils);
    if calm && !served && !spoiled {
        fail(at, n, "not all that was asked was answered");
    }
}

/// DONE counts the body bytes that the kernel took: `sent` bytes of this answer, and of what came behind it, were.
fn done_counts(record: &Record, ask: &Ask, want: &[u8], given_up: bool, sent: usize) -> Result<(), String> {
    let Some((code, len)) = record.done.filter(|_| !given_up) else { return Ok(()) };
    let status = want.get(9..12).unwrap_or_default();
    let connected = ask.connect && status.starts_with(b"2") && !record.tunnel;
    let bodiless = ask.head || connected || status == b"204" && !record.tunnel || status == b"304";
    let given: usize = record.told.iter().map(|(said, _)| said.body_len()).sum();
    let given = if bodiless { 0 } else { given };
    let head = find(want, b"\r\n\r\n").map_or(want.len(), |at| at + 4);
    let chunked = find(&want[..head], b"Transfer-Encoding: chunked\r\n").is_some();
    let taken = given.min(sent.saturating_sub(head));
    match code {
        End::Ok if len as usize != given => Err(format!("DONE counts {len} bytes of {given}, and all were sent")),
        _ if !chunked && len as usize != taken => Err(format!("DONE counts {len} bytes, {taken} of {given} were sent")),
        _ if len as usize > taken => Err(format!("DONE counts {len} bytes, not even {taken} were sent")),
        _ => Ok(()),
    }
}

/// Whether the connection may end with this answer although more was asked: the client or the host wished it, no length
/// says where it ends, or nobody knows whether its body is still to come.
fn may_close(record: &Record, ask: &Ask) -> bool {
    let said = record.told.iter().any(|(said, _)| match said {
        Said::Whole { close, .. } => *close,
        Said::Begin { close, length, .. } => *close || ask.http10 && length.is_none(),
        _ => false,
    });
    let refused = ask.expect && record.body_follows && record.got.len() < ask.body.len();
    !ask.keep_alive || ask.connect || said || refused
}

/// The host gave this one up in the middle.
fn spoils(record: &Record) -> bool {
    record.told.iter().any(|(said, _)| matches!(said, Said::Abort))
        || record.told.iter().any(|(said, _)| match said {
            Said::Begin { length: Some(length), .. } => {
                let written: usize = record
                    .told
                    .iter()
                    .map(|(said, _)| match said {
                        Said::Write(data) => data.len(),
                        Said::Begin { first, .. } => first.len(),
                        _ => 0,
                    })
                    .sum();
                (written as u64) < *length
            }
            _ => false,
        })
}

/// The length of the informational answers that come first here.
fn informational(rest: &[u8], ask: &Ask, record: Option<&Record>, by_itself: bool) -> Option<usize> {
    let mut at = 0;
    let mut automatic = ask.expect && by_itself;
    let mut told = record.map_or(&[][..], |record| &record.told[..]).iter().filter_map(|(said, _)| match said {
        Said::Inform { status, lines } if !ask.http10 => Some(head(*status, None, lines, "", "")),
        _ => None,
    });
    while rest[at..].starts_with(b"HTTP/1.1 10") && !rest[at..].starts_with(b"HTTP/1.1 101") {
        let rest = &rest[at..];
        const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
        if automatic && (rest.starts_with(CONTINUE) || CONTINUE.starts_with(rest)) {
            automatic = false;
            at += CONTINUE.len().min(rest.len());
            continue;
        }
        let inform = told.next()?;
        let n = inform.len().min(rest.len());
        if rest[..n] != inform[..n] {
            return None;
        }
        at += n;
    }
    Some(at)
}

/// An answer of the library's own: well-formed, the last, and due to something.
fn fault(rest: &[u8], ask: &Ask, record: Option<&Record>, calm: bool) -> Result<(), String> {
    let text = std::str::from_utf8(rest).map_err(|_| "a fault that is no text")?;
    let status: u16 = text[9..12].parse().map_err(|_| "a fault without a status")?;
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(()) };
    let lines: Vec<&str> = head.lines().collect();
    if lines[0] != format!("HTTP/1.1 {status} {}", reason(status)) || !lines[1].starts_with("Date: ") {
        return Err("a fault with a strange head".to_owned());
    }
    let Some(length) = lines.iter().find_map(|line| line.strip_prefix("Content-Length: ")) else {
        return Err("a fault without a length".to_owned());
    };
    if lines.last() != Some(&"Connection: close") {
        return Err("a fault that does not close".to_owned());
    }
    let whole = body.len() == length.parse::<usize>().unwrap_or(0);
    if whole && !body.starts_with(&status.to_string()) || body.len() > length.parse().unwrap_or(0) {
        return Err("a fault with a strange body".to_owned());
    }
    match (ask.bad, status) {
        (Some(bad), status) if bad == status => Ok(()),
        (_, 408 | 503) if !calm => Ok(()),
        (_, 400 | 413) if record.is_none_or(|record| record.aborted.is_some()) => Ok(()),
        // It crossed with what the host had said.
        (_, 400 | 413) if record.is_some_and(|r| r.done.is_none_or(|done| done.0 != End::Ok)) => Ok(()),
        _ => Err(format!("a fault without a reason: {status}")),
    }
}
