//! Valid and invalid expressions.

use serde_json::json;

use super::parser::{MAX_DEPTH, MAX_EXPRESSIONS, MAX_VALUES};
use super::*;

fn holds(filter: &str) -> Result<bool, String> {
    let object = json!({
        "Id": 7, "Name": "O'Neil", "Ratio": 1.5, "On": true, "Nothing": null, "Status": "New",
        "Key": "6f1c2d3a-5b55-4c55-9d52-0a6d0c0f5a11", "At": "2026-01-02T00:00:00Z",
        "Queue": {"Name": "Invoices"}, "Robot": null, "Town": "Ørsted",
    });
    let expression = Expression::parse(filter).map_err(|refusal| refusal.to_string())?;
    expression.holds(&object).map_err(|refusal| refusal.to_string())
}

#[test]
fn the_documented_grammar_is_parsed() {
    for filter in [
        "Id eq 7",
        "ID EQ 7",
        "7 eq id",
        "8 gt Id and 7 le Id",
        "Id in (1,2,7)",
        "Id in ( 7 )",
        "Name eq 'O''Neil'",
        "contains(Name,'Nei')",
        "startswith(Name, 'O''') eq true",
        "endswith(name,'l') and not endswith(Name,'x')",
        "startswith(Name,'x') eq false",
        "tolower(Name) eq 'o''neil'",
        "contains(toupper(Name),'NEIL')",
        "contains(tolower(Name), tolower('NEIL'))",
        "tolower('O''NEIL') eq tolower(Name) and tolower(Name) in (tolower('X'), toLower('O''Neil'))",
        "tolower(Town) eq 'ørsted' and toupper(Town) eq toupper('ørsted')",
        "Ratio gt 1 and Ratio lt 1.6 and Ratio eq 1.5",
        "On",
        "on and not (Id eq 8)",
        "(On) and not On or On",
        "On eq true and On ne false and On eq 'true'",
        "Nothing eq null and Id ne null and not (Nothing ne null)",
        "not (Nothing lt 5) and not (Nothing ge 5)",
        "Key eq 6f1c2d3a-5b55-4c55-9d52-0a6d0c0f5a11",
        "Key eq guid'6F1C2D3A-5B55-4C55-9D52-0A6D0C0F5A11'",
        "At ge 2026-01-01T00:00:00Z and At lt 2026-01-03",
        "At eq 2026-01-02T02:00:00.000+02:00",
        "At le datetime'2026-01-02T00:00:00'",
        "Queue/Name eq 'Invoices'",
        "Robot/Name eq null",
        "Status eq UiPath.Core.Status'New'",
        "Id eq 1 or Id eq 7 and Name ne 'x'",
        "(Id eq 1 or Id eq 7) and (Name ne 'x')",
        "Id gt -5",
    ] {
        assert_eq!(holds(filter), Ok(true), "{filter}");
    }
    for filter in ["Id eq 8", "not (Id eq 7)", "Nothing gt 1", "Name eq ''", "Id in (1,2)"] {
        assert_eq!(holds(filter), Ok(false), "{filter}");
    }
}

#[test]
fn invalid_expressions_are_refused() {
    for filter in [
        "",
        "Id",
        "Name",
        "Id and On",
        "not Id",
        "tolower(On)",
        "Id eq",
        "eq 7",
        "Id eq 7 and",
        "(Id eq 7",
        "Id eq 7)",
        "Id eq 'x",
        "Id = 7",
        "Id eq 7;",
        "Id eq eq",
        "Id in ()",
        "Id in (1,",
        "Id in 1",
        "contains(Name)",
        "contains(Name,5)",
        "concat(Name,'x') eq 'y'",
        "length(Name) eq 1",
        "tolower(5) eq 'x'",
        "tolower('x') eq 'x'",
        "tolower(tolower(Name)) eq 'x'",
        "contains('x',Name)",
        "Id eq Name",
        "7 eq 7",
        "Name eq guid'x'",
        "Name eq cat'x'",
        "Queue/any(x:x eq 1)",
        "a/b/c/d eq 1",
        "1a eq 1",
        "Id eq 1 1",
        "Id eq 99999999999999999999x",
        "\u{0} eq 1",
        "Id eq ‘7’",
        "Id eq 7 -- x",
        "Id eq 7 || 1",
        "not",
        "Name eq \"x\"",
        "Key eq 5",
        "Id eq 'x'",
        "Cat eq 1",
        "On eq 'maybe'",
        "At eq 'x' and At gt 5",
    ] {
        assert!(holds(filter).is_err(), "{filter}");
    }
}

#[test]
fn names_are_compared_without_regard_to_case() {
    let object = json!({"Name": "Ärger", "Reference": "Ä"});
    let holds = |filter: &str| Expression::parse(filter).unwrap().with_folded_names().holds(&object).unwrap();
    assert!(holds("Name eq 'ÄRGER'") && holds("name in ('x','ärger')") && holds("contains(Name,'RG')"));
    assert!(holds("tolower(Name) eq 'ÄRGER'") && holds("contains(tolower(Name), tolower('RG'))"));
    assert!(!holds("Name ne 'ÄRGER'") && !holds("Reference eq 'ä'") && !holds("not startswith(Name,'är')"));
}

#[test]
fn expressions_have_limits() {
    let comparisons = |count: usize| vec!["Id eq 7"; count].join(" and ");
    assert_eq!(holds(&comparisons(MAX_EXPRESSIONS)), Ok(true));
    assert!(holds(&comparisons(MAX_EXPRESSIONS + 1)).unwrap_err().contains("more than 100"));
    let nested = |depth: usize| format!("{}Id eq 7{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(holds(&nested(MAX_DEPTH - 1)), Ok(true));
    assert!(holds(&nested(MAX_DEPTH)).unwrap_err().contains("deeper"));
    assert!(holds(&nested(100_000)).is_err() && holds(&"not ".repeat(100_000)).is_err());
    let list = |count: usize| format!("Id in ({})", vec!["7"; count].join(","));
    assert_eq!(holds(&list(MAX_VALUES)), Ok(true));
    assert!(holds(&list(MAX_VALUES + 1)).is_err());
}
