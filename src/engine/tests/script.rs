//! Owns what a virtual client is going to say: requests as bytes, and what is to be expected of each.

use crate::engine::settings::Settings;

use super::rng::{pattern, Rng};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    None,
    Length,
    Chunked,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Ask {
    pub head: bool,
    pub http10: bool,
    pub keep_alive: bool,
    pub framing: Framing,
    pub body: Vec<u8>,
    pub expect: bool,
    pub upgrade: bool,
    pub connect: bool,
    /// What follows an upgrade does not wait for its answer.
    pub hasty: bool,
    /// Lines of the head that say nothing.
    pub padding: String,
    /// The chunks of its body are broken.
    pub broken: bool,
    /// What a malformed one is answered with.
    pub bad: Option<u16>,
}

/// What a client does next.
#[derive(Debug, Clone)]
pub enum Act {
    Send(Vec<u8>),
    Sleep(u64),
    /// Until so many final answers came.
    Await(usize),
    /// Until 100 or a final answer to this request came, or until this time.
    AwaitContinue(usize, u64),
    /// If this request was answered with 101: sends the bytes, then ends.
    Tunnel(usize, Vec<u8>),
    /// Closes the sending side.
    End,
    Reset,
    Leave,
}

/// What the client of a connection says in its tunnel, if it comes to that.
pub fn tunnel_bytes(client: usize) -> u64 {
    1_000_000 + client as u64
}

impl Ask {
    fn random(rng: &mut Rng, last: bool, key: u64) -> Ask {
        let http10 = rng.chance(10);
        let framing = match rng.below(10) {
            0..=4 => Framing::None,
            5..=7 => Framing::Length,
            _ if http10 => Framing::Length,
            _ => Framing::Chunked,
        };
        let upgrade = !http10 && framing == Framing::None && rng.chance(6);
        let body = if framing == Framing::None { Vec::new() } else { pattern(key, rng.size()) };
        Ask {
            head: framing == Framing::None && !upgrade && rng.chance(15),
            http10,
            keep_alive: !last || upgrade || rng.chance(60),
            framing,
            expect: !http10 && !body.is_empty() && rng.chance(25),
            body,
            upgrade,
            connect: false,
            hasty: false,
            padding: String::new(),
            broken: false,
            bad: None,
        }
    }

    fn bad(rng: &mut Rng) -> Ask {
        let bad = Some(rng.pick(&[400, 501, 505]));
        let ask = Ask::random(rng, true, 0);
        Ask { bad, framing: Framing::None, body: Vec::new(), expect: false, upgrade: false, ..ask }
    }

    pub fn head_bytes(&self, client: usize, n: usize) -> Vec<u8> {
        match self.bad {
            Some(400) if self.padding.is_empty() => {
                return b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc".to_vec()
            }
            Some(505) => return b"GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_vec(),
            Some(501) if !self.connect => {
                return b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n".to_vec()
            }
            _ => {}
        }
        let method = match (self.head, self.framing) {
            (true, _) => "HEAD",
            (_, Framing::None) => "GET",
            _ => "POST",
        };
        let mut text = if self.connect {
            format!("CONNECT {client}-{n}:1 HTTP/1.1\r\n")
        } else {
            format!("{method} /{client}/{n}?q HTTP/1.{}\r\n", if self.http10 { 0 } else { 1 })
        };
        if !self.http10 {
            text.push_str("Host: example.com\r\n");
        }
        match self.framing {
            Framing::None => {}
            Framing::Length => text.push_str(&format!("Content-Length: {}\r\n", self.body.len())),
            Framing::Chunked => text.push_str("Transfer-Encoding: chunked\r\n"),
        }
        if self.expect {
            text.push_str("Expect: 100-continue\r\n");
        }
        match (self.upgrade, self.http10, self.keep_alive) {
            (true, ..) => text.push_str("Upgrade: raw\r\nConnection: upgrade\r\n"),
            (_, true, true) => text.push_str("Connection: keep-alive\r\n"),
            (_, false, false) => text.push_str("Connection: close\r\n"),
            _ => {}
        }
        text.push_str(&self.padding);
        text.push_str("\r\n");
        text.into_bytes()
    }

    pub fn body_bytes(&self, rng: &mut Rng) -> Vec<u8> {
        if self.framing != Framing::Chunked {
            return self.body.clone();
        }
        let mut out = Vec::new();
        let mut rest = &self.body[..];
        while !rest.is_empty() {
            if self.broken && (rest.len() < 10 || rng.chance(20)) {
                out.extend_from_slice(b"5x\r\n");
                return out;
            }
            let n = rng.range(1, rest.len() as u64) as usize;
            out.extend_from_slice(format!("{n:x}{}\r\n", if rng.chance(10) { ";x=y" } else { "" }).as_bytes());
            out.extend_from_slice(&rest[..n]);
            out.extend_from_slice(b"\r\n");
            rest = &rest[n..];
        }
        if self.broken {
            out.extend_from_slice(b"5x\r\n");
            return out;
        }
        out.extend_from_slice(if rng.chance(20) { b"0\r\nT: v\r\n\r\n" } else { b"0\r\n\r\n" });
        out
    }
}

/// What one client asks, and how it goes about it.
pub fn script(
    rng: &mut Rng,
    client: usize,
    wild: bool,
    (crowd, floods): (bool, bool),
    settings: &Settings,
) -> (Vec<Ask>, Vec<Act>) {
    // Several at once fill the event queue.
    let flood = rng.chance(match (settings.max_pipeline, settings.buffer_body) {
        _ if floods => 60,
        (128, 0) => 20,
        (128, _) => 3,
        _ => 1,
    });
    let count = match (crowd, flood) {
        (_, true) => rng.range(50, 300),
        (true, _) => rng.range(1, 3),
        _ => rng.range(1, 8),
    } as usize;
    let mut asks: Vec<Ask> = (0..count).map(|n| Ask::random(rng, n + 1 == count, (client * 100 + n) as u64)).collect();
    for ask in &mut asks[..count - 1] {
        ask.keep_alive = true;
        if flood && floods && rng.chance(95) {
            // What waits for nothing.
            (ask.framing, ask.body) = (Framing::None, Vec::new());
            (ask.expect, ask.upgrade) = (false, false);
        }
    }
    // Bodies that just come whole, and just not.
    for (n, ask) in asks.iter_mut().enumerate() {
        if !ask.body.is_empty() && settings.buffer_body > 1 && rng.chance(12) {
            ask.body = pattern((client * 100 + n) as u64, settings.buffer_body - 1 + rng.below(3) as usize);
        }
    }
    match rng.below(20) {
        0..=2 => asks.push(Ask::bad(rng)),
        3 => {
            let last = asks.len() - 1;
            let ask = &mut asks[last];
            ask.broken = ask.framing == Framing::Chunked && !ask.body.is_empty();
        }
        4 => {
            let ask = Ask { framing: Framing::None, body: Vec::new(), ..Ask::random(rng, false, 0) };
            let (head, upgrade, expect, http10) = (false, false, false, false);
            let bad = (!settings.connect).then_some(501);
            asks.push(Ask { connect: true, keep_alive: true, head, upgrade, expect, http10, bad, ..ask });
        }
        _ => {}
    }
    // Heads that are just within the limits, and just beyond.
    for n in 0..asks.len() {
        let last = n + 1 == asks.len();
        if asks[n].bad.is_none() && rng.chance(8) {
            let beyond = last && rng.chance(40);
            if beyond {
                let ask = &mut asks[n];
                (ask.bad, ask.framing, ask.body, ask.expect) = (Some(431), Framing::None, Vec::new(), false);
                (ask.broken, ask.upgrade, ask.connect) = (false, false, false);
            }
            pad(rng, &mut asks[n], client, n, settings, beyond);
        }
    }
    for ask in &mut asks[..count - 1] {
        ask.hasty = ask.upgrade && rng.chance(40);
    }
    let mut acts = Vec::new();
    let mut gathered = Vec::new();
    let slow = rng.chance(30);
    let depth = if flood { 1000 } else { rng.range(1, 8) };
    for (n, ask) in asks.iter().enumerate() {
        gathered.extend_from_slice(&ask.head_bytes(client, n));
        if ask.expect && ask.bad.is_none() {
            send(rng, &mut acts, std::mem::take(&mut gathered), slow);
            if rng.chance(80) {
                // Who is told that the body is wanted is told in any case.
                let sure = !wild && !settings.manual_continue;
                acts.push(Act::AwaitContinue(n, if sure { u64::MAX } else { rng.range(10, 3000) }));
            }
        }
        if ask.bad.is_none() {
            gathered.extend_from_slice(&ask.body_bytes(rng));
        }
        if ask.bad.is_some() && rng.chance(50) {
            gathered.extend_from_slice(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        if (ask.upgrade || ask.connect) && ask.bad.is_none() && !ask.hasty {
            send(rng, &mut acts, std::mem::take(&mut gathered), slow);
            let len = rng.size();
            acts.push(Act::Await(n + 1));
            acts.push(Act::Tunnel(n, pattern(tunnel_bytes(client), len)));
        }
        if rng.below(depth) == 0 {
            send(rng, &mut acts, std::mem::take(&mut gathered), slow);
            if rng.chance(70) {
                acts.push(Act::Await(rng.below(n as u64 + 2) as usize));
            }
        }
    }
    let cut_short = wild && rng.chance(15);
    if cut_short {
        let keep = rng.below(gathered.len() as u64) as usize;
        gathered.truncate(keep);
    }
    send(rng, &mut acts, gathered, slow);
    if cut_short {
        acts.push(Act::Sleep(rng.below(3000)));
    } else if rng.chance(25) {
        acts.push(Act::End);
    }
    if wild && rng.chance(20) {
        let at = rng.below(acts.len() as u64) as usize;
        acts.insert(at, Act::Sleep(rng.below(200)));
        acts.insert(at + 1, if rng.chance(70) { Act::Reset } else { Act::Leave });
    }
    if !cut_short {
        acts.push(Act::Await(asks.len()));
    }
    if rng.chance(60) {
        acts.push(Act::Leave);
    }
    (asks, acts)
}

/// Lines that bring a head to its limit in size or in fields, or one beyond.
fn pad(rng: &mut Rng, ask: &mut Ask, client: usize, n: usize, settings: &Settings, beyond: bool) {
    let head = ask.head_bytes(client, n);
    let over = usize::from(beyond);
    if rng.chance(50) {
        let lines = head.iter().filter(|byte| **byte == b'\n').count() - 2;
        ask.padding = "A:\r\n".repeat(settings.max_fields + over - lines);
        if head.len() + ask.padding.len() <= settings.max_head {
            return;
        }
    }
    let room = settings.max_head + over - head.len() - "X: \r\n".len();
    ask.padding = format!("X: {}\r\n", "x".repeat(room));
}

fn send(rng: &mut Rng, acts: &mut Vec<Act>, bytes: Vec<u8>, slow: bool) {
    let mut rest = &bytes[..];
    let cuts = rng.chance(40);
    while !rest.is_empty() {
        let n = if !cuts && !slow { rest.len() } else { rng.range(1, (rest.len() as u64).min(2000)) as usize };
        acts.push(Act::Send(rest[..n].to_vec()));
        rest = &rest[n..];
        if slow && !rest.is_empty() {
            acts.push(Act::Sleep(rng.below(40)));
        } else if cuts && !rest.is_empty() {
            acts.push(Act::Sleep(0));
        }
    }
}
