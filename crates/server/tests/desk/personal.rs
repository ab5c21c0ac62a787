//! Personal fields: masked on every page, in every file and in every answer to a form; revealed by an act that the audit records.

use performer::ItemId;
use performer::jiff::Timestamp;
use performer::model::log::{LogLevel, LogLine};
use performer::orchestrator::ReviewAdministration as _;
use serde_json::{Value, json};

use crate::{Answer, Desk, PERSONAL, failed};

/// The records of the audit of one act, as a page of the desk lists them.
async fn audited(desk: &Desk, cookie: &str) -> usize {
    let page = desk.get(cookie, "/desk/audit?act=PersonalRevealed").await;
    page.text.matches("<tr data-row>").count()
}

#[tokio::test]
async fn a_reveal_is_recorded_and_shows_the_fields_once() {
    let desk = Desk::start().await;
    let work = desk.work().await;
    let cookie = desk.sign_in().await;
    let page = format!("/desk/items/{}", work.successful);
    let masked = desk.get(&cookie, &page).await;
    masked.assert_has(&[
        "SpecificContent.Iban, Output.Iban, Analytics.Iban",
        "<bdi>***</bdi>",
        "17.5",
        "Why you need to see them",
    ]);
    let reveal = format!("{page}/reveal");
    for reason in ["", "  "] {
        assert_eq!(desk.post(&cookie, &reveal, &[("reason", reason)]).await.status, 400);
    }
    let forged = desk.post_from("cross-site", &cookie, &reveal, &[("reason", "x")]).await;
    assert_eq!((forged.status, audited(&desk, &cookie).await), (403, 0), "what is refused is no act");
    let shown = desk.post(&cookie, &reveal, &[("reason", "the customer asked on the phone")]).await;
    assert_eq!((shown.status, shown.header("cache-control")), (200, "no-store"));
    assert_eq!(shown.text.matches(PERSONAL).count(), 3, "content, output and analytics: {}", shown.text);
    desk.get(&cookie, &page).await.assert_has(&["<bdi>***</bdi>"]);
    let audit = desk.get(&cookie, "/desk/audit?act=PersonalRevealed").await;
    audit.assert_has(&[
        "Personal revealed",
        "the customer asked on the phone",
        "SpecificContent.Iban",
        "Output.Iban",
        "Analytics.Iban",
        &format!("href=\"{page}\""),
    ]);
    assert_eq!(audited(&desk, &cookie).await, 1);
    let gone = desk.post(&cookie, "/desk/items/4711/reveal", &[("reason", "x")]).await;
    assert_eq!(gone.status, 404);
}

#[tokio::test]
async fn who_may_not_reveal_is_told_what_it_needs() {
    let desk = Desk::start().await;
    let work = desk.work().await;
    // A robot's role has every other permission on items.
    for (name, role) in [("viewer", "Viewer"), ("robot", "Automation User")] {
        let cookie = desk.sign_in_with(name, &[role], &[]).await;
        let page = format!("/desk/items/{}", work.failed);
        let answer = desk.get(&cookie, &page).await;
        answer.assert_has(&[
            "<button disabled",
            "This needs the permission Transactions.Reveal in the folder Shared",
        ]);
        assert!(!answer.text.contains("/reveal\""), "{}", answer.text);
        let refused = desk.post(&cookie, &format!("{page}/reveal"), &[("reason", "curiosity")]).await;
        assert_eq!(refused.status, 403);
        refused.assert_has(&["Transactions.Reveal"]);
        assert!(!refused.text.contains(PERSONAL));
    }
    let administrator = desk.sign_in().await;
    assert_eq!(audited(&desk, &administrator).await, 0);
}

#[tokio::test]
async fn an_item_without_personal_fields_has_nothing_to_reveal() {
    let desk = Desk::start().await;
    desk.work().await;
    let item = desk.add("INV-9", &json!({"Total": 1})).await;
    let cookie = desk.sign_in().await;
    let page = desk.get(&cookie, &format!("/desk/items/{item}")).await;
    assert!(!page.text.contains("Personal fields are masked"));
    let refused = desk.post(&cookie, &format!("/desk/items/{item}/reveal"), &[("reason", "x")]).await;
    assert_eq!((refused.status, audited(&desk, &cookie).await), (400, 0));
}

async fn saved(desk: &Desk, cookie: &str, item: i64, act: &str, content: &str) -> Answer {
    let page = desk.get(cookie, &format!("/desk/items/{item}/{act}")).await;
    page.assert_has(&["What you leave as"]);
    let version = page.text.split("name=\"item\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let form = [("item", version), ("priority", "Normal"), ("content", content)];
    desk.post(cookie, &format!("/desk/items/{item}/{act}"), &form).await
}

#[tokio::test]
async fn a_form_keeps_the_personal_values_that_it_does_not_show() {
    let desk = Desk::start().await;
    let work = desk.work().await;
    let cookie = desk.sign_in().await;
    let content = r#"{"Iban": "***", "Total": 4}"#;
    assert_eq!(saved(&desk, &cookie, work.new, "edit", content).await.status, 303);
    let item = desk.item(work.new).await;
    assert_eq!(item["SpecificContent"], json!({"Iban": PERSONAL, "Total": 4}));
    let copied = saved(&desk, &cookie, work.failed, "correct", content).await;
    let copy: i64 = copied.location().rsplit('/').next().unwrap().parse().unwrap();
    assert_eq!(desk.item(copy).await["SpecificContent"], json!({"Iban": PERSONAL, "Total": 4}));
    // A new value takes its place, and is masked at once.
    assert_eq!(
        saved(&desk, &cookie, work.new, "edit", r#"{"Iban": "AT611904300234573201"}"#).await.status,
        303
    );
    assert_eq!(desk.item(work.new).await["SpecificContent"]["Iban"], "AT611904300234573201");
    let page = desk.get(&cookie, &format!("/desk/items/{}", work.new)).await;
    assert!(!page.text.contains("AT611904300234573201"), "{}", page.text);
}

/// Every answer of the desk is looked through for the value by [`Desk::get`] and [`Desk::post`].
#[tokio::test]
async fn reasons_comments_and_logs_do_not_repeat_what_is_masked() {
    let desk = Desk::start().await;
    desk.work().await;
    let cookie = desk.sign_in().await;
    let item = desk.add("INV-7", &json!({"Iban": PERSONAL, "Total": 1})).await;
    let why = format!("no account {PERSONAL} at the bank");
    desk.process(&failed("BusinessException", "it was added before")).await;
    desk.process(&failed("BusinessException", &why)).await;
    let page = format!("/desk/items/{item}");
    let comment = format!("asked for {PERSONAL}, no answer");
    assert_eq!(desk.post(&cookie, &format!("{page}/comments"), &[("comment", &comment)]).await.status, 303);
    let mut line = LogLine::new(
        Timestamp::UNIX_EPOCH,
        LogLevel::Info,
        json!({"message": format!("looks up {PERSONAL}")}).to_string(),
    );
    line.item = Some(ItemId(item));
    desk.served.store.add_log_lines(vec![line]).await.unwrap();

    let shown = desk.get(&cookie, &page).await;
    shown.assert_has(&["no account *** at the bank", "asked for ***, no answer", "looks up ***"]);
    desk.get(&cookie, "/desk/items?status=Failed").await.assert_has(&["no account *** at the bank"]);
    let reasons = desk.get(&cookie, "/desk/reasons").await;
    let group = reasons.text.split("/desk/reasons/").find(|part| part.contains("at the bank")).unwrap();
    let group = group.split(['"', '?']).next().unwrap();
    desk.get(&cookie, &format!("/desk/reasons/{group}")).await.assert_has(&["at the bank"]);
    desk.get(&cookie, &format!("{page}/correct")).await.assert_has(&["***"]);

    // A comment with a mask in it cannot be put back: what the mask stands for would be lost.
    let comments = desk.served.store.comments(ItemId(item)).await.unwrap();
    let edit = format!("{page}/comments/{}", comments[0].id);
    let refused = desk.post(&cookie, &edit, &[("act", "edit"), ("comment", "asked for ***, twice")]).await;
    assert_eq!(refused.status, 400);
    refused.assert_has(&["write it without"]);
    assert_eq!(desk.post(&cookie, &edit, &[("act", "edit"), ("comment", "asked twice")]).await.status, 303);
    desk.get(&cookie, &page).await.assert_has(&["asked twice"]);
    // Whoever processes the item sees everything.
    assert_eq!(desk.item(item).await["ProcessingException"]["Reason"], why);
}

/// A refusal quotes no value of a schema that has personal fields.
#[tokio::test]
async fn a_refusal_does_not_quote_what_is_masked() {
    let desk = Desk::start().await;
    let schema = r#"{"properties":{"Iban":{"type":"string","x-personal":true},"Total":{"type":"number"}}}"#;
    let queue = json!({"Name": "Invoices", "SpecificDataJsonSchema": schema});
    desk.api("POST", "/odata/QueueDefinitions", &queue).await;
    let item = desk.add("INV-1", &json!({"Iban": PERSONAL, "Total": 1})).await;
    let cookie = desk.sign_in().await;
    let refused = saved(&desk, &cookie, item, "edit", r#"{"Iban": "***", "Total": "much"}"#).await;
    assert_eq!(refused.status, 400);
    refused.assert_has(&["/Total"]);
}

/// Makes schemas and contents of which it knows what is personal, because it marked it.
struct Generator {
    random: fastrand::Rng,
    values: u32,
}

/// A schema, and data for it.
struct Generated {
    schema: String,
    data: Value,
    /// What no page may show, and what pages do show.
    personal: Vec<String>,
    open: Vec<String>,
}

impl Generator {
    /// A value that no other part of a page has, and the part of it that is written the same in HTML, JSON and CSV.
    fn value(&mut self, is_personal: bool) -> (Value, String) {
        self.values += 1;
        let kind = if is_personal { "secret" } else { "public" };
        match self.random.u32(0..4) {
            0 => {
                let number =
                    u64::from(if is_personal { 7_000_000_u32 } else { 5_000_000 } + self.values) * 1_000_003;
                (json!(number), number.to_string())
            }
            1 => (json!(format!("<b>{kind}{}x</b> & \"'", self.values)), format!("{kind}{}x", self.values)),
            2 => (json!(format!("ü\u{202e}{kind}{}x\n", self.values)), format!("{kind}{}x", self.values)),
            _ => (json!(format!("{kind}{}x", self.values)), format!("{kind}{}x", self.values)),
        }
    }

    fn mark(&mut self) -> Value {
        match self.random.u32(0..6) {
            0 => json!({"$ref": "#/$defs/personal"}),
            1 => json!({"allOf": [{}, {"x-personal": true}]}),
            2 => json!({"anyOf": [{"type": "null"}, {"$ref": "#/$defs/personal"}]}),
            3 => json!({"if": {"type": "string"}, "then": {}, "else": {"x-personal": true}, "title": "x"}),
            4 => json!({"$ref": "#/$defs/outer"}),
            _ => json!({"x-personal": true}),
        }
    }

    fn generate(&mut self) -> Generated {
        let (mut properties, mut data) = (serde_json::Map::new(), serde_json::Map::new());
        let (mut personal, mut open) = (Vec::new(), Vec::new());
        let others_are_personal = self.random.u32(0..3) == 0;
        for at in 0..self.random.usize(1..8) {
            let (is_listed, mut is_personal) = (self.random.u32(0..4) > 0, self.random.bool());
            is_personal = if is_listed { is_personal } else { others_are_personal };
            let name = format!("M{at}{}", ["", " a", "é", "~b", "/c"][self.random.usize(0..5)]);
            if is_listed {
                let schema = if is_personal { self.mark() } else { json!({}) };
                properties.insert(name.clone(), schema);
            }
            let (value, trace) = self.value(is_personal);
            data.insert(name, value);
            if is_personal { &mut personal } else { &mut open }.push(trace);
        }
        let mut schema = json!({"properties": properties,
            "$defs": {"personal": {"x-personal": true}, "outer": {"allOf": [{"$ref": "#/$defs/personal"}]}}});
        if others_are_personal {
            schema["additionalProperties"] = self.mark();
        }
        let schema = match self.random.u32(0..3) {
            0 => json!({"$defs": schema["$defs"], "allOf": [{"title": "x"}, schema]}),
            _ => schema,
        };
        Generated { schema: schema.to_string(), data: Value::Object(data), personal, open }
    }
}

/// For schemas and data of all kinds no page of an item shows a value that is marked, each shows the others, and a reveal shows all.
#[tokio::test]
async fn no_page_shows_a_personal_value() {
    let desk = Desk::start().await;
    let cookie = desk.sign_in().await;
    let mut generator = Generator { random: fastrand::Rng::with_seed(4_711), values: 0 };
    for round in 0..40 {
        let (content, output, analytics) = (generator.generate(), generator.generate(), generator.generate());
        let name = format!("Q{round}");
        let queue = json!({"Name": name, "MaxNumberOfRetries": 1, "SpecificDataJsonSchema": content.schema,
            "OutputDataJsonSchema": output.schema, "AnalyticsDataJsonSchema": analytics.schema});
        desk.api("POST", "/odata/QueueDefinitions", &queue).await;
        let add = json!({"itemData": {"Name": name, "Reference": format!("R{round}"), "SpecificContent": content.data}});
        let first =
            desk.api("POST", "/odata/Queues/UiPathODataSvc.AddQueueItem", &add).await["Id"].as_i64().unwrap();
        let mut last = first;
        for _ in 0..2 {
            let take = json!({"transactionData": {"Name": name}});
            let taken = desk.api("POST", "/odata/Queues/UiPathODataSvc.StartTransaction", &take).await;
            last = taken["Id"].as_i64().unwrap();
            let mut result = failed("ApplicationException", "wrong");
            result["Output"] = output.data.clone();
            result["Analytics"] = analytics.data.clone();
            let path = format!("/odata/Queues({last})/UiPathODataSvc.SetTransactionResult");
            desk.api("POST", &path, &json!({ "transactionResult": result })).await;
        }
        let all = [&content, &output, &analytics];
        let secrets: Vec<&String> = all.iter().flat_map(|part| &part.personal).collect();
        let context = || format!("{} {} {}", content.schema, output.schema, analytics.schema);
        for path in [
            format!("/desk/items/{last}"),
            format!("/desk/items/{last}?diff={first}"),
            format!("/desk/items/{last}/json"),
            format!("/desk/items/{last}/edit"),
            format!("/desk/items/{last}/correct"),
            format!("/desk/items?queue={name}"),
            format!("/desk/items.csv?queue={name}"),
            format!("/desk/items.json?queue={name}"),
            format!("/desk/review?queue={name}"),
            "/desk/audit".to_owned(),
            "/desk".to_owned(),
        ] {
            let page = desk.get(&cookie, &path).await;
            assert_eq!(page.status, 200, "{path}: {}", page.text);
            for secret in &secrets {
                assert!(!page.text.contains(*secret), "{path} shows {secret}: {} {}", context(), page.text);
            }
        }
        let page = desk.get(&cookie, &format!("/desk/items/{last}")).await;
        for open in all.iter().flat_map(|part| &part.open) {
            assert!(page.text.contains(open), "{open} is masked: {}", context());
        }
        let reveal = format!("/desk/items/{last}/reveal");
        let shown = desk.post(&cookie, &reveal, &[("reason", "a test")]).await;
        assert_eq!(shown.status, if secrets.is_empty() { 400 } else { 200 }, "{}", context());
        for secret in &secrets {
            assert!(shown.text.contains(*secret), "{secret} is not revealed");
        }
    }
    assert!(generator.values > 300, "{}", generator.values);
}
