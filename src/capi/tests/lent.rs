//! What is lent, and who says what on which thread.

use super::*;

/// Bytes that are lent, and are freed by hand.
fn lent() -> (*mut [u8], encke_response) {
    let bytes = Box::into_raw(vec![b'x'; 3_000].into_boxed_slice());
    (bytes, encke_response { flags: ENCKE_BORROW, body: bytes.cast(), body_len: 3_000, cookie: 5, ..NOTHING })
}

#[test]
fn what_was_lent_is_not_touched_after_its_release() {
    let mut host = Host::new(&[(ENCKE_OPT_EVENTS, want(ENCKE_EV_DONE))]);
    let size = size_of::<encke_response>();
    let id = host.asked("GET / HTTP/1.1\r\nHost: a\r\n\r\n").id;
    let (bytes, response) = lent();
    // SAFETY: the encke lives, and what is lent lives until it is released.
    assert_eq!(unsafe { encke_respond(host.sender, id, &response, size) }, ENCKE_OK);
    let mut n = 0;
    while n < 3_000 {
        assert!(host.next().is_none());
        n += host.takes(700).len();
    }
    assert_eq!(host.event(ENCKE_EV_RELEASED).cookie, 5);
    // SAFETY: it was released.
    drop(unsafe { Box::from_raw(bytes) });
    assert_eq!(host.event(ENCKE_EV_DONE).code, ENCKE_END_OK);
    // By another thread, which the loop has not heard; and some of it on the way: released before encke_free returns (L8).
    let ids = [(); 2].map(|()| host.asked("GET / HTTP/1.1\r\nHost: a\r\n\r\n").id);
    let (bytes, response) = lent();
    // SAFETY: as above.
    assert_eq!(unsafe { encke_respond(host.sender, ids[0], &response, size) }, ENCKE_OK);
    host.takes(700);
    let sender = referenced(&host);
    let others = std::thread::spawn(move || {
        let (bytes, response) = lent();
        // SAFETY: as above, with a reference of this thread's own.
        unsafe {
            assert_eq!(encke_respond(sender.get(), ids[1], &response, size_of::<encke_response>()), ENCKE_OK);
            encke_sender_unref(sender.get());
        }
        Anywhere(bytes.cast::<[u8; 3_000]>())
    });
    let others = others.join().unwrap();
    host.free();
    // SAFETY: both were released.
    drop(unsafe { (Box::from_raw(bytes), Box::from_raw(others.get())) });
}

#[test]
fn any_thread_may_answer() {
    const ALL: usize = 7;
    let mut host = Host::new(&[(ENCKE_OPT_EVENTS, want(ENCKE_EV_DONE))]);
    let ids = [(); ALL].map(|()| host.asked("GET / HTTP/1.1\r\nHost: a\r\n\r\n").id);
    let size = size_of::<encke_response>();
    let mut settled = 0;
    std::thread::scope(|scope| {
        let duel = |sender: Anywhere<encke_sender>| {
            // SAFETY: a reference of this thread's own.
            unsafe {
                let code = encke_reply(sender.get(), ids[6], 200, null(), b"duel".as_ptr().cast(), 4);
                encke_sender_unref(sender.get());
                code
            }
        };
        let (first, second, sender) = (referenced(&host), referenced(&host), referenced(&host));
        let duels = [scope.spawn(move || duel(first)), scope.spawn(move || duel(second))];
        scope.spawn(move || {
            let sender = sender;
            let (fields, trailers) = ([field("ETag", "\"1\"")], [field("X-Sum", "9")]);
            let (sender, mut back, mut token) = (sender.get(), 0, [0 as c_char; ENCKE_TOKEN_SIZE]);
            let response = encke_response { fields: fields.as_ptr(), nfields: 1, ..NOTHING };
            // SAFETY: a reference of this thread's own; what is passed in lives for the calls.
            unsafe {
                assert_eq!(encke_begin(sender, ids[0], &response, size), ENCKE_OK);
                assert_eq!(encke_write(sender, ids[0], b"piece".as_ptr().cast(), 5), ENCKE_OK);
                assert_eq!(encke_end(sender, ids[0], trailers.as_ptr(), 1), ENCKE_OK);
                assert_eq!(encke_respond(sender, ids[1], &response, size), ENCKE_OK);
                assert_eq!(encke_abort(sender, ids[2]), ENCKE_OK);
                assert_eq!(encke_inform(sender, ids[3], 103, fields.as_ptr(), 1), ENCKE_OK);
                assert_eq!(encke_set_user(sender, ids[3], 77), ENCKE_OK);
                assert_eq!(encke_reply(sender, ids[3], 204, null(), null(), 0), ENCKE_OK);
                assert_eq!(encke_token(sender, ids[4], token.as_mut_ptr(), token.len()), ENCKE_OK);
                assert_eq!(encke_from_token(sender, token.as_ptr(), 32, &mut back), ENCKE_OK);
                assert_eq!(encke_reply(sender, back, 99, null(), null(), 0), ENCKE_E_INVAL);
                assert!(why().contains("status 99"));
                assert_eq!(encke_reply(sender, ids[5], 200, c"a/b".as_ptr(), b"five".as_ptr().cast(), 4), ENCKE_OK);
                assert_eq!(encke_wake(sender), ENCKE_OK);
                encke_sender_unref(sender);
            }
        });
        let mut all = String::new();
        while settled < ALL {
            host.run();
            while let Some(event) = host.next() {
                assert_eq!((event.kind, event.user), (ENCKE_EV_DONE, if event.id == ids[3] { 77 } else { 0 }));
                settled += 1;
            }
            all += &host.written();
            std::thread::yield_now();
        }
        let mut codes = duels.map(|duel| duel.join().unwrap());
        codes.sort();
        assert_eq!(codes, [ENCKE_E_GONE, ENCKE_OK], "exactly one wins");
        assert!(all.contains("5\r\npiece\r\n0\r\nX-Sum: 9\r\n\r\nHTTP/1.1 200 OK\r\n"), "{all}");
        assert!(all.contains("HTTP/1.1 103 Early Hints\r\nETag: \"1\"\r\n\r\nHTTP/1.1 204 No Content\r\n"), "{all}");
        assert!(
            all.contains("Content-Type: a/b\r\n") && all.contains("\r\n\r\nfive") && all.ends_with("\r\n\r\nduel"),
            "{all}"
        );
        assert_eq!(all.matches("HTTP/1.1 500 ").count(), 2, "{all}");
    });
}

#[test]
fn the_loop_belongs_to_one_thread_at_a_time() {
    let mut host = Host::new(&[]);
    let id = host.asked("GET / HTTP/1.1\r\nHost: a\r\n\r\n").id;
    let (e, sender) = (Anywhere(host.e), referenced(&host));
    let there = move || {
        // SAFETY: the encke lives, and its own thread waits for this one.
        unsafe {
            let e = e.get();
            assert_eq!((encke_run(e, 0), encke_set(e, ENCKE_OPT_MAX_HELD, 0)), (ENCKE_E_THREAD, ENCKE_E_THREAD));
            assert!(encke_get_sender(e).is_null());
            // Said as another thread, heard as the loop thread.
            assert_eq!(encke_reply(sender.get(), id, 200, null(), null(), 0), ENCKE_OK);
            assert_eq!(encke_move_here(e), ENCKE_OK);
            assert!(encke_run(e, 0) >= 0);
            encke_sender_unref(sender.get());
        }
    };
    std::thread::spawn(there).join().unwrap();
    // SAFETY: the other thread has ended.
    unsafe {
        assert_eq!(encke_run(host.e, 0), ENCKE_E_THREAD);
        assert_eq!(encke_move_here(host.e), ENCKE_OK);
    }
    host.run();
    assert!(host.written().starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn after_a_bug_there_is_nothing_but_its_code() {
    let mut host = Host::new(&[]);
    let id = host.asked("GET / HTTP/1.1\r\nHost: a\r\n\r\n").id;
    // SAFETY: the encke lives.
    unsafe {
        assert_eq!(crate::capi::guard::on_loop(host.e, |_| panic!("a bug")), ENCKE_E_PANIC);
        assert!(why().starts_with("bug in the library at "), "{}", why());
        assert_eq!(host.reply(id, ""), ENCKE_E_PANIC);
        assert_eq!((encke_run(host.e, 0), encke_fd(host.e)), (ENCKE_E_PANIC, -1));
    }
}
