//! Writes lines of CSV.

/// A line with these cells, and quotation marks where a cell needs them. It ends as RFC 4180 has it.
pub fn csv_line<'a>(delimiter: char, cells: impl Iterator<Item = &'a str>) -> String {
    let mut line = String::new();
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            line.push(delimiter);
        }
        if cell.contains([delimiter, '"', '\n', '\r']) {
            line.push('"');
            line.push_str(&cell.replace('"', "\"\""));
            line.push('"');
        } else {
            line.push_str(cell);
        }
    }
    line + "\r\n"
}
