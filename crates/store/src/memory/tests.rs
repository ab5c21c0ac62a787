//! What happens after a panic inside a transaction.

use super::*;
use performer_core::model::clock::SystemClock;

#[test]
fn a_store_damaged_by_a_panic_refuses_to_continue() {
    let (mut store, clock) = (Memory::new(), SystemClock::default());
    store.begin(&[], &clock).expect("begun");
    store.abort();
    assert_eq!(store.begin(&[], &clock).unwrap_err().kind(), ErrorKind::Other);
    assert!(store.begin_reading().is_err());
    let mut store = Memory::new();
    store.begin_reading().expect("a query changes nothing");
    store.abort();
    store.begin(&[], &clock).expect("so its panic leaves nothing behind");
}
