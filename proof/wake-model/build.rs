//! Takes the protocol from the library's own sources, so that the model cannot be about something else: mailbox.rs as it
//! is, and of the driver and the sender the two functions that use it. Only the atomics are exchanged. The mutants are the
//! same text with one step changed; a change that does not apply any more fails the build.
//!
//! Each protocol comes twice. "weak" has loom's atomics, where a load may be stale; but loom knows no single order of all
//! SeqCst operations, and so reports what cannot happen once three operations of the flag overlap. "ordered" has a flag
//! whose operations do have one order, which is what SeqCst promises, for the scenes in which that happens.

use std::fs;
use std::path::Path;

fn source(path: &str) -> String {
    let path = Path::new("../../src").join(path);
    println!("cargo:rerun-if-changed={}", path.display());
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn replace(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from:?} is to be changed, and is not there once");
    text.replace(from, to)
}

/// A method with this beginning, to its closing brace.
fn method(text: &str, beginning: &str) -> String {
    let start = text.find(beginning).unwrap_or_else(|| panic!("{beginning:?} is not there"));
    let end = text[start..].find("\n    }\n").expect("its end") + start + "\n    }\n".len();
    text[start..end].to_owned()
}

struct Mutant {
    name: &'static str,
    /// In which of the three texts.
    part: usize,
    from: &'static str,
    to: &'static str,
}

const MUTANTS: &[Mutant] = &[
    // The loop looks first and says so afterwards.
    Mutant {
        name: "looks_before_it_says_so",
        part: 1,
        from: "        self.mailbox.look();\n        for _ in 0..SUBMISSIONS {\n            match self.mailbox.pop() {\n                Some(submission) => self.engine.apply(submission),\n                None => return false,\n            }\n        }\n        !self.mailbox.is_empty()",
        to: "        for _ in 0..SUBMISSIONS {\n            match self.mailbox.pop() {\n                Some(submission) => self.engine.apply(submission),\n                None => break,\n            }\n        }\n        let more = !self.mailbox.is_empty();\n        self.mailbox.look();\n        more",
    },
    // The loop never says so.
    Mutant { name: "never_says_so", part: 1, from: "        self.mailbox.look();\n", to: "" },
    // What is left over is forgotten.
    Mutant { name: "forgets_what_is_left", part: 1, from: "        !self.mailbox.is_empty()", to: "        false" },
    // The sender asks whether to wake before it has said anything.
    Mutant {
        name: "wakes_before_it_speaks",
        part: 0,
        from: "        match self.queue.push(submission) {\n            Ok(()) => Ok(self.wake()),\n            Err(refused) => Err(refused.into_inner()),\n        }",
        to: "        let wake = self.wake();\n        match self.queue.push(submission) {\n            Ok(()) => Ok(wake),\n            Err(refused) => Err(refused.into_inner()),\n        }",
    },
    // Two steps instead of one: asks, then arms.
    Mutant {
        name: "arms_in_two_steps",
        part: 0,
        from: "        !self.armed.swap(true, SeqCst)",
        to: "        let armed = self.armed.load(SeqCst);\n        self.armed.store(true, SeqCst);\n        !armed",
    },
    // A load that may be stale decides.
    Mutant {
        name: "a_relaxed_look_at_the_flag",
        part: 0,
        from: "        !self.armed.swap(true, SeqCst)",
        to: "        if self.armed.load(std::sync::atomic::Ordering::Relaxed) {\n            return false;\n        }\n        !self.armed.swap(true, SeqCst)",
    },
    // The waker is not called.
    Mutant { name: "never_wakes", part: 2, from: "            self.waker.wake();\n", to: "" },
    // Said to a closed box and lost.
    Mutant {
        name: "loses_what_a_closed_box_refuses",
        part: 0,
        from: "            Err(refused) => Err(refused.into_inner()),",
        to: "            Err(_) => Ok(false),",
    },
];

fn module(name: &str, parts: &[String; 3], ordered: bool) -> String {
    let [mailbox, hear, pass] = parts;
    let (module, scenes) = if ordered { ("ordered", "ORDERED") } else { ("weak", "WEAK") };
    let mailbox = if ordered {
        let mailbox = replace(mailbox, "use loom::sync::atomic::{AtomicBool, ", "use loom::sync::atomic::{");
        mailbox.replacen("use ", "use crate::parts::AtomicBool;\nuse ", 1)
    } else {
        mailbox.clone()
    };
    format!(
        "pub mod {module} {{\n\
         use crate::parts::{{Engine, Waker}};\n\
         use loom::sync::Arc;\n\
         pub mod answer {{ #[derive(Debug)] pub struct Answer<'a>(pub &'a [u8]); }}\n\
         pub mod subscription {{ #[derive(Debug)] pub struct Subscription; }}\n\
         pub mod id {{ #[derive(Debug, Clone, Copy, PartialEq, Eq)] pub struct Id(pub u64); }}\n\
         #[allow(dead_code)] pub mod mailbox {{\n{mailbox}\n}}\n\
         use mailbox::{{Mailbox, Submission}};\n\
         const SUBMISSIONS: usize = crate::SUBMISSIONS;\n\
         pub struct Driver {{ pub mailbox: Arc<Mailbox>, pub engine: Engine }}\n\
         impl Driver {{\n{hear}\n}}\n\
         pub struct Sender {{ pub mailbox: Arc<Mailbox>, pub waker: Arc<Waker> }}\n\
         impl Sender {{\n{pass}\n}}\n\
         crate::scenes!({scenes}); // of {name}\n\
         }}\n"
    )
}

fn main() {
    let mailbox = source("engine/mailbox.rs");
    let mailbox = mailbox.split("#[cfg(test)]").next().unwrap_or_default().replace("//!", "//");
    let mailbox = replace(&mailbox, "use std::sync::atomic::", "use loom::sync::atomic::");
    let hear =
        method(&source("io/driver.rs"), "    fn hear(&mut self) -> bool {").replace("    fn hear", "    pub fn hear");
    let pass = method(&source("capi/sender.rs"), "    fn pass(&self, submission: Submission)")
        .replace("    fn pass", "    pub fn pass");
    let parts = [mailbox, hear, pass];

    let mut all = vec![("protocol", parts.clone())];
    for mutant in MUTANTS {
        let mut changed = parts.clone();
        changed[mutant.part] = replace(&parts[mutant.part], mutant.from, mutant.to);
        all.push((mutant.name, changed));
    }
    let (mut out, mut table) = (String::new(), String::new());
    for (name, parts) in &all {
        let (weak, ordered) = (module(name, parts, false), module(name, parts, true));
        out.push_str(&format!("mod {name} {{\n{weak}{ordered}}}\n"));
        table.push_str(&format!("    (\"{name}\", &[{name}::weak::WEAK, {name}::ordered::ORDERED]),\n"));
    }
    let table = format!("const PROTOCOLS: &[(&str, &[&[Scene]])] = &[\n{table}];\n");
    let directory = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&directory).join("protocols.rs"), out + &table).expect("writing the protocols");
}
