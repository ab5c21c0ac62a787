//! A dispatcher that reads tables: files become values, values become items, and what is refused is handed back.
#![cfg(feature = "tables")]

use std::path::{Path, PathBuf};

use performer::prelude::*;
use performer::tables::{self, Table};
use performer::{ItemFilter, Page};
use serde::{Deserialize, Serialize};
use serde_json::json;

fn spreadsheet(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/tables/tests/spreadsheets").join(name)
}

#[derive(Debug, Deserialize, Serialize)]
struct Invoice {
    #[serde(rename(deserialize = "Reference"))]
    reference: String,
    code: String,
    amount: Option<f64>,
    day: Option<String>,
    total: Option<f64>,
}

#[tokio::test]
async fn the_rows_of_a_sheet_become_items() {
    for file in ["kinds.xlsx", "kinds.xls", "kinds.ods"] {
        let orchestrator = connect("memory:").await.unwrap();
        let policy = QueuePolicy::default().enforce_unique_reference(true);
        orchestrator.ensure_queue(NewQueueDefinition::new("Invoices").policy(policy)).await.unwrap();
        let dispatcher = Dispatcher::new("Invoices").reference(|invoice: &Invoice| invoice.reference.clone());
        let mut refused = Vec::new();
        let dispatch = async |refused: &mut Vec<String>| {
            let rows = tables::rows::<Invoice>(spreadsheet(file)).unwrap();
            let invoices = rows.filter_map(|row| match row {
                Ok(row) => Some(row.value),
                Err(error) => {
                    refused.push(error.to_string());
                    None
                }
            });
            dispatcher.dispatch(&*orchestrator, invoices).await.unwrap().to_string()
        };
        assert_eq!(dispatch(&mut refused).await, "3 added, 0 were there already, 0 refused");
        assert_eq!(refused, ["line 8: cell J8 has the error #N/A"]);
        // A dispatcher that was interrupted is run again with the same file.
        assert_eq!(dispatch(&mut refused).await, "0 added, 3 were there already, 0 refused");
        let page = Page::first(10).descending(false);
        let items =
            orchestrator.list_queue_items(ItemFilter::default().queue("Invoices"), page).await.unwrap().items;
        let content = serde_json::to_value(&items[0].specific_content).unwrap();
        let expected =
            json!({"reference": "R-1", "code": "007", "amount": 20.4, "day": "2026-09-01", "total": 40.8});
        assert_eq!(content, expected, "{file}");
    }
}

/// Extra, with 18,532 real invoices; left out where the file is not there.
#[test]
fn real_invoices_are_read() {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct RealInvoice {
        invoice_no: String,
        total_price: f64,
    }
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/online-retail-invoices.csv");
    let file = std::env::var("PERFORMER_INVOICES").unwrap_or_else(|_| beside.to_owned());
    if !Path::new(&file).exists() {
        println!("left out: {file} is not there (PERFORMER_INVOICES names another)");
        return;
    }
    let invoices: Vec<RealInvoice> =
        Table::new(&file).rows().unwrap().map(|row| row.unwrap().value).collect();
    let total: f64 = invoices.iter().map(|invoice| invoice.total_price).sum();
    assert_eq!((invoices.len(), format!("{total:.2}")), (18_532, "8911407.90".to_owned()));
    assert_eq!(invoices[0].invoice_no, "536365");
}
