//! Sends any body to any route with a body. The first line of an input is the name of the route, the rest is the body. The
//! response is never a server error, and nothing panics.

#![cfg_attr(fuzzing, no_main)]

use std::cell::RefCell;

use performer_fuzz::IsKept;
use performer_server::fuzzing::FuzzServer;
use performer_store::Store;

/// The store is replaced after this many bodies, because added items would fill the memory.
const BODIES_PER_STORE: u32 = 2_000;

thread_local! {
    static SERVER: RefCell<(FuzzServer, u32)> = RefCell::new((new_server(), 0));
}

fn new_server() -> FuzzServer {
    FuzzServer::new(async || Store::memory())
}

performer_fuzz::target!(run);

fn run(input: &[u8]) -> IsKept {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return false };
    let (Ok(route), body) = (std::str::from_utf8(&input[..end]), &input[end + 1..]) else { return false };
    SERVER.with_borrow_mut(|(server, count)| {
        let Some(status) = server.post(route, body) else { return false };
        assert!((200..500).contains(&status), "{status} from {route} for {}", String::from_utf8_lossy(body));
        *count += 1;
        if *count == BODIES_PER_STORE {
            (*server, *count) = (new_server(), 0);
        }
        true
    })
}
