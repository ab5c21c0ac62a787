//! What only a panic in the middle can show.

use super::*;

#[test]
fn a_store_that_a_panic_left_half_changed_refuses_to_go_on() {
    let mut store = Memory::new();
    store.begin().expect("begun");
    store.abort();
    assert_eq!(store.begin().unwrap_err().kind(), ErrorKind::Other);
    assert!(store.begin_reading().is_err());
    let mut store = Memory::new();
    store.begin_reading().expect("a query changes nothing");
    store.abort();
    store.begin().expect("so its panic leaves nothing behind");
}
