//! Reads `.xls`, whose sheets are in memory as a whole.

use std::fs::File;
use std::io::BufReader;

use calamine::{Reader as _, Xls as Calamine, XlsError};

use super::copy::SheetCopy;
use super::xlsx::MergedCells;
use super::{SheetName, Workbook, cell_of, compound, worksheets};

pub(super) struct Xls<'a> {
    workbook: Calamine<BufReader<&'a File>>,
}

impl<'a> Xls<'a> {
    /// Measures and opens a file.
    pub(super) fn open(file: &'a File) -> Result<Self, String> {
        compound::check(file)?;
        let workbook = Calamine::new(BufReader::new(file)).map_err(broken)?;
        Ok(Self { workbook })
    }
}

impl Workbook for Xls<'_> {
    fn sheets(&self) -> Vec<SheetName> {
        worksheets(self.workbook.sheets_metadata())
    }

    fn read(&mut self, sheet: usize, copy: &mut SheetCopy) -> Result<(), String> {
        let name = self.sheets()[sheet].name.clone();
        let is_1904 = self.workbook.has_1904_epoch();
        let mut merged = MergedCells::new(self.workbook.merge_cells_by_sheet_name(&name).map_err(broken)?);
        let cells = self.workbook.worksheet_range(&name).map_err(broken)?;
        let (first_row, first_column) = cells.start().unwrap_or_default();
        for (row, column, value) in cells.used_cells() {
            let (Ok(row), Ok(column)) = (u32::try_from(row), u32::try_from(column)) else { continue };
            let (row, column) = (first_row + row, first_column + column);
            if !merged.covers(row, column)
                && let Some((kind, text)) = cell_of(value.clone(), is_1904)
            {
                copy.cell(row, column, kind, &text)?;
            }
        }
        Ok(())
    }
}

fn broken(error: XlsError) -> String {
    match error {
        XlsError::Password => super::PASSWORD.to_owned(),
        error => format!("the spreadsheet is broken: {error}"),
    }
}
