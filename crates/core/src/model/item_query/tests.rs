use super::*;

fn parse(text: &str) -> Result<ItemQuery, Refusal> {
    ItemQuery::parse(text.split('&').map(|pair| pair.split_once('=').unwrap()))
}

#[test]
fn what_is_written_is_read_again() {
    let key = "0a1b2c3d-0000-4000-8000-000000000001";
    for text in [
        "queue=Invoices,Orders&status=Failed,Abandoned&review=None,InReview&type=Business&reason=9&refused=5&ref=INV-*",
        "reviewer=none&robot=7&priority=High,Low&created=24h&ended=2026-11-01..2026-11-30&due=..now",
        "reviewer=17&sort=-ended",
        &format!("job={key}&after=42"),
    ] {
        let query = parse(text).unwrap();
        assert_eq!(query.to_string(), text);
        assert_eq!(ItemQuery::parse(query.pairs().iter().map(|(name, value)| (*name, &**value))), Ok(query));
    }
}

#[test]
fn special_letters_are_kept() {
    for name in ["a,b", r"a\b", r"a\,b", "ä b&c=d", "*"] {
        let query = ItemQuery {
            queues: vec![name.to_owned(), "other".to_owned()],
            reference: Some(ReferenceFilter::Equals(name.to_owned())),
            ..ItemQuery::default()
        };
        let pairs = query.pairs();
        assert_eq!(ItemQuery::parse(pairs.iter().map(|(name, value)| (*name, &**value))), Ok(query));
        let starts = ItemQuery {
            reference: Some(ReferenceFilter::StartsWith(name.to_owned())),
            ..ItemQuery::default()
        };
        assert_eq!(
            ItemQuery::parse(starts.pairs().iter().map(|(name, value)| (*name, &**value))),
            Ok(starts)
        );
    }
}

#[test]
fn mistakes_are_named_and_nothing_is_ignored() {
    for (text, part) in [
        ("colour=red", "filters are queue, status"),
        ("status=Broken", "status: \"Broken\" is not a Status"),
        ("reason=nine", "reason: \"nine\" is not a whole number"),
        ("reason=1&reason=2", "the filter reason is given twice"),
        ("sort=colour", "one of id, created"),
        ("type=Odd", "type: "),
        ("ended=soon", "\"soon\" is not a time"),
        ("job=1", "job: "),
    ] {
        let message = parse(text).unwrap_err().to_string();
        assert!(message.contains(part), "{text}: {message}");
    }
    assert_eq!(parse("status=&queue= "), Ok(ItemQuery::default()));
}

#[test]
fn a_filter_has_everything_that_was_asked_for() {
    let now: Timestamp = "2026-11-30T06:00:00Z".parse().unwrap();
    let query = parse("queue=A,B&priority=High,Low&ended=yesterday&reviewer=none&sort=-ended").unwrap();
    let filter = query.filter(now, |name| Some(QueueId(if name == "A" { 1 } else { 2 }))).unwrap();
    let Some(Condition::All(conditions)) = filter.condition else { panic!("several conditions") };
    assert_eq!(conditions.len(), 5, "queues, priorities, two bounds, the reviewer");
    assert_eq!(filter.order, [Order { field: Field::EndProcessing, descending: true }]);
    assert_eq!(query.filter(now, |_| None).unwrap_err().code(), ErrorCode::ITEM_NOT_FOUND);
    let one = parse("queue=A&priority=High&created=2026-11-01..").unwrap().filter(now, |_| None).unwrap();
    assert_eq!((one.queue.as_deref(), one.priority, one.condition), (Some("A"), Some(Priority::High), None));
    assert_eq!(one.created_from, Some("2026-11-01T00:00:00Z".parse().unwrap()));
}
