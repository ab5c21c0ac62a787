//! What is masked, and what is put back.

use super::*;

fn of(schema: &str) -> PersonalFields {
    PersonalFields::of(&Schemas { specific_data: Some(schema.into()), ..Schemas::default() })
}

fn masked(schema: &str, json: &str) -> (String, Vec<String>) {
    let (json, fields) = of(schema).mask(SchemaOf::SpecificData, json);
    (json.into_owned(), fields)
}

#[test]
fn marked_members_are_masked_and_others_keep_their_digits() {
    let schema = r#"{"properties":{"Iban":{"type":"string","x-personal":true},"Total":{"type":"number"}}}"#;
    let (json, fields) = masked(schema, r#"{"Iban":"DE89","Total":1.10,"iban":"x"}"#);
    assert_eq!(json, r#"{"Iban":"***","Total":1.10,"iban":"x"}"#);
    assert_eq!(fields, ["Iban"]);
    assert_eq!(masked(schema, r#"{"Total":1}"#).1, [""; 0]);
    assert_eq!(of(schema).mask(SchemaOf::OutputData, r#"{"Iban":"x"}"#).0, r#"{"Iban":"x"}"#);
}

#[test]
fn a_mark_is_found_wherever_the_schema_applies() {
    for schema in [
        r##"{"$defs":{"p":{"x-personal":true}},"properties":{"a":{"$ref":"#/$defs/p"}}}"##,
        r##"{"$defs":{"p q":{"x-personal":true}},"properties":{"a":{"$ref":"#/$defs/p%20q"}}}"##,
        r##"{"$defs":{"p":{"$anchor":"here","x-personal":true}},"properties":{"a":{"$ref":"#here"}}}"##,
        r##"{"$defs":{"o":{"properties":{"a":{"x-personal":true}}}},"$ref":"#/$defs/o"}"##,
        r#"{"allOf":[{"properties":{"a":{}}},{"properties":{"a":{"x-personal":true}}}]}"#,
        r#"{"properties":{"a":{"allOf":[{"type":"string"},{"x-personal":true}]}}}"#,
        r#"{"properties":{"a":{"anyOf":[{"x-personal":true},{"type":"null"}]}}}"#,
        r#"{"if":{},"then":{"properties":{"a":{"x-personal":true}}}}"#,
        r#"{"dependentSchemas":{"b":{"properties":{"a":{"x-personal":true}}}}}"#,
        r#"{"properties":{"b":{}},"additionalProperties":{"x-personal":true}}"#,
        r#"{"properties":{"b":{"x-personal":false}},"patternProperties":{"^a$":{"x-personal":true}}}"#,
        // What is meant counts, however it is written.
        r#"{"properties":{"a":{"x-personal":"true"}}}"#,
        r#"{"properties":{"a":{"x-personal":1}}}"#,
        r#"{"properties":{"a":{"x\u002dpersonal":true}}}"#,
        // References that lead nowhere or out of the schema.
        r##"{"properties":{"a":{"$ref":"#/$defs/gone"},"c":{"x-personal":true}}}"##,
        r#"{"properties":{"a":{"$ref":"https://example.com/person"},"c":{"x-personal":true}}}"#,
    ] {
        let (json, fields) = masked(schema, r#"{"a":"secret"}"#);
        assert_eq!((json.as_str(), fields), (r#"{"a":"***"}"#, vec!["a".to_owned()]), "{schema}");
    }
    for schema in [
        r#"{"properties":{"a":{}}}"#,
        r#"{"properties":{"a":{"x-personal":false}}}"#,
        r#"{"properties":{"x-personal":{"type":"string"}}}"#,
        r#"{"properties":{"b":{"x-personal":true}}}"#,
        r##"{"$defs":{"p":{"x-personal":true}},"properties":{"next":{"$ref":"#"}}}"##,
    ] {
        assert_eq!(masked(schema, r#"{"a":"open"}"#).0, r#"{"a":"open"}"#, "{schema}");
    }
}

#[test]
fn what_is_within_a_value_is_masked_in_its_place() {
    let schema = r##"{"$defs":{"person":{"properties":{"name":{"x-personal":true},"of":{"$ref":"#/$defs/person"}}}},
        "properties":{"all":{"items":{"$ref":"#/$defs/person"}},"pair":{"prefixItems":[{},{"x-personal":true}]},
        "whole":{"x-personal":true}}}"##;
    let json = r#"{"all":[{"name":"A","n":1},{"of":{"name":"B"}}],"pair":["x","y","z"],"whole":{"a":[1]}}"#;
    let (json, fields) = masked(schema, json);
    assert_eq!(
        json,
        r#"{"all":[{"n":1,"name":"***"},{"of":{"name":"***"}}],"pair":["x","***","z"],"whole":"***"}"#
    );
    assert_eq!(fields, ["all[].name", "all[].of.name", "pair[]", "whole"]);
}

#[test]
fn a_schema_that_cannot_be_read_masks_everything() {
    for schema in [r#"{"properties":{"b":{"x-personal":true}}"#, "x-personal", r"\", r#"{"x-personal":true}"#]
    {
        assert_eq!(masked(schema, r#"{"a":1,"b":"2"}"#).0, r#"{"a":"***","b":"***"}"#, "{schema}");
    }
    let deep = format!("{}{{\"x-personal\":true}}{}", "[".repeat(500), "]".repeat(500));
    assert_eq!(masked(&deep, r#"{"a":1}"#).0, r#"{"a":"***"}"#);
    // Without the word there is no mark.
    assert_eq!(masked("{", r#"{"a":1}"#).0, r#"{"a":1}"#);
    assert_eq!(masked(r#"{"x-personal":true}"#, "no object").0, r#""***""#);
}

#[test]
fn references_in_a_circle_end() {
    let schema =
        r##"{"$ref":"#","allOf":[{"$ref":"#"}],"properties":{"a":{"$ref":"#"},"p":{"x-personal":true}}}"##;
    assert_eq!(masked(schema, r#"{"a":{"a":{"p":1}}}"#).0, r#"{"a":{"a":{"p":"***"}}}"#);
}

#[test]
fn an_edit_keeps_what_it_has_left_masked() {
    let personal = of(r#"{"properties":{"Iban":{"x-personal":true},"Name":{"x-personal":true}}}"#);
    let original = SpecificContent::from_json(r#"{"Iban":"DE89","Name":"Ada","Total":1.10}"#).unwrap();
    let edited = |json: &str| {
        personal
            .restore(&original, json)
            .map(|content| content.as_json().to_owned())
            .map_err(|error| error.to_string())
    };
    assert_eq!(edited(r#"{"Iban":"***","Name":"***","Total":1.10}"#).unwrap(), original.as_json());
    assert_eq!(
        edited(r#"{"Total":2.00,"Iban":"***","Name":"Eve"}"#).unwrap(),
        r#"{"Iban":"DE89","Name":"Eve","Total":2.00}"#
    );
    assert_eq!(edited(r#"{"Total":"***"}"#).unwrap(), r#"{"Total":"***"}"#);
    let without = SpecificContent::from_json(r#"{"Total":1}"#).unwrap();
    let refusal = personal.restore(&without, r#"{"Iban":"***"}"#).unwrap_err();
    assert!(refusal.to_string().contains("no value before"), "{refusal}");
}

#[test]
fn a_reason_has_some_words_and_not_too_many() {
    assert_eq!(validate_reveal_reason("asked by the customer"), Ok(()));
    for wrong in ["", "  \n", &"x".repeat(REVEAL_REASON_LIMIT + 1)] {
        assert_eq!(validate_reveal_reason(wrong).unwrap_err().code(), ErrorCode::INVALID_ARGUMENT);
    }
}

fn values(schema: &str, json: &str) -> PersonalValues {
    let mut values = PersonalValues::default();
    of(schema).mask_noting(SchemaOf::SpecificData, json, &mut values);
    values.sort();
    values
}

#[test]
fn values_are_masked_where_a_text_repeats_them() {
    let schema = r#"{"properties":{"Person":{"x-personal":true},"Total":{"type":"number"}}}"#;
    let json = r#"{"Person":{"Name":" Ann Lee ","Iban":"DE89 3704","Born":19840501,"Sex":"f","Is":true,"None":null,
                  "Known as":["Ann","Al\"i"]},"Total":17}"#;
    let values = values(schema, json);
    let masked = |text: &str| {
        let mut text = text.to_owned();
        values.mask(&mut text);
        text
    };
    assert_eq!(masked("no account DE89 3704 of Ann Lee, 17"), "no account *** of ***, 17");
    assert_eq!(masked("xDE89 3704x born:19840501."), "x***x born:***.", "a long value in any place");
    assert_eq!(
        masked("Ann's file of Annex (f), Ann"),
        "***'s file of Annex (***), ***",
        "a short one as a word"
    );
    assert_eq!(masked("true null of 17"), "true null of 17");
    let mut entry = r#"{"message":"no Al\"i, 19840501"}"#.to_owned();
    values.mask_json(&mut entry);
    assert_eq!(entry, r#"{"message":"no ***, ***"}"#);
    assert!(PersonalFields::default().values(&an_item(json)).is_empty());
}

fn an_item(json: &str) -> QueueItem {
    use crate::model::item::Priority;
    use crate::model::key::{ItemId, ItemKey, QueueId};
    use crate::model::lifecycle::ItemState;
    let state = ItemState::untouched(Priority::Normal, jiff::Timestamp::UNIX_EPOCH);
    let mut item = QueueItem::of_state(ItemId(1), ItemKey::from_bytes([0; 16]), QueueId(1), &state);
    item.specific_content = SpecificContent::from_stored(json);
    item
}

#[test]
fn a_masked_item_says_nothing_in_its_reason_and_its_progress() {
    let schema = r#"{"properties":{"Iban":{"x-personal":true}}}"#;
    let mut item = an_item(r#"{"Iban":"AT611904300234573201"}"#);
    let kind = crate::model::exception::ExceptionType::BusinessException;
    let why = "no account AT611904300234573201".to_owned();
    let exception = crate::model::exception::ProcessingException::new(kind, why, jiff::Timestamp::UNIX_EPOCH);
    item.processing_exception = Some(exception);
    item.progress = Some("looks up AT611904300234573201".to_owned());
    let fields = of(schema);
    assert_eq!(fields.mask_item(&mut item), ["SpecificContent.Iban"]);
    assert_eq!(item.processing_exception.as_ref().unwrap().reason, "no account ***");
    assert_eq!(item.progress.as_deref(), Some("looks up ***"));
    assert!(fields.values(&item).is_empty(), "a mask is no value");
    assert_eq!(fields.mask_item(&mut item), ["SpecificContent.Iban"], "it is masked once");
}
