//! Owns the reading of what a virtual client gets in every transport. Rule: nothing is skipped: a byte that does not stand
//! where it has to is a failure at once, and every message is compared with what was published.

use std::rc::Rc;

use crate::push::feed::Transport;
use crate::push::form::Form;
use crate::ws::deflate::inflate;

use super::super::client::find;
use super::model::Model;
use super::plan::{Kind, Plan};

/// What came of one request.
#[derive(Debug, Default, Clone)]
pub struct Got {
    /// 0: nothing yet.
    pub status: u16,
    /// Where to go on from, by the answer's own word.
    pub position: Option<u64>,
    pub told: Option<bool>,
    pub received: Vec<u64>,
    /// Numbers of the frames that the host sent to this client alone.
    pub frames: Vec<u64>,
    pub pongs: Vec<Vec<u8>>,
    /// Pings that are not answered yet.
    pub pings: u32,
    /// Pings since the client last said anything.
    pub unheeded: u32,
    /// It ended as it should: whole, with a last chunk, with a close.
    pub over: bool,
    pub close: Option<u16>,
    /// The connection ended with it.
    pub lost: bool,
    /// It was over when its server drained, or was freed.
    pub drained: bool,
    /// When it was over, and when bytes last came.
    pub over_at: u64,
    pub heard_at: u64,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Head,
    Whole(usize),
    Stream,
    Frames,
    Over,
}

/// Reads one answer.
#[derive(Debug, Default)]
pub struct Reader {
    state: State,
    /// What the chunks had, and how far that was read.
    body: Vec<u8>,
    at: usize,
    started: bool,
    /// The connection ends with this answer.
    pub closes: bool,
}

impl Reader {
    /// Goes on with `data`: bytes dealt with. It is over when [`Got::over`].
    pub fn read(&mut self, data: &[u8], plan: &Plan, model: &Model, got: &mut Got) -> usize {
        let mut at = 0;
        loop {
            let rest = &data[at..];
            let n = match self.state {
                State::Head => self.head(rest, plan, model, got),
                State::Whole(n) => self.whole(rest, n, plan, model, got),
                State::Stream if plan.is_chunked() => self.chunk(rest, got),
                State::Stream => {
                    self.body.extend_from_slice(rest);
                    rest.len()
                }
                State::Frames => frame(rest, plan, model, got),
                State::Over => 0,
            };
            at += n;
            if matches!(self.state, State::Stream) || got.over {
                while self.item(plan, model, got) {}
            }
            if got.over {
                self.state = State::Over;
            }
            if n == 0 || got.over {
                return at;
            }
        }
    }

    /// Whether the end of the connection is the end of this answer.
    pub fn ends_with_connection(&self, plan: &Plan) -> bool {
        matches!(self.state, State::Stream) && !plan.is_chunked()
    }

    fn head(&mut self, rest: &[u8], plan: &Plan, model: &Model, got: &mut Got) -> usize {
        let Some(end) = find(rest, b"\r\n\r\n").map(|at| at + 4) else { return 0 };
        let text = std::str::from_utf8(&rest[..end]).expect("a head in ASCII");
        let field = |name: &str| {
            let mut values = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            let value = values.next();
            assert!(values.next().is_none() || name == "Connection", "{name} twice: {text}");
            value
        };
        got.status = text[9..12].parse().expect("a status line");
        let subscribed = plan.kind == Kind::Subscribe && !plan.head && matches!(got.status, 200 | 204);
        if let Some(position) = field("Encke-Position") {
            assert!(subscribed, "a position of nothing");
            got.position = Some(number(position, model));
        } else {
            assert!(!subscribed, "no position: {text}");
        }
        got.told = field("Encke-Recovered").map(|told| match told {
            "yes" => true,
            "no" => false,
            other => panic!("Encke-Recovered: {other}"),
        });
        self.closes = text.contains("\r\nConnection: close\r\n");
        self.state = match got.status {
            101 => {
                assert!(plan.is_socket(), "101 for nothing");
                assert_eq!(field("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
                assert_eq!(field("Sec-WebSocket-Extensions").is_some(), plan.deflates);
                let json = plan.json && plan.kind == Kind::Subscribe;
                assert_eq!(field("Sec-WebSocket-Protocol"), json.then_some("encke.json"));
                self.closes = true;
                State::Frames
            }
            200 if subscribed && plan.transport != Transport::LongPoll => {
                assert_eq!(field("Transfer-Encoding").is_some(), plan.is_chunked(), "{text}");
                assert_eq!(field("Cache-Control"), Some("no-store"));
                self.closes = true;
                State::Stream
            }
            204 => State::Whole(0),
            _ if plan.head => State::Whole(0),
            _ => State::Whole(field("Content-Length").expect("a length").parse().expect("a length")),
        };
        end
    }

    fn whole(&mut self, rest: &[u8], n: usize, plan: &Plan, model: &Model, got: &mut Got) -> usize {
        if rest.len() < n {
            return 0;
        }
        let text = &rest[..n];
        match (plan.kind, got.status) {
            (Kind::Plain, 200) => assert_eq!(text, format!("plain {}/{}", plan.client, plan.n).as_bytes()),
            (Kind::Subscribe, 200) if !plan.head => batch(text, model, got),
            _ => {}
        }
        got.over = true;
        n
    }

    fn chunk(&mut self, rest: &[u8], got: &mut Got) -> usize {
        let Some(line) = find(&rest[..rest.len().min(20)], b"\r\n") else { return 0 };
        let text = std::str::from_utf8(&rest[..line]).expect("a chunk size");
        let size = usize::from_str_radix(text, 16).expect("a chunk size");
        let end = line + 2 + size + 2;
        if rest.len() < end {
            return 0;
        }
        self.body.extend_from_slice(&rest[line + 2..end - 2]);
        assert_eq!(&rest[end - 2..end], b"\r\n", "the end of a chunk");
        got.over = size == 0;
        end
    }

    /// The next thing in a stream.
    fn item(&mut self, plan: &Plan, model: &Model, got: &mut Got) -> bool {
        let rest = &self.body[self.at..];
        if rest.is_empty() {
            return false;
        }
        let n = match plan.transport {
            Transport::Sse => self.event(rest, model, got),
            Transport::Multipart => self.part(rest, model, got),
            _ => data(rest, model, got),
        };
        assert!(n > 0 || !got.over, "a stream that ends within a message: {:?}", String::from_utf8_lossy(rest));
        self.started |= n > 0;
        self.at += n;
        n > 0
    }

    fn event(&self, rest: &[u8], model: &Model, got: &mut Got) -> usize {
        if rest.starts_with(b":\n") {
            return 2;
        }
        let Some(end) = find(rest, b"\n\n").map(|at| at + 2) else { return 0 };
        let text = std::str::from_utf8(&rest[..end]).expect("text");
        let (id, more) = text.split_once('\n').expect("a line");
        let n = number(id.strip_prefix("id: ").unwrap_or_else(|| panic!("an event without id: {text:?}")), model);
        if self.started {
            message(&rest[..end], n, Form::Sse, false, model, got);
        } else {
            let told = match more {
                "\n" => None,
                "event: recovered\ndata: yes\n\n" => Some(true),
                "event: recovered\ndata: no\n\n" => Some(false),
                other => panic!("the first event: {other:?}"),
            };
            assert_eq!(told, got.told, "the event and the field");
            got.position = Some(n);
        }
        end
    }

    fn part(&self, rest: &[u8], model: &Model, got: &mut Got) -> usize {
        if !self.started {
            const START: &[u8] = b"--encke-part\r\n";
            if rest.len() < START.len() {
                return 0;
            }
            assert!(rest.starts_with(START), "the first delimiter");
            return START.len();
        }
        let Some(head) = find(rest, b"\r\n\r\n").map(|at| at + 4) else { return 0 };
        let text = std::str::from_utf8(&rest[..head]).expect("the head of a part");
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).expect("a field of a part");
        let end = head + field("Content-Length: ").parse::<usize>().expect("a length") + "\r\n--encke-part\r\n".len();
        if rest.len() < end {
            return 0;
        }
        message(&rest[..end], number(field("Encke-Position: "), model), Form::Multipart, false, model, got);
        end
    }
}

fn number(position: &str, model: &Model) -> u64 {
    let (epoch, n) = position.split_once(':').expect("a position");
    assert_eq!(epoch, format!("{:016x}", model.epoch), "a position of another epoch");
    n.parse().expect("the number of a position")
}

fn encoded(n: u64, form: Form, deflates: bool, model: &Model) -> Rc<[u8]> {
    model.encoded(n, form, deflates).unwrap_or_else(|| panic!("message {n} was never published"))
}

fn message(bytes: &[u8], n: u64, form: Form, deflates: bool, model: &Model, got: &mut Got) {
    let want = encoded(n, form, deflates, model);
    assert!(
        bytes == &*want,
        "message {n} arrived as {:?} and not as {:?}",
        String::from_utf8_lossy(bytes),
        String::from_utf8_lossy(&want)
    );
    got.received.push(n);
}

/// Data that says its number itself: bytes of the whole, if they are there.
fn data(rest: &[u8], model: &Model, got: &mut Got) -> usize {
    let Some(bar) = rest.iter().position(|byte| *byte == b'|') else { return 0 };
    let n: u64 = std::str::from_utf8(&rest[..bar]).ok().and_then(|text| text.parse().ok()).expect("a number");
    let len = model.message(n).map_or(0, |message| message.data.len());
    if len == 0 || rest.len() < len {
        return 0;
    }
    message(&rest[..len], n, Form::Plain, false, model, got);
    len
}

/// A list of objects, each of which begins with its position.
fn batch(text: &[u8], model: &Model, got: &mut Got) {
    let position = got.position.expect("a position in the head");
    let recovered = got.told.map_or(String::new(), |told| format!(",\"recovered\":{told}"));
    let start = format!("{{\"position\":\"{:016x}:{position}\"{recovered},\"messages\":[", model.epoch);
    assert!(text.starts_with(start.as_bytes()), "{:?} does not begin as {start:?}", String::from_utf8_lossy(text));
    let mut at = start.len();
    while text[at..] != *b"]}" {
        if !got.received.is_empty() {
            assert_eq!(text[at], b',');
            at += 1;
        }
        let head = "{\"position\":\"".len();
        let end = at + head + find(&text[at + head..], b"\"").expect("a position");
        let n = number(std::str::from_utf8(&text[at + head..end]).expect("text"), model);
        let len = encoded(n, Form::Json, false, model).len();
        message(&text[at..(at + len).min(text.len())], n, Form::Json, false, model, got);
        at += len;
    }
}

/// A frame of the server: bytes of it, if it is whole.
fn frame(rest: &[u8], plan: &Plan, model: &Model, got: &mut Got) -> usize {
    let [first, second, ..] = rest else { return 0 };
    assert_eq!(first & 0xb0, 0x80, "a frame that is a fragment, or with a reserved bit");
    assert_eq!(second & 0x80, 0, "a masked frame of the server");
    let (head, len) = match (second, rest.len()) {
        (126, ..=3) | (127, ..=9) => return 0,
        (126, _) => (4, u64::from(u16::from_be_bytes([rest[2], rest[3]]))),
        (127, _) => (10, rest[2..10].iter().fold(0, |n, byte| n << 8 | u64::from(*byte))),
        (n, _) => (2, u64::from(*n)),
    };
    let end = head + len as usize;
    if rest.len() < end {
        return 0;
    }
    let payload = &rest[head..end];
    let inflated;
    let payload = match first & 0x40 {
        0 => payload,
        _ => {
            assert!(plan.deflates && matches!(first & 15, 1 | 2), "compressed, and nobody asked for it");
            inflated = inflate(payload, 1 << 20).expect("a message that can be inflated");
            &inflated[..]
        }
    };
    match first & 15 {
        8 => {
            got.close = Some(match payload {
                [] => 1005,
                [a, b, reason @ ..] => {
                    assert!(std::str::from_utf8(reason).is_ok(), "the reason of a close");
                    u16::from_be_bytes([*a, *b])
                }
                _ => panic!("a close of one byte"),
            });
            got.over = true;
        }
        9 => {
            got.pings += 1;
            got.unheeded += 1;
        }
        10 => got.pongs.push(payload.to_vec()),
        opcode @ (1 | 2) => {
            assert_eq!(opcode == 1, std::str::from_utf8(payload).is_ok() || opcode == 1, "text that is none");
            if payload.starts_with(b"h") {
                let text =
                    String::from_utf8_lossy(&payload[1..payload.iter().position(|b| *b == b'|').expect("a bar")]);
                got.frames.push(text.parse().expect("a number"));
            } else if plan.form() != Form::WebSocketJson {
                let n = data(payload, model, got);
                assert_eq!(n, payload.len(), "a message and something more");
                assert_eq!(opcode == 1, std::str::from_utf8(payload).is_ok(), "text or binary");
            } else {
                object(payload, model, got);
            }
        }
        other => panic!("opcode {other}"),
    }
    end
}

/// A message of encke.json, the first of which says where it begins.
fn object(payload: &[u8], model: &Model, got: &mut Got) {
    let text = std::str::from_utf8(payload).expect("text");
    let (position, more) =
        text.strip_prefix("{\"position\":\"").and_then(|rest| rest.split_once('"')).expect("a position");
    let n = number(position, model);
    if got.position.is_some() {
        return message(payload, n, Form::Json, false, model, got);
    }
    got.position = Some(n);
    got.told = match more {
        "}" => None,
        ",\"recovered\":true}" => Some(true),
        ",\"recovered\":false}" => Some(false),
        other => panic!("the first message: {other}"),
    };
}
