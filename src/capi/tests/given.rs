//! What the host passes in: NULL, lengths, structs of other sizes, too little room.

use super::*;

#[test]
fn null_is_an_error_of_every_call() {
    let (e, sender) = (null_mut::<encke>(), null_mut::<encke_sender>());
    // SAFETY: NULL is allowed everywhere, and so are 0 bytes at it.
    unsafe {
        let codes = [
            encke_config_set(null_mut(), ENCKE_OPT_MAX_HEAD, 100),
            encke_config_set_str(null_mut(), ENCKE_OPT_SERVER_NAME, c"a".as_ptr()),
            encke_new(null(), null_mut()),
            encke_set(e, ENCKE_OPT_EVENTS, 0),
            encke_move_here(e),
            encke_listen(e, c"127.0.0.1:0".as_ptr(), null_mut(), null_mut()),
            encke_adopt(e, -1, null_mut(), null_mut()),
            encke_close(e, 0),
            encke_drain(e, 0),
            encke_info(e, 0, ENCKE_INFO_PEER, null_mut(), 0, null_mut()),
            encke_run(e, 0),
            encke_wait(e, 0),
            encke_timeout(e, null_mut()),
            encke_next_watch(e, null_mut()),
            encke_feed(e, null(), 0),
            encke_next(e, null_mut(), 0),
            encke_next_request(e, null_mut(), null_mut()),
            encke_param(str_of("a=b"), b'&' as c_char, null(), null_mut(), 0, null_mut()),
            encke_wake(sender),
            encke_set_user(sender, 0, 0),
            encke_body_ack(sender, 0, 0),
            encke_reply(sender, 0, 200, null(), null(), 0),
            encke_respond(sender, 0, null(), 0),
            encke_begin(sender, 0, null(), 0),
            encke_write(sender, 0, null(), 0),
            encke_end(sender, 0, null(), 0),
            encke_abort(sender, 0),
            encke_inform(sender, 0, 100, null(), 0),
            encke_token(sender, 0, null_mut(), 0),
            encke_from_token(sender, null(), 0, null_mut()),
            encke_stats_get(sender, null_mut(), 0),
            encke_ws_accept(sender, 0, null(), 0),
            encke_ws_send(sender, 0, ENCKE_WS_TEXT, null(), 0),
            encke_ws_close(sender, 0, 1000, null()),
            encke_publish(sender, 0, null(), null(), 0),
            encke_subscribe(sender, 0, null(), 0, null(), 0),
            encke_unsubscribe(sender, 0, null()),
            encke_share(e, sender),
            encke_channel_set(sender, null(), 0, 0),
            encke_channel_get(sender, null(), null_mut(), 0),
            encke_channel_next(sender, null(), null_mut(), 0, null_mut()),
            encke_mount(e, ENCKE_MOUNT_BUS, null(), null(), 0, null_mut()),
            encke_pass(sender, 0, 0),
            encke_link_open(e, null(), null(), 0, null_mut()),
            encke_link_subscribe(e, 0, null(), null(), 0, null_mut()),
            encke_tls_add(null_mut(), null(), 0, null(), 0),
            encke_tls_set(null_mut(), 0, 0),
            encke_tls_swap(null_mut(), null_mut()),
        ];
        for (n, code) in codes.into_iter().enumerate() {
            assert_eq!(code, ENCKE_E_INVAL, "call {n}");
        }
        assert!(why().contains("is NULL"));
        assert_eq!((encke_fd(e), encke_has_feature(null())), (-1, 0));
        assert!(encke_get_sender(e).is_null() && encke_sender_ref(sender).is_null());
        assert!(encke_head_get(null(), c"a".as_ptr()).p.is_null());
        encke_sender_unref(sender);
        encke_config_free(null_mut());
        encke_tls_free(null_mut());
        encke_free(e);
    }
}

#[test]
fn bad_arguments_change_nothing_and_are_named() {
    let mut host = Host::new(&[]);
    let id = host.asked("GET / HTTP/1.1\r\nHost: a\r\n\r\n").id;
    let (e, sender) = (host.e, host.sender);
    let (bad, lacking) =
        ([field("a", "b"), field("a b", "c")], encke_field { name: str_of("a"), value: encke_str { p: null(), n: 3 } });
    // SAFETY: the encke lives; what is passed in is NULL or lives for the call.
    let named = unsafe {
        let respond = |response: encke_response| encke_respond(sender, id, &response, size_of::<encke_response>());
        let told = |code: c_int| (code, why());
        [
            told(encke_write(sender, id, null(), 5)),
            told(encke_end(sender, id, null(), 2)),
            told(respond(encke_response { status: 99, ..NOTHING })),
            told(respond(encke_response { nfields: 1, ..NOTHING })),
            told(respond(encke_response { fields: bad.as_ptr(), nfields: 2, ..NOTHING })),
            told(respond(encke_response { fields: &lacking, nfields: 1, ..NOTHING })),
            told(respond(encke_response { body_len: 9, ..NOTHING })),
            told(respond(encke_response { flags: ENCKE_FILE, file: -1, ..NOTHING })),
            told(encke_inform(sender, id, 99, null(), 0)),
            told(encke_feed(e, null(), 3)),
            told(encke_next(e, null_mut(), size_of::<encke_event>())),
            told(encke_listen(e, c"nowhere".as_ptr(), null_mut(), null_mut())),
            told(encke_publish(sender, 0, c"a*".as_ptr(), null(), 0)),
            told(encke_ws_send(sender, id, ENCKE_WS_TEXT, b"\xff".as_ptr().cast(), 1)),
        ]
    };
    let said = [
        "data: NULL with a length of 5",
        "fields: NULL with a count of 2",
        "status 99",
        "fields: NULL",
        "field 1: ",
        "field value: NULL with a length of 3",
        "body: NULL with a length of 9",
        "the fd is negative",
        "status 99",
        "ready: NULL with a count of 3",
        "the event is NULL",
        "a port is missing",
        "ends in '*'",
        "not UTF-8",
    ];
    for ((code, text), said) in named.into_iter().zip(said) {
        assert!(code == ENCKE_E_INVAL && text.contains(said), "{code} {text}: {said}");
    }
    assert_eq!(host.reply(id, "yours still"), ENCKE_OK);
    assert_eq!(host.reply(id, "not twice"), ENCKE_E_GONE);
    assert!(host.written().ends_with("\r\n\r\nyours still"));
}

#[test]
fn structs_of_every_size_are_filled_and_read_as_far_as_both_sides_know_them() {
    let mut host = Host::new(&[]);
    let whole = size_of::<encke_event>();
    // Of an older host, of a newer one, and one that lies anywhere.
    for (size, at) in [(16, 0), (whole, 0), (whole + 40, 0), (whole, 1)] {
        host.says("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut room = vec![0xaau8; whole + 64];
        // SAFETY: the encke lives, and there is room for `size` bytes.
        let code = unsafe { encke_next(host.e, room.as_mut_ptr().add(at).cast(), size) };
        assert_eq!(code, 1);
        assert!(room[..at].iter().chain(&room[at + size..]).all(|byte| *byte == 0xaa), "{size} at {at}");
        assert!(room[at..at + size].iter().skip(whole).all(|byte| *byte == 0));
        let number = |from: usize| u32::from_ne_bytes(room[at + from..][..4].try_into().unwrap());
        let id = encke_id::from(number(8)) | encke_id::from(number(12)) << 32;
        assert_eq!(number(0), ENCKE_EV_REQUEST);
        assert_eq!(host.reply(id, ""), ENCKE_OK);
    }
    // SAFETY: the encke lives, and so many bytes are there.
    unsafe {
        let mut few = [0u64; 2];
        assert_eq!(encke_next(host.e, few.as_mut_ptr().cast(), 15), ENCKE_E_INVAL);
        assert_eq!(encke_stats_get(host.sender, few.as_mut_ptr().cast(), 16), ENCKE_OK);
        let mut response = [0u32; size_of::<encke_response>() / 4 + 2];
        response[0] = 200;
        for (n, code) in [(response.len(), ENCKE_OK), (2, ENCKE_OK), (response.len(), ENCKE_E_NOTSUP)] {
            let id = host.asked("GET / HTTP/1.1\r\nHost: a\r\n\r\n").id;
            if code != ENCKE_OK {
                *response.last_mut().unwrap() = 1;
            }
            assert_eq!(encke_respond(host.sender, id, response.as_ptr().cast(), n * 4), code);
            encke_abort(host.sender, id);
        }
    }
}

#[test]
fn texts_are_given_with_the_room_that_they_need() {
    let find = |from: &str, separator: u8, name: &CStr, cap: usize| {
        let (mut buffer, mut need) = (vec![0x55u8; cap], 0);
        // SAFETY: the texts live for the call, and there is room for `cap` bytes.
        let code = unsafe {
            encke_param(str_of(from), separator as c_char, name.as_ptr(), buffer.as_mut_ptr().cast(), cap, &mut need)
        };
        (code, need, buffer)
    };
    assert_eq!(find("a=1&b=x%20y", b'&', c"b", 4), (1, 4, b"x y\0".to_vec()));
    assert_eq!(find("a=1&b=x%20y", b'&', c"b", 3), (ENCKE_E_RANGE, 4, b"UUU".to_vec()));
    assert_eq!(find("a=1; b=2", b';', c"b", 2), (1, 2, b"2\0".to_vec()));
    assert_eq!(find("", b'&', c"b", 1), (0, 0, b"U".to_vec()));
    assert_eq!(find("/%41", 0, c"", 3), (1, 3, b"/A\0".to_vec()));
    let mut host = Host::new(&[]);
    let id = host.asked("GET / HTTP/1.1\r\nHost: a\r\n\r\n").id;
    // SAFETY: the encke lives, and so do texts and places for the calls.
    unsafe {
        let (mut token, mut back, mut need) = ([0 as c_char; ENCKE_TOKEN_SIZE], 0, 0);
        assert_eq!(encke_token(host.sender, id, token.as_mut_ptr(), 32), ENCKE_E_RANGE);
        assert_eq!(encke_token(host.sender, id, token.as_mut_ptr(), token.len()), ENCKE_OK);
        let len = CStr::from_ptr(token.as_ptr()).count_bytes();
        assert_eq!(encke_from_token(host.sender, token.as_ptr(), len, &mut back), ENCKE_OK);
        assert_eq!(back, id);
        assert_eq!(encke_from_token(host.sender, token.as_ptr(), len - 1, &mut back), ENCKE_E_GONE);
        assert_eq!(encke_info(host.e, id, ENCKE_INFO_PEER, null_mut(), 0, &mut need), ENCKE_E_RANGE);
        assert_eq!(need, 1);
        assert_eq!(encke_info(host.e, id, ENCKE_INFO_PEER, token.as_mut_ptr().cast(), 1, null_mut()), ENCKE_OK);
        for code in -20..3 {
            assert!(!CStr::from_ptr(encke_strerror(code)).is_empty());
        }
        assert_eq!(CStr::from_ptr(encke_version()).count_bytes(), env!("CARGO_PKG_VERSION").len());
    }
}
