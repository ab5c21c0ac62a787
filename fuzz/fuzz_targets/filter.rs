//! Sends any text as the `$filter` of a list of items on SQLite: it is parsed, compiled to SQL and executed. The response is
//! never a server error, and nothing panics.

#![cfg_attr(fuzzing, no_main)]

use std::cell::RefCell;

use performer_fuzz::IsKept;
use performer_server::fuzzing::FuzzServer;
use performer_store::Store;

thread_local! {
    static SERVER: RefCell<FuzzServer> = RefCell::new(FuzzServer::new(async || {
        // The folder is not removed: a fuzzer is ended from outside.
        let folder = tempfile::tempdir().expect("a folder").keep();
        Store::sqlite(folder.join("fuzz.db")).await.expect("a store")
    }));
}

performer_fuzz::target!(run);

fn run(input: &[u8]) -> IsKept {
    let Some(text) = std::str::from_utf8(input).ok().filter(|text| text.len() <= 10_000) else {
        return false;
    };
    let status = SERVER.with_borrow_mut(|server| server.filter(text));
    assert!(matches!(status, 200 | 400 | 414), "{status} for {text:?}");
    true
}
