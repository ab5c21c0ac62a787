//! Any text as the `$filter` of a list of items: read, compiled to SQL, asked of a file. It is a list, or the caller's
//! mistake; never the server's, and nothing panics.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::{Corpus, fuzz_target};
use performer::orchestrator::local::Local;
use performer::server::fuzzing::FuzzServer;

thread_local! {
    static DOOR: RefCell<FuzzServer> = RefCell::new(FuzzServer::new(async || {
        // The folder stays until the machine tidies up: a fuzzer is ended from outside.
        let folder = tempfile::tempdir().expect("a folder").keep();
        Local::sqlite(folder.join("fuzz.db")).await.expect("a store")
    }));
}

fuzz_target!(|text: &str| -> Corpus {
    if text.len() > 10_000 {
        return Corpus::Reject;
    }
    let status = DOOR.with_borrow_mut(|door| door.filter(text));
    assert!(matches!(status, 200 | 400 | 414), "{status} for {text:?}");
    Corpus::Keep
});
