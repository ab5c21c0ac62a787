//! Reads `.xlsx` and `.xlsm`, cell by cell.

use std::fs::File;
use std::io::BufReader;

use calamine::{Data, Dimensions, Reader as _, Xlsx as Calamine, XlsxError};

use super::super::record::CellKind;
use super::copy::SheetCopy;
use super::{SheetName, Workbook, cell_of, worksheets};

pub(super) struct Xlsx<'a> {
    workbook: Calamine<BufReader<&'a File>>,
}

impl<'a> Xlsx<'a> {
    /// Opens a file that was measured ([`super::limits`]).
    pub(super) fn open(file: &'a File) -> Result<Self, String> {
        let workbook = Calamine::new(BufReader::new(file)).map_err(broken)?;
        Ok(Self { workbook })
    }
}

impl Workbook for Xlsx<'_> {
    fn sheets(&self) -> Vec<SheetName> {
        worksheets(self.workbook.sheets_metadata())
    }

    fn read(&mut self, sheet: usize, copy: &mut SheetCopy) -> Result<(), String> {
        let name = self.sheets()[sheet].name.clone();
        let is_1904 = self.workbook.has_1904_epoch();
        let mut merged = MergedCells::new(self.workbook.merge_cells_by_sheet_name(&name).map_err(broken)?);
        let mut cells = self.workbook.worksheet_cells_reader(&name).map_err(broken)?;
        while let Some(cell) = cells.next_cell_with_formula_metadata().map_err(broken)? {
            let (row, column) = cell.pos;
            if merged.covers(row, column) {
                continue;
            }
            match cell_of(Data::from(cell.value), is_1904) {
                Some((kind, text)) => copy.cell(row, column, kind, &text)?,
                None if cell.formula.is_some() => copy.cell(row, column, CellKind::NoValue, "")?,
                None => {}
            }
        }
        Ok(())
    }
}

fn broken(error: XlsxError) -> String {
    match error {
        XlsxError::Password => super::PASSWORD.to_owned(),
        error => format!("the spreadsheet is broken: {error}"),
    }
}

/// The ranges of merged cells of a sheet. The value belongs to the upper left cell; the others are empty, whatever the file has
/// for them.
pub(super) struct MergedCells {
    /// In the order of their first rows, the last ones first.
    ahead: Vec<Dimensions>,
    /// Those that the current row is in.
    current: Vec<Dimensions>,
}

impl MergedCells {
    pub(super) fn new(mut ranges: Vec<Dimensions>) -> Self {
        ranges.sort_unstable_by_key(|range| std::cmp::Reverse(range.start));
        Self { ahead: ranges, current: Vec::new() }
    }

    /// Whether a cell is hidden behind the upper left one of its range. Rows are asked for in their order.
    pub(super) fn covers(&mut self, row: u32, column: u32) -> bool {
        while let Some(next) = self.ahead.pop_if(|range| range.start.0 <= row) {
            self.current.retain(|range| range.end.0 >= row);
            self.current.push(next);
        }
        self.current.iter().any(|range| range.contains(row, column) && range.start != (row, column))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_cells_of_a_range_but_the_first_are_covered() {
        let ranges = vec![Dimensions::new((3, 0), (3, 2)), Dimensions::new((1, 1), (2, 1))];
        let mut merged = MergedCells::new(ranges);
        let covered: Vec<(u32, u32)> = (0..5)
            .flat_map(|row| (0..4).map(move |column| (row, column)))
            .filter(|(row, column)| merged.covers(*row, *column))
            .collect();
        assert_eq!(covered, [(2, 1), (3, 1), (3, 2)]);
    }
}
