//! Sends requests with any head: method, URI, version, headers, and a body. The response is never a mistake of the server, and
//! nothing panics.

#![cfg_attr(fuzzing, no_main)]

use std::cell::RefCell;

use performer_fuzz::IsKept;
use performer_server::fuzzing::{FuzzServer, is_expected_of_a_head};
use performer_store::Store;

/// The server is replaced after this many requests, because some of them delete the queue or the user of the token.
const REQUESTS_PER_SERVER: u32 = 500;

thread_local! {
    static SERVER: RefCell<(FuzzServer, u32)> = RefCell::new((new_server(), 0));
}

fn new_server() -> FuzzServer {
    FuzzServer::new(async || Store::memory())
}

performer_fuzz::target!(run);

fn run(input: &[u8]) -> IsKept {
    SERVER.with_borrow_mut(|(server, count)| {
        let Some(status) = server.head(input) else { return false };
        assert!(is_expected_of_a_head(status), "{status} for {}", String::from_utf8_lossy(input));
        *count += 1;
        if *count == REQUESTS_PER_SERVER {
            (*server, *count) = (new_server(), 0);
        }
        true
    })
}
