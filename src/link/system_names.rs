//! Owns what the system's two files say of names: hosts(5) and resolv.conf(5). Rule: what is not understood is passed over,
//! as every other reader of these files does.

use std::net::{IpAddr, Ipv4Addr};

/// As resolv.conf(5) has them.
const MAX_SERVERS: usize = 3;
const MAX_SEARCH: usize = 6;
const MAX_NDOTS: u64 = 15;
const MAX_TIMEOUT: u64 = 30;
const MAX_ATTEMPTS: u64 = 5;
/// Addresses taken of a file.
const MAX_ADDRESSES: usize = 16;

#[derive(Debug, PartialEq, Eq)]
pub struct Config {
    pub servers: Vec<IpAddr>,
    pub search: Vec<String>,
    pub ndots: u64,
    /// Milliseconds.
    pub timeout: u64,
    pub attempts: u64,
}

/// What stands on the lines, without comments.
fn lines(text: &str) -> impl Iterator<Item = std::str::SplitAsciiWhitespace<'_>> {
    text.lines().map(|line| line.split('#').next().unwrap_or_default().split_ascii_whitespace())
}

/// The addresses of a name in the text of a file of hosts, in its order.
pub fn hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for mut words in lines(text) {
        let Some(Ok(ip)) = words.next().map(str::parse) else { continue };
        if found.len() < MAX_ADDRESSES && words.any(|word| word.eq_ignore_ascii_case(name)) && !found.contains(&ip) {
            found.push(ip);
        }
    }
    found
}

/// The text of a resolv.conf; empty: as if there were none.
pub fn config(text: &str) -> Config {
    let mut config = Config { servers: Vec::new(), search: Vec::new(), ndots: 1, timeout: 5_000, attempts: 2 };
    for mut words in text.lines().filter(|line| !line.starts_with([';', '#'])).map(str::split_ascii_whitespace) {
        match words.next() {
            Some("nameserver") => {
                if let (Some(Ok(ip)), true) = (words.next().map(str::parse), config.servers.len() < MAX_SERVERS) {
                    config.servers.push(ip);
                }
            }
            Some("domain") => config.search = words.take(1).map(str::to_owned).collect(),
            Some("search") => config.search = words.take(MAX_SEARCH).map(str::to_owned).collect(),
            Some("options") => words.for_each(|option| set(&mut config, option)),
            _ => {}
        }
    }
    if config.servers.is_empty() {
        config.servers.push(Ipv4Addr::LOCALHOST.into());
    }
    config
}

fn set(config: &mut Config, option: &str) {
    let Some((name, value)) = option.split_once(':') else { return };
    let Ok(value) = value.parse::<u64>() else { return };
    match name {
        "ndots" => config.ndots = value.min(MAX_NDOTS),
        "timeout" => config.timeout = value.clamp(1, MAX_TIMEOUT) * 1000,
        "attempts" => config.attempts = value.clamp(1, MAX_ATTEMPTS),
        _ => {}
    }
}

impl Config {
    /// The names to ask for, one after the other. A dot at the end: this one alone.
    pub fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(whole) = name.strip_suffix('.') {
            return vec![whole.to_owned()];
        }
        let mut all: Vec<String> = self
            .search
            .iter()
            .map(|domain| domain.trim_matches('.'))
            .filter(|domain| !domain.is_empty())
            .map(|domain| format!("{name}.{domain}"))
            .collect();
        let dots = name.bytes().filter(|byte| *byte == b'.').count() as u64;
        let place = if dots >= self.ndots { 0 } else { all.len() };
        all.insert(place, name.to_owned());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found() {
        let text = "# 10.0.0.1 bus\n127.0.0.1 localhost\n10.0.0.2\tBus.example.com bus # 10.0.0.3 other\n\
                    fe80::1%eth0 bus\nnothing bus\n::1 bus\n10.0.0.2 bus\n10.0.0.4 busy";
        let found = |name| hosts(text, name).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(found("bus"), "10.0.0.2 ::1");
        assert_eq!(found("bus.EXAMPLE.com"), "10.0.0.2");
        assert_eq!(found("other"), "");
        assert_eq!(found("example.com"), "");
        assert_eq!(hosts(&"10.0.0.1 a\n".repeat(100), "a").len(), 1);
        assert_eq!(hosts(&(0..100).map(|i| format!("10.0.0.{i} a\n")).collect::<String>(), "a").len(), MAX_ADDRESSES);
    }

    #[test]
    fn what_resolv_conf_says() {
        let usual = config("");
        assert_eq!(usual.servers, [IpAddr::from([127, 0, 0, 1])]);
        assert_eq!((usual.timeout, usual.attempts, usual.ndots, usual.search.len()), (5_000, 2, 1, 0));
        let text = "; nameserver 10.0.0.9\nnameserver 10.0.0.1\nnameserver ::2 # second\nnameserver no\n\
                    nameserver 10.0.0.3\nnameserver 10.0.0.4\ndomain a.example\nsearch b.example c.example.\n\
                    options timeout:2 attempts:99 ndots:2 rotate timeout:x\nwhatever 1\n";
        let said = config(text);
        assert_eq!(said.servers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.1", "::2", "10.0.0.3"]);
        assert_eq!((said.timeout, said.attempts, said.ndots), (2_000, 5, 2));
        assert_eq!(said.candidates("x"), ["x.b.example", "x.c.example", "x"]);
        assert_eq!(said.candidates("x.y.z"), ["x.y.z", "x.y.z.b.example", "x.y.z.c.example"]);
        assert_eq!(said.candidates("x."), ["x"]);
        assert_eq!(config("search a b\ndomain c").search, ["c"]);
        assert_eq!(config("search .").candidates("x"), ["x"]);
        assert_eq!(config("options timeout:0 attempts:0").timeout, 1_000);
    }
}
