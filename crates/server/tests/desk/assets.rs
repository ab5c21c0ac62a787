//! Assets on the desk: made, set and deleted; what is secret is written and never shown.

use performer::orchestrator::Orchestrator as _;
use performer::secrecy::ExposeSecret as _;

use crate::Desk;

#[tokio::test]
async fn an_asset_is_made_set_and_deleted() {
    let desk = Desk::start().await;
    let cookie = desk.sign_in().await;
    let form = [
        ("name", "Threshold <b>"),
        ("type", "Integer"),
        ("value", " 500 "),
        ("in", "1"),
        ("description", "d"),
    ];
    let made = desk.post(&cookie, "/desk/assets", &form).await;
    assert_eq!(made.status, 303, "{}", made.text);
    let path = made.location().to_owned();
    let page = desk.get(&format!("{cookie}; {}", made.cookie()), &path).await;
    page.assert_has(&["Done: the asset was made.", "Threshold &#60;b&#62;", "500", "Integer", "Global"]);
    let set = desk.post(&cookie, &path, &[("of", "everybody"), ("value", "501")]).await;
    assert_eq!((set.status, set.location()), (303, &*path));
    desk.get(&cookie, "/desk/assets").await.assert_has(&["Threshold &#60;b&#62;", ">501<"]);
    let stored = &desk.served.store;
    assert_eq!(
        stored.read_asset("threshold <b>").await.unwrap().value,
        performer::model::AssetValue::Integer(501)
    );
    for (form, status, text) in [
        (&[("value", "many")][..], 400, "not a whole number"),
        (&[("value", "1"), ("of", "user 999")], 404, "no user with the number 999"),
        (&[("value", "1"), ("of", "cat 1")], 400, "does not say whose value it is"),
    ] {
        let refused = desk.post(&cookie, &path, form).await;
        assert_eq!(refused.status, status, "{}", refused.text);
        refused.assert_has(&[text]);
    }
    for (form, status, text) in [
        (&[("name", "Threshold <B>"), ("type", "Integer"), ("value", "1")][..], 409, "already used"),
        (&[("name", ""), ("type", "Bool"), ("value", "true")], 400, "must not be empty"),
        (&[("name", "x"), ("type", "Cat"), ("value", "1")], 400, "is not the type of an asset"),
        (&[("name", "x"), ("type", "KeyValueList"), ("value", "a=1\nb")], 400, "KEY=VALUE"),
        (&[("name", "x"), ("type", "Credential"), ("value", "ann")], 400, "CredentialPassword"),
        (&[("name", "x"), ("type", "Text"), ("value", "a"), ("in", "77")], 403, "Folder does not exist"),
    ] {
        let refused = desk.post(&cookie, "/desk/assets", form).await;
        assert_eq!(refused.status, status, "{form:?}: {}", refused.text);
        refused.assert_has(&[text]);
    }
    let deleted = desk.post(&cookie, &format!("{path}/delete"), &[]).await;
    assert_eq!((deleted.status, deleted.location()), (303, "/desk/assets"));
    assert_eq!(desk.get(&cookie, &path).await.status, 404);
    desk.get(&cookie, "/desk/assets").await.assert_has(&["There is no asset."]);
}

#[tokio::test]
async fn a_password_is_written_and_never_shown() {
    let desk = Desk::start().await;
    let (work, cookie) = (desk.work().await, desk.sign_in().await);
    let path = format!("/desk/assets/{}", work.asset);
    let password = async || {
        let read = desk.served.store.read_asset("SAP").await.unwrap();
        read.secret.unwrap().expose_secret().to_owned()
    };
    let kept = desk.post(&cookie, &path, &[("of", "everybody"), ("value", "bob"), ("secret", "")]).await;
    assert_eq!(kept.status, 303, "{}", kept.text);
    assert_eq!(password().await, "hunter2");
    let new =
        desk.post(&cookie, &path, &[("of", "everybody"), ("value", "bob"), ("secret", "hunter3")]).await;
    assert_eq!((new.status, password().await), (303, "hunter3".to_owned()));
    let user = desk.api("GET", "/odata/Users/UiPathODataSvc.GetCurrentUser", &serde_json::Value::Null).await;
    let of_user = format!("user {}", user["Id"]);
    let empty = desk.post(&cookie, &path, &[("of", &of_user), ("value", "me")]).await;
    assert_eq!(empty.status, 400);
    empty.assert_has(&["Credential asset cannot have an empty password for a new user."]);
    let form = [("of", &*of_user), ("value", "me@sap"), ("secret", "hunter4")];
    assert_eq!(desk.post(&cookie, &path, &form).await.status, 303);
    for page in [&*path, "/desk/assets", "/desk/audit"] {
        let page = desk.get(&cookie, page).await;
        assert!(page.status == 200 && !page.text.contains("hunter"), "{}", page.text);
    }
    desk.get(&cookie, &path).await.assert_has(&["bob, with a password", "me@sap, with a password"]);
    let gone = desk.post(&cookie, &format!("{path}/remove-value"), &[("of", &*of_user)]).await;
    assert_eq!(gone.status, 303, "{}", gone.text);
    assert!(!desk.get(&cookie, &path).await.text.contains("me@sap"));
    let foreign = desk.post_from("cross-site", &cookie, &path, &[("value", "eve"), ("secret", "x")]).await;
    assert_eq!((foreign.status, password().await), (403, "hunter3".to_owned()));
}
