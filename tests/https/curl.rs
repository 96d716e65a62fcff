//! The program curl.

use super::host::Host;
use super::pki::{ca, Authority};
use super::program::{talk, Folder, Ran};
use super::server::{hex, pattern, MIB};
use super::setup::usual;

struct Curl {
    host: Host,
    folder: Folder,
    /// Whom it trusts.
    ca: String,
}

impl Curl {
    fn new(host: Host) -> Curl {
        let folder = Folder::new();
        let ca = folder.write("ca.pem", &ca().pem);
        Curl { host, folder, ca }
    }

    fn url(&self, target: &str) -> String {
        format!("https://localhost:{}{target}", self.host.port)
    }

    fn run(&self, args: &[&str]) -> Ran {
        let resolve = format!("localhost:{}:127.0.0.1", self.host.port);
        let mut all = vec!["-q", "-sS", "--noproxy", "*", "--cacert", &self.ca, "--resolve", &resolve];
        all.extend_from_slice(args);
        talk("curl", &all, &[])
    }

    fn get(&self, target: &str, args: &[&str]) -> Ran {
        self.run(&[args, &[&self.url(target)]].concat())
    }
}

#[test]
fn versions() {
    let curl = Curl::new(Host::start(&usual()));
    for (args, version) in [
        (&["--tls-max", "1.2"][..], "TLSv1.2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
        (&["--tls-max", "1.3"], "TLSv1.3 TLS13_AES_128_GCM_SHA256"),
        (&["--tlsv1.3"], "TLSv1.3 TLS13_AES_128_GCM_SHA256"),
    ] {
        let ran = curl.get("/facts", args).succeeded();
        let text = ran.text();
        assert_eq!(text.split('\n').take(2).collect::<Vec<_>>(), ["localhost", version], "{args:?}: {}", ran.all());
    }
}

/// HTTP/2 is offered and HTTP/1.1 chosen, without an error or a second try.
#[test]
fn protocols() {
    let curl = Curl::new(Host::start(&usual()));
    let features = talk("curl", &["--version"], &[]).succeeded().text();
    let offers = [&["--http1.1"][..], &[], &["--http2"]];
    let offers = if features.contains("HTTP2") { &offers[..] } else { &offers[..2] };
    for args in offers {
        let ran = curl.get("/facts", &[args, &["-w", "\n%{http_version} %{num_connects}"][..]].concat()).succeeded();
        assert!(ran.text().ends_with("\nhttp/1.1\n\n1.1 1"), "{args:?}: {}", ran.all());
    }
    // What is refused is refused by name.
    let ran = curl.get("/facts", &["--no-alpn"]).succeeded();
    assert!(ran.text().ends_with("_SHA256\n\n"), "{}", ran.all());
}

#[test]
fn keep_alive() {
    let curl = Curl::new(Host::start(&usual()));
    for version in ["1.2", "1.3"] {
        let (small, facts) = (curl.url("/small"), curl.url("/facts"));
        let args = ["--tls-max", version, "-w", "\n%{num_connects}\n", &small, &facts, &small];
        let ran = curl.run(&args).succeeded();
        assert!(ran.text().starts_with("hello\n1\n") && ran.text().ends_with("\n0\nhello\n0\n"), "{}", ran.all());
    }
    assert_eq!(curl.host.wait_for_end_of(2).requests.len(), 6);
}

/// curl waits for 100 (Continue) first.
#[test]
fn five_megabytes_there_and_back() {
    let curl = Curl::new(Host::start(&usual()));
    let body = &pattern()[..5 * MIB];
    let data = format!("@{}", curl.folder.write("body", body));
    for version in ["1.2", "1.3"] {
        for framing in ["Content-Type: application/octet-stream", "Transfer-Encoding: chunked"] {
            let args =
                ["--tls-max", version, "-H", framing, "-H", "Expect: 100-continue", "--data-binary", &data, "-v"];
            let ran = curl.get("/echo", &args).succeeded();
            assert!(ran.out == body, "{} bytes of {}: {}", ran.out.len(), body.len(), ran.error());
            assert!(ran.error().contains("< HTTP/1.1 100"), "{}", ran.error());
        }
    }
}

/// The end of an answer without length is the connection's: curl is particular about how it is announced.
#[test]
fn an_answer_without_length() {
    let curl = Curl::new(Host::start(&usual()));
    for version in ["1.2", "1.3"] {
        let target = format!("/stream/{MIB}");
        let ran = curl.get(&target, &["--tls-max", version, "--http1.0", "--no-alpn"]).succeeded();
        assert!(ran.out == pattern()[..MIB], "{} bytes: {}", ran.out.len(), ran.error());
    }
}

/// With that option curl offers the protocol http/1.0 and no other, which is registered as well as http/1.1.
#[test]
fn http10_by_alpn() {
    let curl = Curl::new(Host::start(&usual()));
    let ran = curl.get("/facts", &["--http1.0"]).succeeded();
    assert!(ran.text().starts_with("localhost\nTLSv1"), "{}", ran.all());
}

#[test]
fn client_certificates() {
    let roots = Authority::new("clients");
    let curl = Curl::new(Host::start(&usual().with_client_root(&roots)));
    let me = roots.issue(&["me"]);
    let (chain, key) = (curl.folder.write("chain.pem", &me.chain), curl.folder.write("key.pem", &me.key));
    for version in ["1.2", "1.3"] {
        let ran = curl.get("/facts", &["--tls-max", version, "--cert", &chain, "--key", &key]).succeeded();
        assert_eq!(ran.text().split('\n').nth(3), Some(&hex(&me.leaf)[..]), "{}", ran.all());
        let ran = curl.get("/facts", &["--tls-max", version]);
        assert!(ran.code != Some(0) && ran.error().contains("alert"), "{}", ran.all());
    }
    assert_eq!(curl.host.wait_for_end_of(4).requests.len(), 2);
}

#[test]
fn wrong_trust() {
    let mut curl = Curl::new(Host::start(&usual()));
    curl.ca = curl.folder.write("others.pem", &Authority::new("others").pem);
    let ran = curl.get("/small", &[]);
    assert_eq!(ran.code, Some(60), "{}", ran.all());
    assert!(curl.host.wait_for_end_of(1).requests.is_empty());
}

/// Who forgets the s is told so.
#[test]
fn plain_http() {
    let curl = Curl::new(Host::start(&usual()));
    let url = curl.url("/small").replace("https:", "http:");
    let ran = curl.run(&["-w", "\n%{http_code}", &url]).succeeded();
    assert!(ran.text().contains("https://") && ran.text().ends_with("\n400"), "{}", ran.all());
    assert!(curl.host.wait_for_end_of(1).requests.is_empty());
}
