//! How items come into the queue: from a CSV file.

use std::error::Error;
use std::fs::File;
use std::io::Read;

use performer::prelude::*;

use crate::invoice::Invoice;
use crate::settings::Settings;

/// Adds the invoices of the data file to the queue. Those that are there already are skipped, so an
/// interrupted run is repeated. Returns whether no row was left out.
pub async fn dispatch(
    orchestrator: &dyn Administration,
    settings: &Settings,
) -> Result<bool, Box<dyn Error>> {
    let name = settings.data.display();
    let file = File::open(&settings.data).map_err(|error| format!("{name}: {error}"))?;
    let rows = read(file).map_err(|error| format!("{name}: {error}"))?;
    let summary = Dispatcher::new(&settings.queue)
        .reference(|invoice: &Invoice| invoice.number.clone())
        .dispatch(orchestrator, rows.invoices)
        .await?;
    for refused in &summary.refused {
        let number = refused
            .value
            .as_ref()
            .map_or("?", |invoice| &invoice.number);
        tracing::warn!(number, reason = %refused.refusal, "an invoice was refused");
    }
    println!("{summary}; {} rows are not invoices", rows.left_out);
    Ok(rows.left_out == 0 && summary.refused.is_empty())
}

struct Rows {
    invoices: Vec<Invoice>,
    /// How many rows are not invoices.
    left_out: usize,
}

fn read(source: impl Read) -> csv::Result<Rows> {
    let mut rows = Rows {
        invoices: Vec::new(),
        left_out: 0,
    };
    for row in csv::Reader::from_reader(source).deserialize() {
        match row {
            Ok(invoice) => rows.invoices.push(invoice),
            Err(error) if error.is_io_error() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "a row is not an invoice");
                rows.left_out += 1;
            }
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_no_invoices_are_left_out() {
        let text = "number,customer,cents\nINV-1,ACME,12500\nINV-2,ACME,many\nINV-3,ACME\n";
        let rows = read(text.as_bytes()).unwrap();
        let (number, customer) = ("INV-1".to_owned(), "ACME".to_owned());
        assert_eq!(
            rows.invoices,
            [Invoice {
                number,
                customer,
                cents: 12_500
            }]
        );
        assert_eq!(rows.left_out, 2);
    }
}
