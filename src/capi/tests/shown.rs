//! What the host is shown, and how long it may look.

use super::*;

/// What a head says, by its pointers.
///
/// # Safety
/// It is still readable.
unsafe fn read(head: *const encke_head) -> (String, String) {
    // SAFETY: the caller's promise.
    unsafe {
        let head = &*head;
        let fields = std::slice::from_raw_parts(head.fields, head.nfields);
        let fields: Vec<String> =
            fields.iter().map(|field| format!("{}={}", text(field.name), text(field.value))).collect();
        let body = match head.body.is_null() {
            true => &[][..],
            false => std::slice::from_raw_parts(head.body.cast::<u8>(), head.body_len),
        };
        let line = format!(
            "{} {} {} {} {}",
            text(head.method),
            text(head.path),
            text(head.query),
            text(head.host),
            text(head.peer)
        );
        (line, format!("{} {}", fields.join(","), String::from_utf8_lossy(body)))
    }
}

fn post(n: usize) -> String {
    let body = "x".repeat(n * 7 % 50);
    format!("POST /{n}?q={n} HTTP/1.1\r\nHost: h{n}\r\nX-N: {n}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn is_post(n: usize, said: &(String, String)) {
    assert_eq!(said.0, format!("POST /{n} q={n} h{n} "));
    assert!(
        said.1.contains(&format!("host=h{n},x-n={n},content-length=")) && said.1.ends_with(&"x".repeat(n * 7 % 50)),
        "{said:?}"
    );
}

#[test]
fn a_head_is_readable_until_its_settle_whatever_else_happens() {
    let mut host = Host::new(&[]);
    let mut held: Vec<(usize, encke_id, Anywhere<encke_head>)> = Vec::new();
    let ask = |host: &mut Host, n: usize, held: &mut Vec<_>| {
        let event = host.asked(&post(n));
        held.push((n, event.id, Anywhere(event.head.cast_mut())));
    };
    for n in 0..12 {
        ask(&mut host, n, &mut held);
    }
    // Settled on the loop thread: until its next call.
    let (n, id, head) = held.remove(7);
    assert_eq!(host.reply(id, "7"), ENCKE_OK);
    // SAFETY: rule L3.
    unsafe {
        is_post(n, &read(head.get()));
        assert_eq!(text(encke_head_get(head.get(), c"x-n".as_ptr())), "7");
        assert!(encke_head_get(head.get(), c"X-N".as_ptr()).p.is_null());
    }
    assert!(host.next().is_none());
    for n in 12..16 {
        ask(&mut host, n, &mut held);
    }
    // Another thread reads, and settles what it has read, while this one goes on.
    let sender = referenced(&host);
    let theirs: Vec<_> = held.drain(..4).collect();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for (n, id, head) in theirs {
                // SAFETY: rule L3, and a reference of this thread's own.
                unsafe {
                    is_post(n, &read(head.get()));
                    assert_eq!(encke_reply(sender.get(), id, 200, null(), null(), 0), ENCKE_OK);
                }
            }
            // SAFETY: it is used no more.
            unsafe { encke_sender_unref(sender.get()) };
        });
        for n in 16..20 {
            host.run();
            ask(&mut host, n, &mut held);
        }
    });
    host.run();
    assert!(host.next().is_none());
    // Freed with the rest in the host's hands.
    let sender = referenced(&host);
    host.free();
    for (n, id, head) in held.drain(3..) {
        // SAFETY: rule L3.
        unsafe {
            is_post(n, &read(head.get()));
            assert_eq!(encke_abort(sender.get(), id), ENCKE_E_CLOSED);
        }
    }
    for (n, _, head) in &held {
        // SAFETY: rule L3.
        is_post(*n, &unsafe { read(head.get()) });
    }
    // What was never settled goes with the last reference.
    // SAFETY: nothing is used any more.
    unsafe { encke_sender_unref(sender.get()) };
}

#[test]
fn what_an_event_points_to_is_readable_until_the_next_one() {
    let mut host = Host::new(&[(ENCKE_OPT_BUFFER_BODY, 0)]);
    let id = host.asked("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc").id;
    // SAFETY: rule L4: nothing but encke_next and encke_run ends what an event points to.
    unsafe {
        let data = |event: &encke_event| std::slice::from_raw_parts(event.data.cast::<u8>(), event.len);
        let body = host.event(ENCKE_EV_BODY);
        assert_eq!(encke_body_ack(host.sender, id, 3), ENCKE_OK);
        host.says("def");
        assert_eq!((data(&body), body.more), (&b"abc"[..], 1));
        let body = host.event(ENCKE_EV_BODY);
        assert_eq!(host.reply(id, "thanks"), ENCKE_OK);
        assert_eq!((data(&body), body.more), (&b"def"[..], 0));
        assert!(host.next().is_none());

        let owner = Owner::new(Id(9), Default::default());
        let mut word = Word::new(&owner, Topic::Message);
        word.letter = Some(Letter::new([b"news", b"text/plain", b"zoe", b"", b"key"], b"hello".to_vec()));
        host.engine().bring(word);
        let event = host.event(ENCKE_EV_MESSAGE);
        let (mut stats, mut ms) = ([0u64; 8], 0);
        assert_eq!(encke_stats_get(host.sender, stats.as_mut_ptr().cast(), size_of_val(&stats)), ENCKE_OK);
        assert!(encke_timeout(host.e, &mut ms) >= 0);
        assert_eq!(host.reply(id, "late"), ENCKE_E_GONE);
        let message = &*event.message;
        let texts = [event.channel, message.r#type, message.from, message.event, message.key].map(|said| text(said));
        assert_eq!(texts, ["news", "text/plain", "zoe", "", "key"]);
        assert_eq!((data(&event), message.len), (&b"hello"[..], 5));

        let mut word = Word::new(&owner, Topic::State(1));
        (word.channel, word.text) = (Some("a channel".into()), "refused".into());
        host.engine().bring(word);
        let event = host.event(ENCKE_EV_LINK);
        assert_eq!(encke_wake(host.sender), ENCKE_OK);
        assert_eq!((text(event.channel), data(&event), event.code), ("a channel", &b"refused"[..], 1));
    }
}
