//! Any body to any route that takes one. The first line of an input is the name of the route, the rest is the body. What is
//! answered is a success or the caller's mistake, never the server's, and nothing panics.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::{Corpus, fuzz_target};
use performer::orchestrator::local::Local;
use performer::server::fuzzing::FuzzServer;

/// After so many bodies the store is a new one: what they add would fill the memory.
const A_STORE: u32 = 2_000;

thread_local! {
    static DOOR: RefCell<(FuzzServer, u32)> = RefCell::new((door(), 0));
}

fn door() -> FuzzServer {
    FuzzServer::new(async || Local::memory())
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Corpus::Reject };
    let (Ok(route), body) = (std::str::from_utf8(&input[..end]), &input[end + 1..]) else { return Corpus::Reject };
    DOOR.with_borrow_mut(|(door, asked)| {
        let Some(status) = door.post(route, body) else { return Corpus::Reject };
        assert!((200..500).contains(&status), "{status} from {route} for {}", String::from_utf8_lossy(body));
        *asked += 1;
        if *asked == A_STORE {
            (*door, *asked) = (self::door(), 0);
        }
        Corpus::Keep
    })
});
