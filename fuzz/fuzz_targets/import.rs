//! Reads any bytes as a file of `performer item import`, as CSV, JSON or one JSON object per line. Nothing panics, a second
//! reading finds the same rows, and the columns of CSV have one type each.

#![no_main]
#![expect(dead_code, reason = "these files of the command also do what comes before and after the reading of rows")]

use libfuzzer_sys::{Corpus, fuzz_target};

// The command is a program and no library, so its files are compiled here.
#[path = "../../crates/cli/src/import"]
mod import {
    mod columns;
    mod csv;
    mod dialect;
    mod fields;
    pub mod fuzzing;
    mod json;
    mod numbers;
    mod rows;
    mod source;
}
#[path = "../../crates/cli/src/output.rs"]
mod output;
#[path = "../../crates/cli/src/time.rs"]
mod time;

fuzz_target!(|input: &[u8]| -> Corpus {
    match import::fuzzing::read(input) {
        Some(_) => Corpus::Keep,
        None => Corpus::Reject,
    }
});
