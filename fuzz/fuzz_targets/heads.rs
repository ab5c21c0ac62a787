//! Sends requests with any head: method, URI, version, headers, and a body. The response is never a mistake of the server, and
//! nothing panics.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::{Corpus, fuzz_target};
use performer_store::Store;
use performer_server::fuzzing::{FuzzServer, is_expected_of_a_head};

/// The server is replaced after this many requests, because some of them delete the queue or the user of the token.
const REQUESTS_PER_SERVER: u32 = 500;

thread_local! {
    static SERVER: RefCell<(FuzzServer, u32)> = RefCell::new((new_server(), 0));
}

fn new_server() -> FuzzServer {
    FuzzServer::new(async || Store::memory())
}

fuzz_target!(|input: &[u8]| -> Corpus {
    SERVER.with_borrow_mut(|(server, count)| {
        let Some(status) = server.head(input) else { return Corpus::Reject };
        assert!(is_expected_of_a_head(status), "{status} for {}", String::from_utf8_lossy(input));
        *count += 1;
        if *count == REQUESTS_PER_SERVER {
            (*server, *count) = (new_server(), 0);
        }
        Corpus::Keep
    })
});
