//! The program openssl, as a client that can be told to be old, odd or stubborn.

use super::api::Tls;
use super::host::Host;
use super::pki::{ca, localhost, rsa, Authority};
use super::program::{talk, Folder, Ran};
use super::server::hex;
use super::setup::usual;

const REQUEST: &str = "GET /facts HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

struct OpenSsl {
    folder: Folder,
    ca: String,
}

impl OpenSsl {
    fn new() -> OpenSsl {
        let folder = Folder::new();
        let ca = folder.write("ca.pem", &ca().pem);
        OpenSsl { folder, ca }
    }

    /// Types each text once the one before it was seen.
    fn talk(&self, host: &Host, args: &[&str], steps: &[(&str, &str)]) -> Ran {
        let to = format!("127.0.0.1:{}", host.port);
        let mut all = vec!["s_client", "-connect", &to, "-CAfile", &self.ca, "-verify_return_error"];
        if !args.contains(&"-servername") {
            all.extend_from_slice(&["-servername", "localhost"]);
        }
        all.extend_from_slice(args);
        talk("openssl", &all, steps)
    }

    /// One request, then the server closes.
    fn get(&self, host: &Host, args: &[&str]) -> Ran {
        self.talk(host, &[args, &["-ign_eof"]].concat(), &[("", REQUEST)])
    }

    /// The handshake fails by an alert of that name.
    #[track_caller]
    fn refused(&self, host: &Host, args: &[&str], alert: &str) {
        let ran = self.get(host, args);
        assert!(ran.code != Some(0) && ran.error().contains(alert), "{args:?}: {}", ran.all());
    }
}

/// What ENCKE_INFO_TLS says of the suites that openssl names so.
const SUITES: [(&str, &str, &str); 9] = [
    ("-ciphersuites", "TLS_AES_128_GCM_SHA256", "TLSv1.3 TLS13_AES_128_GCM_SHA256"),
    ("-ciphersuites", "TLS_AES_256_GCM_SHA384", "TLSv1.3 TLS13_AES_256_GCM_SHA384"),
    ("-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256", "TLSv1.3 TLS13_CHACHA20_POLY1305_SHA256"),
    ("-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256", "TLSv1.2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ("-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384", "TLSv1.2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    ("-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305", "TLSv1.2 TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("-cipher", "ECDHE-RSA-AES128-GCM-SHA256", "TLSv1.2 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    ("-cipher", "ECDHE-RSA-AES256-GCM-SHA384", "TLSv1.2 TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    ("-cipher", "ECDHE-RSA-CHACHA20-POLY1305", "TLSv1.2 TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
];

fn version_of(option: &str) -> &'static str {
    if option == "-ciphersuites" {
        "-tls1_3"
    } else {
        "-tls1_2"
    }
}

#[track_caller]
fn assert_says(ran: &Ran, line: &str) {
    assert!(ran.text().lines().any(|other| other.trim_end() == line), "no line {line:?}: {}", ran.all());
}

#[test]
fn suites() {
    let host = Host::start(&Tls::new(&[localhost(), &rsa(&["localhost"])]));
    let openssl = OpenSsl::new();
    for (option, suite, expected) in SUITES {
        let ran = openssl.get(&host, &[version_of(option), option, suite]).succeeded();
        assert_says(&ran, expected);
        assert_says(&ran, "Verification: OK");
        assert_says(&ran, "Compression: NONE");
    }
    // The server's order counts, not the client's.
    for option in ["-ciphersuites", "-cipher"] {
        let all: Vec<_> = SUITES.iter().filter(|suite| suite.0 == option).rev().map(|suite| suite.1).collect();
        let ran = openssl.get(&host, &[version_of(option), option, &all.join(":")]).succeeded();
        assert_says(&ran, if option == "-cipher" { SUITES[3].2 } else { SUITES[0].2 });
    }
}

/// Without forward secrecy, with CBC, or just not ours.
const OTHER_SUITES: [(&str, &str); 6] = [
    ("-cipher", "AES128-GCM-SHA256"),
    ("-cipher", "AES128-SHA"),
    ("-cipher", "DHE-RSA-AES128-GCM-SHA256"),
    ("-cipher", "ECDHE-RSA-AES128-SHA256"),
    ("-cipher", "ECDHE-ECDSA-AES256-SHA384"),
    ("-ciphersuites", "TLS_AES_128_CCM_SHA256"),
];

#[test]
fn suites_that_are_refused() {
    let host = Host::start(&Tls::new(&[localhost(), &rsa(&["localhost"])]));
    let openssl = OpenSsl::new();
    for (option, suite) in OTHER_SUITES {
        openssl.refused(&host, &[version_of(option), option, suite], " alert ");
    }
    assert!(host.wait_for_end_of(6).requests.is_empty());
}

/// RFC 5246, 7.4.1.3 and RFC 8446, 4.1.1 name the alert.
#[test]
fn suites_are_refused_by_handshake_failure() {
    let host = Host::start(&Tls::new(&[localhost(), &rsa(&["localhost"])]));
    let openssl = OpenSsl::new();
    for (option, suite) in OTHER_SUITES {
        openssl.refused(&host, &[version_of(option), option, suite], "alert handshake failure");
    }
}

#[test]
fn versions_that_are_refused() {
    let host = Host::start(&usual());
    let openssl = OpenSsl::new();
    for version in ["-tls1", "-tls1_1"] {
        // Either alert is right: such clients also lack what TLS 1.2 demands.
        openssl.refused(&host, &[version, "-cipher", "ALL:@SECLEVEL=0"], " alert ");
    }
    assert!(host.wait_for_end_of(2).requests.is_empty());
}

/// The first group that openssl names is the one that it sends a share for: with another the server must ask again.
#[test]
fn groups() {
    // With TLS 1.2 the groups are those of ECDSA certificates, too.
    let host = Host::start(&Tls::new(&[&rsa(&["localhost"])]));
    let openssl = OpenSsl::new();
    for version in ["-tls1_2", "-tls1_3"] {
        for groups in ["X25519", "P-256", "P-384", "P-521:P-256", "P-521:P-384:X25519"] {
            assert_says(&openssl.get(&host, &[version, "-groups", groups]).succeeded(), "Verification: OK");
        }
        openssl.refused(&host, &[version, "-groups", "P-521"], "alert handshake failure");
    }
}

#[test]
fn names() {
    let (default, wild) = (ca().issue(&["default.test"]), ca().issue(&["*.wild.test"]));
    let host = Host::start(&Tls::new(&[&default, &wild]));
    let openssl = OpenSsl::new();
    let served = [("default.test", "default.test"), ("a.wild.test", "a.wild.test"), ("other.test", "default.test")];
    for version in ["-tls1_2", "-tls1_3"] {
        for (asked, name) in served {
            let ran = openssl.get(&host, &[version, "-servername", asked, "-verify_hostname", name]).succeeded();
            assert_says(&ran, asked);
        }
        let ran = openssl.get(&host, &[version, "-servername", "other.test", "-verify_hostname", "other.test"]);
        assert!(ran.code != Some(0) && ran.error().to_lowercase().contains("hostname mismatch"), "{}", ran.all());
    }
}

#[test]
fn protocols() {
    let host = Host::start(&usual());
    let openssl = OpenSsl::new();
    for version in ["-tls1_2", "-tls1_3"] {
        let ran = openssl.get(&host, &[version, "-alpn", "h2,http/1.1"]).succeeded();
        assert_says(&ran, "ALPN protocol: http/1.1");
        openssl.refused(&host, &[version, "-alpn", "h2"], "alert no application protocol");
    }
}

/// How often sessions were taken up, and how often not.
fn reused(ran: &Ran) -> (usize, usize) {
    let text = ran.text();
    let starting = |word| text.lines().filter(|line| line.starts_with(word)).count();
    (starting("Reused, TLSv1."), starting("New, TLSv1."))
}

#[test]
fn reconnecting() {
    let host = Host::start(&usual());
    let openssl = OpenSsl::new();
    let again = |args: &[&str]| reused(&openssl.talk(&host, &[args, &["-reconnect"]].concat(), &[]).succeeded());
    assert_eq!(again(&["-tls1_2"]), (5, 1));
    // Nothing is kept here: without a ticket there is nothing to take up.
    assert_eq!(again(&["-tls1_2", "-no_ticket"]), (0, 6));
}

/// On the same host, on another one of the same certificates, after a renewal; never where the certificates are others.
#[test]
fn sessions_from_files() {
    let openssl = OpenSsl::new();
    let tls = usual();
    let (host, second, stranger) = (Host::start(&tls), Host::start(&tls), Host::start(&usual()));
    let file = openssl.folder.path("session");
    for version in ["-tls1_2", "-tls1_3"] {
        let first = openssl.get(&host, &[version, "-sess_out", &file]).succeeded();
        assert_eq!(reused(&first), (0, 1), "{}", first.all());
        let renewed = ca().issue(&["localhost"]);
        for (at, expected) in [(&host, (1, 0)), (&second, (1, 0)), (&stranger, (0, 1))] {
            let again = openssl.get(at, &[version, "-sess_in", &file]).succeeded();
            assert_eq!(reused(&again), expected, "{}", again.all());
            assert_says(&again, "localhost");
        }
        assert_eq!(tls.swap(&Tls::new(&[&renewed])), 0);
        let again = openssl.get(&host, &[version, "-sess_in", &file]).succeeded();
        assert_eq!(reused(&again), (1, 0), "{}", again.all());
    }
}

/// "R" asks for it in the middle of a connection.
#[test]
fn renegotiation() {
    let host = Host::start(&usual());
    let openssl = OpenSsl::new();
    let steps = [("Verify return code", "R\n"), ("renegotiation", REQUEST)];
    let ran = openssl.talk(&host, &["-tls1_2"], &steps);
    assert!(ran.error().contains("RENEGOTIATING") && ran.error().contains("no renegotiation"), "{}", ran.all());
    assert_eq!(host.wait_for_end_of(1).aborted, 0);
}

#[test]
fn client_certificates() {
    let roots = Authority::new("clients");
    let host = Host::start(&usual().with_client_root(&roots));
    let openssl = OpenSsl::new();
    let files = |name: &str, root: &Authority| {
        let identity = root.issue(&["me"]);
        let chain = openssl.folder.write(&format!("{name}.pem"), &identity.chain);
        (chain, openssl.folder.write(&format!("{name}.key"), &identity.key), hex(&identity.leaf))
    };
    let (chain, key, der) = files("good", &roots);
    let (bad_chain, bad_key, _) = files("bad", &Authority::new("others"));
    for version in ["-tls1_2", "-tls1_3"] {
        let ran = openssl.get(&host, &[version, "-cert", &chain, "-key", &key]).succeeded();
        assert!(ran.text().contains(&der) && ran.text().contains("CN = clients"), "{}", ran.all());
        openssl.refused(&host, &[version, "-cert", &bad_chain, "-key", &bad_key], "alert unknown ca");
        openssl.refused(&host, &[version], " alert ");
    }
    assert_eq!(host.wait_for_end_of(6).requests.len(), 2);
}
