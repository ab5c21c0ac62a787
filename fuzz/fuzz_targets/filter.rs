//! Sends any text as the `$filter` of a list of items on SQLite: it is parsed, compiled to SQL and executed. The response is
//! never a server error, and nothing panics.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::{Corpus, fuzz_target};
use performer_store::Store;
use performer_server::fuzzing::FuzzServer;

thread_local! {
    static SERVER: RefCell<FuzzServer> = RefCell::new(FuzzServer::new(async || {
        // The folder is not removed: a fuzzer is ended from outside.
        let folder = tempfile::tempdir().expect("a folder").keep();
        Store::sqlite(folder.join("fuzz.db")).await.expect("a store")
    }));
}

fuzz_target!(|text: &str| -> Corpus {
    if text.len() > 10_000 {
        return Corpus::Reject;
    }
    let status = SERVER.with_borrow_mut(|server| server.filter(text));
    assert!(matches!(status, 200 | 400 | 414), "{status} for {text:?}");
    Corpus::Keep
});
