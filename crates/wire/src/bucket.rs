//! Storage buckets (orchestrator-api 18): buckets, their files, and the addresses of files.

use serde::{Deserialize, Serialize};
#[cfg(feature = "server")]
use serde_json::{Value, json};

use super::{ApiTime, EnumValue, Unreadable};
use performer_core::model::Refusal;
use performer_core::model::bucket::{Bucket, BucketFile, BucketId, BucketOptions, NewBucket};
use performer_core::model::code::ErrorCode;

/// A bucket as a body has it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BucketDto {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identifier: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<EnumValue<BucketOptions>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_provider: Option<String>,
}

impl BucketDto {
    /// The body that makes a bucket, or changes one.
    pub fn of(new: &NewBucket) -> Self {
        Self {
            id: None,
            name: Some(new.name.clone()),
            description: new.description.clone(),
            identifier: new.key.map(|key| key.to_string()),
            options: Some(new.options.into()),
            storage_provider: None,
        }
    }

    /// The new bucket.
    ///
    /// # Errors
    ///
    /// Code 1014 for a name that is missing; code 1009 for what is wrong, and for a storage of the bucket's own: a server has one for all.
    pub fn into_new(self) -> Result<NewBucket, Refusal> {
        let invalid = |message: String| Refusal::new(ErrorCode::INVALID_ARGUMENT, message);
        let name = self
            .name
            .ok_or_else(|| Refusal::new(ErrorCode::PARAMETER_MISSING, "the parameter Name is missing"))?;
        if self.storage_provider.is_some_and(|provider| !provider.is_empty()) {
            let message = "StorageProvider has to be null: this server keeps the files of all buckets in one storage, which it is started with";
            return Err(invalid(message.to_owned()));
        }
        let key = self.identifier.filter(|key| !key.is_empty());
        let key = key.map(|key| key.parse()).transpose();
        let key = key.map_err(|_| invalid("Identifier is no GUID".to_owned()))?;
        let options = match self.options {
            None => BucketOptions::None,
            Some(options) => options.known().ok_or_else(|| {
                let shown: String = options.to_string().chars().take(60).collect();
                invalid(format!("Options cannot be {shown:?}"))
            })?,
        };
        let description = self.description.filter(|text| !text.is_empty());
        Ok(NewBucket::new(name).description(description).key(key).options(options))
    }

    /// The bucket that a read returned.
    ///
    /// # Errors
    ///
    /// If it lacks a name, a number or an identifier.
    pub fn into_bucket(self) -> Result<Bucket, Unreadable> {
        let unreadable = |what: &str| Unreadable(format!("a bucket has no {what} that is known"));
        let id = BucketId(self.id.ok_or_else(|| unreadable("Id"))?);
        let name = self.name.ok_or_else(|| unreadable("Name"))?;
        let key = self.identifier.as_deref().and_then(|key| key.parse().ok());
        let key = key.ok_or_else(|| unreadable("Identifier"))?;
        // One with several options, or with one of a later version, is read for all that.
        let options = self.options.and_then(|options| options.known()).unwrap_or(BucketOptions::None);
        Ok(Bucket::known(id, key, NewBucket::new(name).description(self.description).options(options)))
    }
}

/// Headers, as parallel lists of names and values.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HeadersDto {
    #[serde(default)]
    pub keys: Vec<String>,
    #[serde(default)]
    pub values: Vec<String>,
}

/// The address of one file, for a while. No Debug here: it has the right to the file in it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct FileAccessDto {
    pub uri: String,
    pub verb: String,
    /// Whether the request needs the token of the API. Anything else must not get it.
    #[serde(default)]
    pub requires_auth: bool,
    #[serde(default)]
    pub headers: Option<HeadersDto>,
}

/// A file in an answer of ListFiles, whose members begin with small letters.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedFileDto {
    pub full_path: String,
    #[serde(default)]
    pub content_type: Option<String>,
    #[serde(default)]
    pub size: i64,
    #[serde(default)]
    pub last_modified: Option<ApiTime>,
    #[serde(default)]
    pub access_info: Option<FileAccessDto>,
}

/// The answer of ListFiles.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedFilesDto {
    #[serde(default)]
    pub items: Vec<ListedFileDto>,
    #[serde(default)]
    pub continuation_token: Option<String>,
}

impl ListedFileDto {
    /// A file of a list.
    pub fn of(file: &BucketFile, access_info: Option<FileAccessDto>) -> Self {
        Self {
            full_path: full_path(&file.path),
            content_type: Some(file.content_type.clone()),
            size: i64::try_from(file.size).unwrap_or(i64::MAX),
            last_modified: file.modified.map(ApiTime),
            access_info,
        }
    }

    /// The file.
    pub fn into_file(self) -> BucketFile {
        let path = self.full_path.trim_start_matches('/');
        let mut file = BucketFile::new(
            path,
            u64::try_from(self.size).unwrap_or_default(),
            self.last_modified.map(|t| t.0),
        );
        if let Some(content_type) = self.content_type {
            file.content_type = content_type;
        }
        file
    }
}

/// A path as the API shows it: from the root of the bucket on, which is a slash.
pub fn full_path(path: &str) -> String {
    format!("/{path}")
}

/// The body of ShareToFolders: buckets to add to folders and to remove from others.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ShareBucketsRequest {
    pub bucket_ids: Vec<i64>,
    pub to_add_folder_ids: Option<Vec<i64>>,
    pub to_remove_folder_ids: Option<Vec<i64>>,
}

/// What reads return of a bucket.
#[cfg(feature = "server")]
pub fn bucket_response(bucket: &Bucket) -> Value {
    json!({
        "Name": bucket.name,
        "Description": bucket.description,
        "Identifier": bucket.key.to_string(),
        "StorageProvider": null,
        "StorageParameters": null,
        "StorageContainer": null,
        "Options": bucket.options.name(),
        "CredentialStoreId": null,
        "ExternalName": null,
        "Password": null,
        "FoldersCount": bucket.folders.len(),
        "Tags": [],
        "Id": bucket.id.0,
    })
}

/// What GetFiles and GetFile return of a file.
#[cfg(feature = "server")]
pub fn file_response(file: &BucketFile) -> Value {
    let path = full_path(&file.path);
    json!({
        "FullPath": path,
        "ContentType": file.content_type,
        "Size": file.size,
        "IsDirectory": false,
        "Id": path,
    })
}

/// What GetDirectories returns of a directory.
#[cfg(feature = "server")]
pub fn directory_response(path: &str) -> Value {
    let path = full_path(path);
    json!({ "FullPath": path, "ContentType": null, "Size": 0, "IsDirectory": true, "Id": path })
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use super::*;

    fn new(body: &str) -> Result<NewBucket, Refusal> {
        crate::json::request::<BucketDto>(body.as_bytes()).expect("the body is a bucket").into_new()
    }

    #[test]
    fn a_body_is_a_bucket_or_says_why_not() {
        let key = "6f1c0000-0000-4000-8000-000000000001";
        let made = new(&format!(
            r#"{{"name":"Files","Identifier":"{key}","Options":"readonly","StorageProvider":null,"Description":""}}"#
        ));
        let made = made.unwrap();
        assert_eq!(
            (made.name.as_str(), made.options, made.description),
            ("Files", BucketOptions::ReadOnly, None)
        );
        assert_eq!(made.key.unwrap().to_string(), key);
        assert_eq!(
            new(r#"{"Name":"x","Options":4}"#).unwrap().options,
            BucketOptions::AccessDataThroughOrchestrator
        );
        for (body, code) in [
            (r"{}", 1014),
            (r#"{"Name":"x","Identifier":"y"}"#, 1009),
            (r#"{"Name":"x","Options":"Fast"}"#, 1009),
            (r#"{"Name":"x","StorageProvider":"Amazon"}"#, 1009),
        ] {
            assert_eq!(new(body).unwrap_err().code().number(), code, "{body}");
        }
    }

    #[test]
    fn what_the_server_writes_the_client_reads() {
        let mut about =
            NewBucket::new("Files").description("d".to_owned()).options(BucketOptions::AuditReadAccess);
        about.key = Some("6f1c0000-0000-4000-8000-000000000001".parse().unwrap());
        let bucket = Bucket::known(BucketId(5), about.key.unwrap(), about.clone());
        let read: BucketDto = serde_json::from_value(bucket_response(&bucket)).unwrap();
        assert_eq!(read.into_bucket().unwrap(), bucket);
        let sent = serde_json::to_string(&BucketDto::of(&about)).unwrap();
        assert_eq!(new(&sent).unwrap(), about);
        let file = BucketFile::new("a/b.pdf", 7, Some(jiff::Timestamp::UNIX_EPOCH));
        let listed = serde_json::to_string(&ListedFileDto::of(&file, None)).unwrap();
        assert_eq!(serde_json::from_str::<ListedFileDto>(&listed).unwrap().into_file(), file);
    }
}
