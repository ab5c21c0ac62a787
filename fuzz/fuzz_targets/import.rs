//! Reads any bytes as a file of `performer item import`, as CSV, JSON, one JSON object per line or a spreadsheet. Nothing panics, a
//! second reading finds the same rows, and the columns of a table have one type each.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|input: &[u8]| -> Corpus {
    match performer_tables::fuzzing::read(input) {
        Some(_) => Corpus::Keep,
        None => Corpus::Reject,
    }
});
