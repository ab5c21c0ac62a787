//! Reads any bytes as a file of `performer item import`, as CSV, JSON, one JSON object per line or a spreadsheet. Nothing panics, a
//! second reading finds the same rows, and the columns of a table have one type each.

#![cfg_attr(fuzzing, no_main)]

use performer_fuzz::IsKept;

performer_fuzz::target!(run);

fn run(input: &[u8]) -> IsKept {
    performer_tables::fuzzing::read(input).is_some()
}
