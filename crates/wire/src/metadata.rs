//! `$metadata`: the entity sets as an OData 4 document (CSDL).

use std::fmt::Write as _;

use performer_core::model::query::{Field, Kind};

/// Properties of items that cannot be filtered by.
const MORE_OF_ITEMS: [(&str, &str); 10] = [
    ("SpecificData", "Edm.String"),
    ("OutputData", "Edm.String"),
    ("AnalyticsData", "Edm.String"),
    ("AncestorUniqueKey", "Edm.Guid"),
    ("ManualAncestorUniqueKey", "Edm.Guid"),
    ("Encrypted", "Edm.Boolean"),
    ("HasVideoRecorded", "Edm.Boolean"),
    ("OrganizationUnitId", "Edm.Int64"),
    ("OrganizationUnitFullyQualifiedName", "Edm.String"),
    ("CreatorJobKey", "Edm.Guid"),
];

/// Builds the document. Items are fully described; other entities are open types with an id.
pub fn document(sets: &[&str]) -> String {
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <edmx:Edmx Version=\"4.0\" xmlns:edmx=\"http://docs.oasis-open.org/odata/ns/edmx\"><edmx:DataServices>\
         <Schema Namespace=\"UiPath.Server.Configuration.OData\" xmlns=\"http://docs.oasis-open.org/odata/ns/edm\">",
    );
    for set in sets {
        let open = if *set == "QueueItems" { "" } else { " OpenType=\"true\"" };
        let _ = write!(text, "<EntityType Name=\"{set}Dto\"{open}><Key><PropertyRef Name=\"Id\"/></Key>");
        if *set == "QueueItems" {
            for field in Field::ALL {
                property(&mut text, field.name(), kind_of(*field));
            }
            let known = |name: &str| Field::named(name).is_some();
            for (name, kind) in MORE_OF_ITEMS.iter().filter(|(name, _)| !known(name)) {
                property(&mut text, name, kind);
            }
        } else {
            property(&mut text, "Id", "Edm.Int64");
        }
        text.push_str("</EntityType>");
    }
    text.push_str("<EntityContainer Name=\"UiPathODataSvc\">");
    for set in sets {
        let _ = write!(
            text,
            "<EntitySet Name=\"{set}\" EntityType=\"UiPath.Server.Configuration.OData.{set}Dto\"/>"
        );
    }
    text.push_str("</EntityContainer></Schema></edmx:DataServices></edmx:Edmx>\n");
    text
}

fn property(text: &mut String, name: &str, kind: &str) {
    let nullable = if name == "Id" { " Nullable=\"false\"" } else { "" };
    let _ = write!(text, "<Property Name=\"{name}\" Type=\"{kind}\"{nullable}/>");
}

fn kind_of(field: Field) -> &'static str {
    if field.is_enumeration() || field == Field::RowVersion {
        return "Edm.String";
    }
    match field.kind() {
        Kind::Number => "Edm.Int64",
        Kind::Text => "Edm.String",
        Kind::Time => "Edm.DateTimeOffset",
        Kind::Key => "Edm.Guid",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_property_is_listed_once() {
        let text = document(&["QueueItems", "Users"]);
        assert_eq!(text.matches("<EntitySet ").count(), 2);
        for name in ["Id", "Status", "CreatorJobKey", "RowVersion"] {
            let of_items = text.split("</EntityType>").next().unwrap();
            assert_eq!(of_items.matches(&format!("<Property Name=\"{name}\" ")).count(), 1, "{name}");
        }
    }
}
