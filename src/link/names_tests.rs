//! Links by name, with files and a name server of the test's own on 127.0.0.1.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::thread::{spawn, JoinHandle};
use std::time::{Duration, Instant};

use super::super::door::Doors;
use super::super::{state, Links, Options, Wish};
use super::Names;
use crate::engine::event::What;
use crate::engine::id::Tag;
use crate::engine::settings::Settings;
use crate::engine::word::{Topic, Word};
use crate::io::driver::Driver;

/// The files; removed at the end.
struct Files(std::path::PathBuf);

impl Files {
    fn new(name: &str, hosts: &str, resolv_conf: &str) -> Files {
        let path = std::env::temp_dir().join(format!("encke-names-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("hosts"), hosts).unwrap();
        std::fs::write(path.join("resolv.conf"), resolv_conf).unwrap();
        Files(path)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a name server does with a question.
enum Reply {
    Nothing,
    Code(u8),
    /// Records for the name that was asked for.
    Data(Vec<Vec<u8>>),
}

struct Server {
    port: u16,
    thread: JoinHandle<Vec<String>>,
}

impl Server {
    /// Ends it: what it was asked, in alphabetical order. Where the machine is slow, it may be asked more than once.
    fn seen(self) -> Vec<String> {
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"", ("127.0.0.1", self.port)).unwrap();
        self.thread.join().unwrap()
    }
}

/// A name server.
fn serve(reply: impl Fn(&str, u16) -> Reply + Send + 'static) -> Server {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let port = socket.local_addr().unwrap().port();
    let thread = spawn(move || {
        let mut seen = Vec::new();
        loop {
            let mut message = [0; 512];
            let (n, peer) = socket.recv_from(&mut message).unwrap();
            if n == 0 {
                seen.sort();
                return seen;
            }
            let mut answer = message[..n].to_vec();
            let (mut name, mut at) = (String::new(), 12);
            while answer[at] > 0 {
                let end = at + 1 + usize::from(answer[at]);
                name += std::str::from_utf8(&answer[at + 1..end]).unwrap();
                name.push('.');
                at = end;
            }
            let kind = u16::from_be_bytes([answer[at + 1], answer[at + 2]]);
            seen.push(format!("{name} {kind}"));
            answer[2] |= 0x80;
            match reply(&name, kind) {
                Reply::Nothing => continue,
                Reply::Code(code) => answer[3] = code,
                Reply::Data(list) => {
                    answer[7] = list.len() as u8;
                    for data in list {
                        answer.extend_from_slice(&[0xc0, 12, 0, kind as u8, 0, 1, 0, 0, 0, 9, 0, data.len() as u8]);
                        answer.extend(data);
                    }
                }
            }
            // Somebody who guesses comes first.
            let mut guess = answer.clone();
            guess[0] ^= 1;
            socket.send_to(&guess, peer).unwrap();
            socket.send_to(&answer, peer).unwrap();
        }
    });
    Server { port, thread }
}

/// What is told first of a subscription at this URL.
fn first_word(files: &Files, port: u16, url: &str) -> Box<Word> {
    first_word_of(files, port, url, false)
}

fn first_word_of(files: &Files, port: u16, url: &str, watch_each: bool) -> Box<Word> {
    let tag = Tag::take().unwrap();
    let mut driver = Driver::new(Settings::default(), tag, watch_each).unwrap();
    let names = Names { hosts: files.0.join("hosts"), resolv_conf: files.0.join("resolv.conf"), port };
    let mut links = Links::with_names(tag, Arc::new(Doors::default()), names);
    let link = links.open(&mut driver, url, Options::default()).unwrap();
    let wish = Wish { channel: "news".into(), types: "".into(), from: "".into(), since: Vec::new() };
    links.subscribe(&mut driver, link, wish).unwrap();
    let begun = Instant::now();
    // What the host watches, and for what.
    let mut watched = HashMap::new();
    loop {
        driver.run(0).unwrap();
        while let Some(event) = driver.next_event() {
            if let What::Word(word) = event.what {
                return word;
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is told");
        match driver.watches() {
            None => driver.wait(1000).unwrap(),
            Some(watches) => {
                watched.extend(std::iter::from_fn(|| watches.next_change()));
                // The host may be wrong in what it saw, as long as it was asked to look.
                watched.iter().for_each(|(fd, want)| watches.feed(*fd, *want));
                std::thread::yield_now();
            }
        }
    }
}

fn down(files: &Files, port: u16, url: &str) -> String {
    let word = first_word(files, port, url);
    assert_eq!(word.topic, Topic::State(state::DOWN));
    word.text.into()
}

/// A bus on 127.0.0.1 for one subscription; what was asked of it.
fn bus() -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut request, mut byte) = (Vec::new(), [0]);
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=x\r\n\r\n--x\r\n")
            .unwrap();
        // Until the other end has heard enough.
        let _ = stream.read(&mut byte);
        String::from_utf8(request).unwrap()
    });
    (port, thread)
}

#[test]
#[cfg_attr(miri, ignore = "needs sockets")]
fn a_link_by_name() {
    for (watch_each, files) in [(false, "link"), (true, "watched")] {
        by_name(watch_each, files);
    }
}

fn by_name(watch_each: bool, files: &str) {
    let (bus, request) = bus();
    // Nobody listens on ::1 at this port, and nobody on 127.0.0.2: the addresses are tried in turn.
    let server = serve(|name, kind| match (name, kind) {
        ("bus.test.", 28) => Reply::Data(vec![std::net::Ipv6Addr::LOCALHOST.octets().into()]),
        ("bus.test.", _) => Reply::Data(vec![vec![127, 0, 0, 2], vec![127, 0, 0, 1]]),
        _ => Reply::Code(3),
    });
    let files = Files::new(files, "10.0.0.1 other\n", "nameserver 127.0.0.1\nsearch nowhere.test test\n");
    let word = first_word_of(&files, server.port, &format!("http://Bus:{bus}/msgbus/"), watch_each);
    assert_eq!(word.topic, Topic::State(state::UP), "{}", word.text);
    let request = request.join().unwrap();
    assert!(request.contains(&format!("\r\nHost: Bus:{bus}\r\n")), "{request}");
    let seen = ["bus.nowhere.test. 1", "bus.nowhere.test. 28", "bus.test. 1", "bus.test. 28"];
    let mut asked = server.seen();
    asked.dedup();
    assert_eq!(asked, seen);
}

#[test]
#[cfg_attr(miri, ignore = "needs sockets")]
fn a_link_by_the_file_of_hosts() {
    let (bus, request) = bus();
    let files = Files::new("hosts", "127.0.0.1 bus.test\n", "");
    let word = first_word(&files, 1, &format!("http://bus.test.:{bus}/"));
    assert_eq!(word.topic, Topic::State(state::UP), "{}", word.text);
    request.join().unwrap();
}

#[test]
#[cfg_attr(miri, ignore = "needs sockets")]
fn what_cannot_be_looked_up_is_told() {
    let files = Files::new("faults", "", "nameserver 127.0.0.1\noptions attempts:1\n");
    for (kind, why) in [
        (0, "bus.test: name server 127.0.0.1: no answer"),
        (1, "bus.test: name server 127.0.0.1: it says SERVFAIL"),
        (2, "bus.test: no such name"),
        (3, "bus.test: the name has no address"),
        (4, "bus.test: name server 127.0.0.1: its answer is malformed"),
    ] {
        let server = serve(move |_, _| match kind {
            0 => Reply::Nothing,
            1 => Reply::Code(2),
            2 => Reply::Code(3),
            3 => Reply::Data(Vec::new()),
            _ => Reply::Data(vec![vec![1]]),
        });
        assert_eq!(down(&files, server.port, "http://bus.test/"), why);
        assert_eq!(server.seen(), ["bus.test. 1", "bus.test. 28"]);
    }
    // Nobody hears there but for somebody else, so that nobody else takes the port.
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    taken.connect("127.0.0.1:9").unwrap();
    assert_eq!(
        down(&files, taken.local_addr().unwrap().port(), "http://bus.test/"),
        "bus.test: name server 127.0.0.1: Connection refused"
    );
}

/// A server that is silent, or does not know, is not the last word: the question comes again.
#[test]
#[cfg_attr(miri, ignore = "needs sockets")]
fn servers_are_asked_again() {
    let (bus, request) = bus();
    let asked = std::sync::Mutex::new(HashMap::new());
    let server = serve(move |_, kind| {
        let mut asked = asked.lock().unwrap();
        let times = asked.entry(kind).or_insert(0);
        *times += 1;
        match (*times, kind) {
            (1, 28) => Reply::Code(2),
            (1, _) => Reply::Nothing,
            (_, 1) => Reply::Data(vec![vec![127, 0, 0, 1]]),
            _ => Reply::Data(Vec::new()),
        }
    });
    let files = Files::new("again", "", "nameserver 127.0.0.1\noptions timeout:1\n");
    let word = first_word(&files, server.port, &format!("http://bus.test:{bus}/"));
    assert_eq!(word.topic, Topic::State(state::UP), "{}", word.text);
    request.join().unwrap();
    let seen = server.seen();
    for question in ["bus.test. 1", "bus.test. 28"] {
        assert!(seen.iter().filter(|asked| *asked == question).count() > 1, "{seen:?}");
    }
}
