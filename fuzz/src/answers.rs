//! Owns the reading of answers as a client does it: heads by httparse, bodies by RFC 9112, 6.3. Rule: nothing here is the
//! library's own reading or writing, and anything that is no HTTP panics.

/// One answer, or as much of it as came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub reason: String,
    /// In order, names as sent.
    pub fields: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, Vec<u8>)>,
    /// Bytes of the head.
    pub head: usize,
    /// Bytes of all of it; None: it is not all there, or ends with the connection.
    pub len: Option<usize>,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        let mut found = self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| &value[..]);
        let value = found.next();
        assert!(found.next().is_none(), "{name} twice");
        value
    }

    pub fn closes(&self) -> bool {
        self.field("Connection").is_some_and(|value| value == b"close")
    }

    pub fn is_informational(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }
}

/// What the request before it was.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    pub head: bool,
    pub connect: bool,
}

/// The answer at the start of `bytes`; None while its head is not whole.
pub fn next(bytes: &[u8], asked: Asked) -> Option<Answer> {
    let mut slots = [httparse::EMPTY_HEADER; 600];
    let mut response = httparse::Response::new(&mut slots);
    let head = match response.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return None,
        Err(why) => panic!("no answer: {why}: {:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(400)])),
    };
    let lines = &bytes[..head];
    assert!(lines.ends_with(b"\r\n\r\n"));
    assert!(lines.iter().enumerate().all(|(at, b)| *b != b'\n' || lines[at - 1] == b'\r'), "a bare LF");
    assert_eq!(response.version, Some(1));
    let fields = copy(response.headers);
    let mut answer = Answer {
        status: response.code.expect("a whole head has a status"),
        reason: response.reason.unwrap_or_default().to_owned(),
        fields,
        body: Vec::new(),
        trailers: Vec::new(),
        head,
        len: Some(head),
    };
    let rest = &bytes[head..];
    let length = answer.field("Content-Length").map(|value| {
        let text = std::str::from_utf8(value).expect("a number");
        assert!(text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0')), "{text}");
        text.parse::<u64>().expect("a length within 64 bits")
    });
    let chunked = match answer.field("Transfer-Encoding") {
        Some(coding) => {
            assert_eq!(coding, b"chunked");
            true
        }
        None => false,
    };
    assert!(!(chunked && length.is_some()), "two framings");
    let success = (200..300).contains(&answer.status);
    if answer.status < 200 || answer.status == 204 || asked.connect && success {
        assert!(!chunked && length.is_none(), "framing where none may be");
        return Some(answer);
    }
    if asked.head || answer.status == 304 {
        return Some(answer);
    }
    if chunked {
        answer.len = read_chunks(rest, &mut answer.body, &mut answer.trailers).map(|n| head + n);
    } else if let Some(length) = length {
        let there = usize::try_from(length).unwrap_or(usize::MAX).min(rest.len());
        answer.body.extend_from_slice(&rest[..there]);
        answer.len = (there as u64 == length).then_some(head + there);
    } else {
        answer.body.extend_from_slice(rest);
        answer.len = None;
    }
    Some(answer)
}

fn copy(fields: &[httparse::Header<'_>]) -> Vec<(String, Vec<u8>)> {
    fields.iter().map(|field| (field.name.to_owned(), field.value.to_vec())).collect()
}

/// As the library writes them: lower-case digits without leading zeros, no extensions.
fn read_chunks(bytes: &[u8], body: &mut Vec<u8>, trailers: &mut Vec<(String, Vec<u8>)>) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = bytes[at..].windows(2).position(|pair| pair == b"\r\n")?;
        let digits = std::str::from_utf8(&bytes[at..at + line]).expect("a chunk size");
        let size = usize::from_str_radix(digits, 16).expect("a chunk size");
        assert_eq!(format!("{size:x}"), digits);
        at += line + 2;
        if size == 0 {
            break;
        }
        let there = size.min(bytes.len() - at);
        body.extend_from_slice(&bytes[at..at + there]);
        let end = bytes.get(at + size..)?;
        assert!(b"\r\n".starts_with(&end[..end.len().min(2)]), "a chunk that is longer than its size");
        at += size + 2;
        if at > bytes.len() {
            return None;
        }
    }
    let mut slots = [httparse::EMPTY_HEADER; 600];
    match httparse::parse_headers(&bytes[at..], &mut slots) {
        Ok(httparse::Status::Complete((n, fields))) => {
            trailers.extend(copy(fields));
            Some(at + n)
        }
        Ok(httparse::Status::Partial) => None,
        Err(why) => panic!("trailers: {why}"),
    }
}
