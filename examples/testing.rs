//! A transaction with unit tests, which need no queue, no file and no server.
//!
//! `cargo test --example testing`, or `cargo run --example testing` to print what the tests check.

use performer::prelude::*;
use performer::testing;
use serde_json::json;

#[derive(Default)]
struct CheckIban;

#[async_trait]
impl Transaction for CheckIban {
    type Content = Account;
    type Output = Checked;

    async fn process(&mut self, account: Account, item: &TransactionItem) -> Result<Checked, Exception> {
        item.progress("reading the number");
        let country = account.iban.get(..2).or_business("the number is too short")?;
        let digits: u32 =
            account.iban.get(2..4).and_then(|two| two.parse().ok()).or_business("no check digits")?;
        item.progress("checked");
        Ok(Checked { country: country.to_owned(), check_digits: digits })
    }
}

#[derive(serde::Deserialize)]
struct Account {
    iban: String,
}

#[derive(serde::Serialize, serde::Deserialize, Debug, PartialEq)]
struct Checked {
    country: String,
    check_digits: u32,
}

#[tokio::main]
async fn main() {
    let tested = testing::perform(CheckIban::default, NewQueueItem::new(json!({"iban": "D"}))).await;
    println!("{}: {}", tested.status(), tested.reason().unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_good_number_is_checked() {
        let item = NewQueueItem::new(json!({"iban": "DE89370400440532013000"}));
        let tested = testing::perform(CheckIban::default, item).await;
        assert_eq!(tested.status(), Status::Successful);
        assert_eq!(tested.output::<Checked>(), Checked { country: "DE".to_owned(), check_digits: 89 });
        assert_eq!(tested.progress(), Some("checked"));
    }

    #[tokio::test]
    async fn a_bad_number_is_a_business_exception() {
        for (content, reason) in [
            (json!({"iban": "D"}), "the number is too short"),
            (json!({"iban": "DEXX"}), "no check digits"),
            (json!({"account": 1}), "the content does not fit: missing field `iban` at line 1 column 13"),
        ] {
            let tested = testing::perform(CheckIban::default, NewQueueItem::new(content)).await;
            assert_eq!((tested.status(), tested.reason()), (Status::Failed, Some(reason)));
        }
    }
}
