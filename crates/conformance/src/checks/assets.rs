//! Assets are kept, changed and read, where a back end says that it has them.

use performer::model::{
    Asset, AssetScope, AssetSettings, AssetType, AssetValue, ErrorCode, KeyValue, NewAsset, NewValue, ValueOf,
};
use performer::orchestrator::{AssetAdministration, Result};

use crate::Fixture;

fn plain(value: AssetValue) -> NewValue {
    NewValue::plain(ValueOf::Everybody, value)
}

fn text(text: &str) -> NewValue {
    plain(AssetValue::Text(text.to_owned()))
}

fn code<T>(answer: Result<T>) -> u16 {
    answer.err().and_then(|error| error.code()).map_or(0, ErrorCode::number)
}

/// The assets of the back end; `None` if it does not say that it has any, and then it refuses to read one.
async fn assets(f: &Fixture) -> Option<&dyn AssetAdministration> {
    let assets = f.orchestrator.assets();
    if assets.is_none() {
        assert!(f.orchestrator.read_asset("Threshold").await.is_err());
    }
    assets
}

pub(crate) async fn an_asset_of_each_type_is_read_as_it_was_written(f: Fixture) {
    let Some(assets) = assets(&f).await else { return };
    let pair = |key: &str, value: &str| KeyValue { key: key.to_owned(), value: value.to_owned() };
    for (name, value) in [
        ("Text", AssetValue::Text("Ünï 'quoted' \u{1f916}\n0.25".to_owned())),
        ("Bool", AssetValue::Bool(true)),
        ("Integer", AssetValue::Integer(i32::MIN)),
        ("List", AssetValue::KeyValueList(vec![pair("b", "2"), pair("a", "")])),
    ] {
        let made = assets.create_asset(NewAsset::global(name, plain(value.clone()))).await.unwrap();
        assert_eq!((made.value_type, made.value(ValueOf::Everybody)), (value.value_type(), Some(&value)));
        let read = f.orchestrator.read_asset(&name.to_uppercase()).await.unwrap();
        assert_eq!((read.name.as_str(), read.value, read.secret.is_none()), (name, value, true));
    }
    let names: Vec<String> =
        assets.list_assets().await.unwrap().into_iter().map(|asset| asset.name).collect();
    assert_eq!(names, ["Bool", "Integer", "List", "Text"]);
    assert_eq!(code(f.orchestrator.read_asset("Nope").await), 1504);
    assert_eq!(code(assets.get_asset("Nope").await), 1504);
    assert_eq!(code(assets.create_asset(NewAsset::global("text", text("x"))).await), 1001);
    assert_eq!(code(assets.create_asset(NewAsset::global(" ", text("x"))).await), 1009);
}

pub(crate) async fn an_asset_is_changed_and_deleted(f: Fixture) {
    let Some(assets) = assets(&f).await else { return };
    let value = |asset: &Asset, of: ValueOf| match asset.value(of) {
        Some(AssetValue::Text(text)) => text.clone(),
        other => panic!("{other:?}"),
    };
    assets.create_asset(NewAsset::global("Address", text("a")).description("d".to_owned())).await.unwrap();
    let set = assets.set_asset_value("address", text("b")).await.unwrap();
    assert_eq!((value(&set, ValueOf::Everybody), set.description.as_deref()), ("b".to_owned(), Some("d")));
    assert_eq!(code(assets.set_asset_value("Address", plain(AssetValue::Bool(true))).await), 1502);
    let about = AssetSettings {
        name: "Street".to_owned(),
        description: None,
        value_type: AssetType::Text,
        scope: AssetScope::PerRobot,
    };
    let machine = NewValue { of: ValueOf::Machine(3), ..text("m") };
    let new = NewAsset::with_values(about.clone(), vec![text("c"), machine]);
    let changed = assets.update_asset("Address", new).await.unwrap();
    assert_eq!(
        (value(&changed, ValueOf::Everybody), value(&changed, ValueOf::Machine(3))),
        ("c".to_owned(), "m".to_owned())
    );
    assert_eq!((changed.name.as_str(), changed.description.as_deref()), ("Street", None));
    assert_eq!(code(assets.get_asset("Address").await), 1504);
    let removed = assets.remove_asset_value("Street", ValueOf::Machine(3)).await.unwrap();
    assert_eq!(removed.values.len(), 1);
    assert_eq!(code(assets.remove_asset_value("Street", ValueOf::Machine(3)).await), 1503);
    assets.delete_asset("Street").await.unwrap();
    assert_eq!(code(assets.delete_asset("Street").await), 1504);
    assert!(assets.list_assets().await.unwrap().is_empty());
}

pub(crate) async fn what_is_secret_is_written_and_not_listed(f: Fixture) {
    let Some(assets) = assets(&f).await else { return };
    let password = |name: &str, password: Option<&str>| {
        let value = NewValue::credential(ValueOf::Everybody, name, password.map(Into::into));
        NewAsset::global("SAP", value)
    };
    assert_eq!(code(assets.create_asset(password("ann", None)).await), 1014);
    let made = assets.create_asset(password("ann", Some("hunter2"))).await.unwrap();
    let secret = NewValue::secret(ValueOf::Everybody, "hunter3".into());
    assets.create_asset(NewAsset::global("Token", secret)).await.unwrap();
    // What is not named is kept.
    let changed = assets.update_asset("SAP", password("bob", None)).await.unwrap();
    assert_eq!(
        changed.value(ValueOf::Everybody),
        Some(&AssetValue::Credential { user_name: "bob".to_owned() })
    );
    let shown = format!("{made:?} {changed:?} {:?}", assets.list_assets().await.unwrap());
    assert!(!shown.contains("hunter"), "{shown}");
    let of_user = NewValue::credential(ValueOf::User(1), "x", None);
    // A back end that knows its users may say first that there is none of that number.
    assert!([1002, 1500].contains(&code(assets.set_asset_value("SAP", of_user).await)));
}
