use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn settings(url: &str) -> WebhookSettings {
    WebhookSettings::new("Alerts", url)
}

#[test]
fn urls_are_of_https_unless_insecure_ones_are_allowed() {
    for url in ["https://example.com", "HTTPS://example.com:8443/hook?token=1", "https://[2001:db8::1]/"] {
        settings(url).validate().unwrap();
    }
    for url in [
        "",
        "example.com/hook",
        "ftp://example.com",
        "https://",
        "https:///path",
        "https://user@example.com",
        "https://user:secret@example.com/hook",
        "https://example.com/a b",
        "https://example.com/\n",
        "http://example.com",
    ] {
        let refusal = settings(url).validate().unwrap_err();
        assert_eq!(refusal.code(), ErrorCode::INVALID_ARGUMENT, "{url}");
        assert!(!refusal.to_string().contains("secret@"), "the message shows a password: {refusal}");
    }
    let mut insecure = settings("http://example.com");
    insecure.allow_insecure_ssl = true;
    insecure.validate().unwrap();
}

#[test]
fn texts_have_their_limits() {
    let refused = |change: &dyn Fn(&mut WebhookSettings)| {
        let mut changed = settings("https://example.com");
        change(&mut changed);
        changed.validate().is_err()
    };
    assert!(!refused(&|settings| settings.name = "n".repeat(NAME_LIMIT)));
    assert!(refused(&|settings| settings.name = "n".repeat(NAME_LIMIT + 1)));
    assert!(refused(&|settings| settings.name = String::new()));
    assert!(refused(&|settings| settings.name = "  ".to_owned()));
    assert!(!refused(&|settings| settings.description = Some("d".repeat(DESCRIPTION_LIMIT))));
    assert!(refused(&|settings| settings.description = Some("d".repeat(DESCRIPTION_LIMIT + 1))));
    assert!(refused(&|settings| settings.url = format!("https://example.com/{}", "p".repeat(URL_LIMIT))));
    validate_secret(&"s".repeat(SECRET_LIMIT).into()).unwrap();
    validate_secret(&"s".repeat(SECRET_LIMIT + 1).into()).unwrap_err();
    validate_secret(&String::new().into()).unwrap_err();
}

#[test]
fn a_webhook_wants_what_it_has_subscribed_to_while_it_is_enabled() {
    let mut webhook = settings("https://example.com");
    assert!(EventType::ALL.iter().all(|kind| webhook.wants(*kind)));
    webhook.subscribe_to_all_events = false;
    webhook.events.insert("QUEUEITEM.ADDED".parse().unwrap());
    assert!(webhook.wants(EventType::ItemAdded));
    assert!(!webhook.wants(EventType::ItemStarted));
    webhook.enabled = false;
    assert!(!webhook.wants(EventType::ItemAdded));
    assert_eq!(
        "queueItem.burnt".parse::<EventType>().unwrap_err().to_string(),
        "\"queueItem.burnt\" is not the type of an event that a webhook can subscribe to"
    );
}

#[test]
fn waits_double_up_to_ten_minutes() {
    let seconds: Vec<u64> = (1..=12).map(|failures| delay_after(failures).as_secs()).collect();
    assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
    assert_eq!(delay_after(0).as_secs(), 1);
    assert_eq!(delay_after(u32::MAX).as_secs(), 600);
}

#[test]
fn answers_decide_what_follows() {
    for (status, verdict) in [
        (Some(200), Verdict::Delivered),
        (Some(202), Verdict::Delivered),
        (Some(299), Verdict::Delivered),
        (Some(301), Verdict::Again),
        (Some(400), Verdict::Refused),
        (Some(401), Verdict::Again),
        (Some(404), Verdict::Again),
        (Some(408), Verdict::Again),
        (Some(410), Verdict::Gone),
        (Some(413), Verdict::Refused),
        (Some(415), Verdict::Refused),
        (Some(422), Verdict::Refused),
        (Some(429), Verdict::Again),
        (Some(500), Verdict::Again),
        (Some(503), Verdict::Again),
        (None, Verdict::Again),
    ] {
        assert_eq!(verdict_of(status), verdict, "{status:?}");
    }
}

#[test]
fn a_delivery_is_given_up_after_its_tries_or_when_it_is_old() {
    let (id, webhook) = (DeliveryId(1), WebhookId(1));
    let new = || Delivery::stored((id, webhook), "e".to_owned(), EventType::Ping, at(0));
    let mut delivery = new();
    for tries in 1..MAX_TRIES {
        delivery.record_failure(Verdict::Again, "503", at(tries.into()));
        assert_eq!((delivery.state, delivery.tries), (DeliveryState::Waiting, tries));
    }
    delivery.record_failure(Verdict::Again, "503", at(100));
    assert_eq!((delivery.state, delivery.since), (DeliveryState::Dead, at(100)));
    assert_eq!(delivery.error.as_deref(), Some("503"));
    delivery.revive(at(200));
    assert_eq!((delivery.state, delivery.since, delivery.tries), (DeliveryState::Waiting, at(200), 0));

    let day = i64::try_from(MAX_AGE.as_secs()).unwrap();
    assert!(!Delivery::is_given_up(0, at(0), at(day - 1)));
    assert!(Delivery::is_given_up(0, at(0), at(day)));

    let mut refused = new();
    refused.record_failure(Verdict::Refused, "400", at(1));
    assert_eq!(refused.state, DeliveryState::Dead);
    let mut gone = new();
    gone.record_failure(Verdict::Gone, "410", at(1));
    assert_eq!(gone.state, DeliveryState::Waiting, "it is sent when the webhook is enabled again");
}

#[test]
fn a_turn_keeps_others_away_until_it_ends() {
    let key = super::super::key::KeyMaker::with_seed(1).webhook(at(0));
    let mut webhook = Webhook::new(key, settings("https://example.com"), at(0));
    assert!(webhook.may_send(at(0)));
    webhook.take(at(15));
    assert!(!webhook.may_send(at(14)));
    assert!(webhook.may_send(at(15)), "a server that ended in the middle does not keep the turn");
    webhook.hurry();
    assert!(!webhook.may_send(at(14)), "somebody who is in a hurry does not take a turn away");

    webhook.record_delivered(3, at(2));
    assert!(webhook.may_send(at(2)));
    assert_eq!((webhook.progress.delivered, webhook.progress.last_delivered), (3, Some(at(2))));

    webhook.record_failure(Verdict::Again, "no answer", at(3));
    webhook.record_failure(Verdict::Again, "no answer", at(4));
    assert_eq!(webhook.progress.failures, 2);
    assert!(!webhook.may_send(at(5)) && webhook.may_send(at(6)));
    webhook.record_delivered(0, at(6));
    assert_eq!(webhook.progress.failures, 2, "nothing was delivered");
    webhook.record_failure(Verdict::Gone, "410", at(7));
    assert!(!webhook.settings.enabled);
    assert!(!webhook.may_send(at(100_000)));
}

#[test]
fn changes_name_the_fields_and_no_secret() {
    let before = settings("https://example.com");
    let mut after = before.clone();
    after.enabled = false;
    let changes = webhook_changes(Some(&before), Some(&after), true);
    let names: Vec<&str> = changes.iter().map(|change| change.field.as_str()).collect();
    assert_eq!(names, ["Enabled", "Secret"]);
    assert_eq!((&changes[1].before, &changes[1].after), (&None, &None));
    assert!(webhook_changes(Some(&before), Some(&before), false).is_empty());
}
