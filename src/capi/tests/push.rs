//! Channels, WebSockets and mounts by their pointers.

use super::*;

fn message(data: &str) -> encke_message {
    encke_message {
        r#type: str_of("text/plain"),
        from: str_of("zoe"),
        data: data.as_ptr().cast(),
        len: data.len(),
        ..encke_message::EMPTY
    }
}

/// # Safety
/// The sender has a reference.
unsafe fn publish(sender: *mut encke_sender, channel: &CStr, data: &str) -> c_int {
    // SAFETY: the caller's promise; what is passed in lives for the call.
    unsafe { encke_publish(sender, 0, channel.as_ptr(), &message(data), size_of::<encke_message>()) }
}

#[test]
fn what_any_thread_publishes_comes_to_the_subscribers_of_all() {
    let mut host = Host::new(&[(ENCKE_OPT_EVENTS, want(ENCKE_EV_SUBSCRIBER))]);
    let other = Host::new(&[]);
    let id = host.asked("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n").id;
    let names = [c"news/a".as_ptr(), c"b*".as_ptr()];
    let fields = [field("X-Y", "z")];
    let (types, empty) = (String::from("text/*"), encke_str::EMPTY);
    let how = encke_subscription {
        transport: ENCKE_TRANSPORT_AUTO,
        flags: ENCKE_SUBSCRIBE_CORS,
        types: str_of(&types),
        from: empty,
        since: empty,
        timeout_ms: 0,
        fields: fields.as_ptr(),
        nfields: 1,
    };
    // SAFETY: both enckes live; what is passed in lives for the calls.
    unsafe {
        assert_eq!(encke_share(other.e, host.sender), ENCKE_OK);
        let size = size_of::<encke_subscription>();
        assert_eq!(encke_subscribe(host.sender, id, null(), 2, &how, size), ENCKE_E_INVAL);
        assert_eq!(encke_subscribe(host.sender, id, names.as_ptr(), 2, &how, size), ENCKE_OK);
        for name in ["news/a", "b*"] {
            let event = host.event(ENCKE_EV_SUBSCRIBER);
            assert_eq!((text(event.channel), event.code), (name, 1));
        }
        assert_eq!(publish(host.sender, c"news/a", "one"), ENCKE_OK);
        assert_eq!(publish(other.sender, c"bb", "two"), ENCKE_OK);
        let sender = referenced(&other);
        std::thread::spawn(move || {
            let published = publish(sender.get(), c"news/a", "three");
            encke_sender_unref(sender.get());
            published
        })
        .join()
        .unwrap();
        host.run();
        assert!(host.next().is_none());
        let all = host.written();
        assert!(all.contains("\r\nX-Y: z\r\n"), "{all}");
        let said: Vec<&str> = all.split("data:").skip(1).map(|piece| piece.lines().next().unwrap().trim()).collect();
        assert_eq!(said, ["one", "two", "three"], "{all}");

        let (mut facts, mut name, mut need) = (MaybeUninit::<encke_channel_facts>::uninit(), [0 as c_char; 7], 0);
        assert_eq!(
            encke_channel_get(other.sender, c"news/a".as_ptr(), facts.as_mut_ptr(), size_of::<encke_channel_facts>()),
            1
        );
        let facts = facts.assume_init();
        assert_eq!((facts.subscribers, facts.published), (1, 2));
        assert_eq!(encke_channel_next(host.sender, c"bb".as_ptr(), name.as_mut_ptr(), 6, &mut need), ENCKE_E_RANGE);
        assert_eq!(encke_channel_next(host.sender, c"bb".as_ptr(), name.as_mut_ptr(), need, &mut need), 1);
        assert_eq!(CStr::from_ptr(name.as_ptr()), c"news/a");
        assert_eq!(encke_channel_set(host.sender, c"news/*".as_ptr(), ENCKE_CHANNEL_HISTORY, 0), ENCKE_OK);
        assert_eq!(encke_unsubscribe(host.sender, id, c"b*".as_ptr()), ENCKE_OK);
        let event = host.event(ENCKE_EV_SUBSCRIBER);
        assert_eq!((text(event.channel), event.code), ("b*", 0));
    }
}

const UPGRADE: &str =
    "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[test]
fn sockets_speak_from_any_thread() {
    let mut host = Host::new(&[]);
    let id = host.asked(UPGRADE).id;
    // SAFETY: the encke lives; what is passed in lives for the calls; rule L4.
    unsafe {
        assert_eq!(encke_ws_accept(host.sender, id, &field("Sec-WebSocket-Accept", "x"), 1), ENCKE_E_INVAL);
        assert_eq!(encke_ws_accept(host.sender, id, null(), 0), ENCKE_OK);
        host.says("\u{1}\u{0}"); // not masked: refused below
        let event = host.event(ENCKE_EV_CLOSED);
        assert_eq!((event.id, event.code), (id, 1002));
        assert_eq!(encke_ws_send(host.sender, id, ENCKE_WS_TEXT, b"a".as_ptr().cast(), 1), ENCKE_E_GONE);
    }
    let mut host = Host::new(&[]);
    let id = host.asked(UPGRADE).id;
    // SAFETY: as above.
    unsafe {
        assert_eq!(encke_ws_accept(host.sender, id, null(), 0), ENCKE_OK);
        let connection = host.connection;
        host.engine().receive(connection, b"\x81\x85\0\0\0\0hello");
        let event = host.event(ENCKE_EV_MESSAGE);
        let sender = referenced(&host);
        std::thread::spawn(move || {
            assert_eq!(encke_ws_send(sender.get(), id, ENCKE_WS_BINARY, b"bytes".as_ptr().cast(), 5), ENCKE_OK);
            assert_eq!(encke_ws_close(sender.get(), id, 1000, c"bye".as_ptr()), ENCKE_OK);
            encke_sender_unref(sender.get());
        })
        .join()
        .unwrap();
        assert_eq!(std::slice::from_raw_parts(event.data.cast::<u8>(), event.len), b"hello");
        host.run();
        let all = host.takes(usize::MAX);
        assert!(all.ends_with(b"\x82\x05bytes\x88\x05\x03\xe8bye"), "{}", String::from_utf8_lossy(&all));
    }
}

#[test]
fn a_mount_takes_requests_and_what_is_passed_to_it() {
    let mut host = Host::new(&[]);
    let (secret, fields) = (String::from("pw"), [field("X-Y", "z")]);
    let options = encke_mount_options {
        directory: encke_str::EMPTY,
        secret: str_of(&secret),
        flags: ENCKE_MOUNT_PASS,
        realm: encke_str::EMPTY,
        fields: fields.as_ptr(),
        nfields: 1,
    };
    // SAFETY: the encke lives; what is passed in lives for the calls.
    unsafe {
        let (mut open, mut guarded) = (0, 0);
        let size = size_of::<encke_mount_options>();
        assert_eq!(encke_mount(host.e, ENCKE_MOUNT_BUS, c"/bus/".as_ptr(), null(), 0, &mut open), ENCKE_OK);
        assert_eq!(encke_mount(host.e, ENCKE_MOUNT_BUS, c"/bus/".as_ptr(), null(), 0, null_mut()), ENCKE_E_INVAL);
        assert_eq!(encke_mount(host.e, ENCKE_MOUNT_BUS, null(), &options, size, &mut guarded), ENCKE_OK);
        host.says("POST /bus/news HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi");
        assert!(host.next().is_none());
        let all = host.written();
        assert!(all.starts_with("HTTP/1.1 20"), "{all}");
        let ids = [(); 2].map(|()| host.asked("GET /news HTTP/1.1\r\nHost: a\r\n\r\n").id);
        assert_eq!(encke_pass(host.sender, ids[0], guarded), ENCKE_OK);
        let sender = referenced(&host);
        std::thread::spawn(move || {
            assert_eq!(encke_pass(sender.get(), ids[1], guarded + 1), ENCKE_E_INVAL);
            assert_eq!(encke_pass(sender.get(), ids[1], guarded), ENCKE_OK);
            encke_sender_unref(sender.get());
        })
        .join()
        .unwrap();
        host.run();
        assert!(host.next().is_none());
        let all = host.written();
        assert_eq!((all.matches("HTTP/1.1 401 ").count(), all.matches("\r\nX-Y: z\r\n").count()), (2, 2), "{all}");
        assert_eq!((encke_close(host.e, open), encke_close(host.e, open)), (ENCKE_OK, ENCKE_E_GONE));
    }
}
