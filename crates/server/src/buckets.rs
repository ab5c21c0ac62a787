//! Storage buckets (orchestrator-api 18). Files travel at addresses of their own, which are signed: those of the storage where it has some,
//! else those of this server (`bucket_content.rs`).

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::Value;

use super::api_error::ApiError;
use super::bucket_content::{self, SignedFile};
use super::call::{ApiResponse, Call, MAX_ROWS};
use super::shared_resources::{Sharing, accessible_folders, find_in_any_folder, folders_of_list, reach};
use super::strict;
use crate::permission::{Action, Area, Permission};
use performer_core::model::bucket::{
    Bucket, BucketId, BucketOptions, Directory, FilePath, PathPrefix, matches_glob,
};
use performer_core::model::key::FolderId;
use performer_store::{AddressUse, BucketSelector, FileAct, Store};
use performer_wire::bucket::{
    BucketDto, FileAccessDto, HeadersDto, ListedFileDto, ListedFilesDto, ShareBucketsRequest,
    bucket_response, directory_response, file_response,
};
use performer_wire::odata::entity_set;
use performer_wire::responses;

type HandlerResult = Result<ApiResponse, ApiError>;

const ENTITY: &str = "Buckets";

/// How many files GetFiles and GetDirectories look at.
const MAX_LISTED: usize = 10_000;

/// How many files an answer of ListFiles has, if the caller does not say, and the most (orchestrator-api 18).
const TAKE_HINT: usize = 500;
const MAX_TAKE_HINT: usize = 1_000;

/// How long an address is valid, in minutes, if the caller does not say. Ours; the most is that of S3, a week.
const EXPIRY: u64 = 30;
const MAX_EXPIRY: u64 = 7 * 24 * 60;

const VIEW: Permission = Permission(Area::Buckets, Action::View);
const CREATE: Permission = Permission(Area::Buckets, Action::Create);
const EDIT: Permission = Permission(Area::Buckets, Action::Edit);
const DELETE: Permission = Permission(Area::Buckets, Action::Delete);

async fn by_id(call: &Call) -> Result<(Store, Bucket), ApiError> {
    let store = call.store()?;
    let bucket = store.find_bucket(BucketSelector::Id(BucketId(call.id()?))).await?;
    Ok((store, bucket))
}

fn rows(buckets: &[Bucket]) -> Vec<Value> {
    buckets.iter().map(bucket_response).collect()
}

pub(super) async fn list(call: &Call) -> HandlerResult {
    let buckets = call.store_for_caller().buckets_in_folders(call.all_folders()).await?;
    call.page(&entity_set::BUCKETS, rows(&buckets))
}

pub(super) async fn get(call: &Call) -> HandlerResult {
    let (_, bucket) = by_id(call).await?;
    call.entity(ENTITY, bucket_response(&bucket))
}

/// GetByKey, which is not in the vendor's document: its SDKs call it.
pub(super) async fn get_by_key(call: &Call) -> HandlerResult {
    let key = BucketSelector::Key(call.argument_as("identifier")?);
    let bucket = call.store()?.find_bucket(key).await?;
    call.entity(ENTITY, bucket_response(&bucket))
}

pub(super) async fn create(call: &Call) -> HandlerResult {
    let new = call.body::<BucketDto>(&strict::BUCKET)?.into_new()?;
    let bucket = call.store()?.add_bucket(new).await?;
    call.created(ENTITY, bucket.id.0, bucket_response(&bucket))
}

/// A bucket is changed in all its folders, so the permission is needed in each.
pub(super) async fn update(call: &Call) -> HandlerResult {
    let new = call.body::<BucketDto>(&strict::BUCKET)?.into_new()?;
    let which = BucketSelector::Id(BucketId(call.id()?));
    let bucket = call.store()?.replace_bucket(which, new, reach(call, EDIT)?).await?;
    call.entity(ENTITY, bucket_response(&bucket))
}

pub(super) async fn delete(call: &Call) -> HandlerResult {
    let which = BucketSelector::Id(BucketId(call.id()?));
    call.store()?.delete_bucket_within(which, reach(call, DELETE)?).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

/// A bucket in any folder where the caller has a permission.
async fn find_anywhere(call: &Call, id: i64, permission: Permission) -> Result<(Bucket, FolderId), ApiError> {
    let find = |store: Store| async move { store.find_bucket(BucketSelector::Id(BucketId(id))).await };
    find_in_any_folder(call, ("Bucket", id), permission, find).await
}

pub(super) async fn folders_for_bucket(call: &Call) -> HandlerResult {
    let (bucket, _) = find_anywhere(call, call.argument_as("id")?, VIEW).await?;
    accessible_folders(call, &bucket.folders)
}

pub(super) async fn across_folders(call: &Call) -> HandlerResult {
    let buckets = call.store_for_caller().buckets_in_folders(folders_of_list(call, VIEW)?).await?;
    call.page(&entity_set::BUCKETS, rows(&buckets))
}

/// Needs the permission to edit the bucket where it is, and to create buckets in the new folders.
pub(super) async fn share(call: &Call) -> HandlerResult {
    let body: ShareBucketsRequest = call.body(&strict::SHARE_BUCKETS)?;
    let sharing = Sharing::new(body.to_add_folder_ids, body.to_remove_folder_ids);
    sharing.check(call, ("BucketIds", body.bucket_ids.len()), [CREATE, EDIT])?;
    let mut buckets = Vec::new();
    for id in body.bucket_ids {
        buckets.push(find_anywhere(call, id, EDIT).await?);
    }
    for (bucket, folder) in buckets {
        let (add, remove) = (sharing.add.clone(), sharing.remove.clone());
        call.store_in(folder).share_bucket_of_folder(BucketSelector::Id(bucket.id), add, remove).await?;
    }
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

fn path(call: &Call) -> Result<FilePath, ApiError> {
    Ok(FilePath::parse(call.argument("path")?)?)
}

/// An argument that may be absent, as clients send it: an empty text counts as none.
fn optional<T: std::str::FromStr>(call: &Call, name: &str) -> Result<Option<T>, ApiError> {
    match call.optional_argument(name) {
        None | Some("") => Ok(None),
        Some(_) => call.argument_as(name).map(Some),
    }
}

fn optional_flag(call: &Call, name: &str) -> Result<bool, ApiError> {
    match call.optional_argument(name).unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "false" => Ok(false),
        "true" => Ok(true),
        _ => Err(ApiError::invalid_argument(format!("Invalid argument '{name}'."))),
    }
}

fn expiry(call: &Call) -> Result<Option<Duration>, ApiError> {
    let Some(minutes) = optional::<u64>(call, "expiryInMinutes")? else { return Ok(None) };
    if !(1..=MAX_EXPIRY).contains(&minutes) {
        let message = format!("Invalid argument 'expiryInMinutes': it must be between 1 and {MAX_EXPIRY}.");
        return Err(ApiError::invalid_argument(message));
    }
    Ok(Some(Duration::from_secs(60 * minutes)))
}

/// The address of a file.
async fn access(
    call: &Call,
    (store, bucket): (&Store, &Bucket),
    path: FilePath,
    address_use: AddressUse,
    valid_for: Duration,
) -> Result<FileAccessDto, ApiError> {
    let verb = match address_use {
        AddressUse::Read => "GET",
        AddressUse::Write => "PUT",
    };
    let (uri, headers) = match store.address_of_file(bucket, &path, address_use, valid_for).await? {
        Some(address) => (address.uri, address.headers),
        None => {
            let file = SignedFile { folder: call.folder()?, bucket: bucket.id, path, address_use };
            (bucket_content::uri(&call.server, &call.base, &file, valid_for).await?, Vec::new())
        }
    };
    let headers = HeadersDto {
        keys: headers.iter().map(|(name, _)| (*name).to_owned()).collect(),
        values: headers.iter().map(|(_, value)| (*value).to_owned()).collect(),
    };
    Ok(FileAccessDto { uri, verb: verb.to_owned(), requires_auth: false, headers: Some(headers) })
}

fn access_response(call: &Call, access: &FileAccessDto) -> HandlerResult {
    let object = serde_json::to_value(access).map_err(|error| ApiError::internal(error.to_string()))?;
    let object = call.options()?.selected(object)?;
    let context = call.context("UiPath.Server.Configuration.OData.BlobFileAccessDto");
    ApiResponse::ok(&responses::with_context(&context, &object))
}

pub(super) async fn read_uri(call: &Call) -> HandlerResult {
    let (path, valid_for) = (path(call)?, expiry(call)?.unwrap_or(Duration::from_secs(60 * EXPIRY)));
    let (store, bucket) = by_id(call).await?;
    let shown = path.to_string();
    let access = access(call, (&store, &bucket), path, AddressUse::Read, valid_for).await?;
    if bucket.options == BucketOptions::AuditReadAccess {
        store.note_file_act(FileAct::Read, &bucket, &shown).await?;
    }
    access_response(call, &access)
}

pub(super) async fn write_uri(call: &Call) -> HandlerResult {
    let (path, valid_for) = (path(call)?, expiry(call)?.unwrap_or(Duration::from_secs(60 * EXPIRY)));
    let (store, bucket) = by_id(call).await?;
    bucket.may_be_written()?;
    access_response(call, &access(call, (&store, &bucket), path, AddressUse::Write, valid_for).await?)
}

/// All files below the directory of a call, with what follows it in their paths.
async fn below_directory(
    call: &Call,
) -> Result<(Directory, Vec<performer_core::model::bucket::BucketFile>), ApiError> {
    let directory = Directory::parse(call.optional_argument("directory").unwrap_or_default())?;
    let (store, bucket) = by_id(call).await?;
    let prefix = match directory.as_str() {
        "" => PathPrefix::default(),
        path => PathPrefix::parse(&format!("{path}/"))?,
    };
    let (files, has_more) = store.find_files(&bucket, &prefix, "", MAX_LISTED).await?;
    if has_more {
        let message = format!(
            "Invalid argument 'directory': it has more than {MAX_LISTED} files. Use /api/Buckets/{}/ListFiles.",
            bucket.id
        );
        return Err(ApiError::invalid_argument(message));
    }
    Ok((directory, files))
}

/// The pattern of a call for names; without one all match.
fn name_matches(call: &Call) -> impl Fn(&str) -> bool {
    let pattern = call.optional_argument("fileNameGlob").filter(|glob| !glob.is_empty());
    move |name| pattern.is_none_or(|pattern| matches_glob(pattern, name))
}

pub(super) async fn get_files(call: &Call) -> HandlerResult {
    let is_recursive = optional_flag(call, "recursive")?;
    let (directory, files) = below_directory(call).await?;
    let is_wanted = name_matches(call);
    let wanted = files.iter().filter(|file| {
        let rest = directory.rest_of(&file.path).unwrap_or(&file.path);
        let (is_below, name) = rest.rsplit_once('/').map_or((false, rest), |(_, name)| (true, name));
        (is_recursive || !is_below) && is_wanted(name)
    });
    call.page(&entity_set::BLOB_FILES, wanted.map(file_response).collect())
}

pub(super) async fn get_directories(call: &Call) -> HandlerResult {
    let (directory, files) = below_directory(call).await?;
    let is_wanted = name_matches(call);
    let names = files.iter().filter_map(|file| Some(directory.rest_of(&file.path)?.split_once('/')?.0));
    let names: BTreeSet<&str> = names.filter(|name| is_wanted(name)).collect();
    let whole = |name: &&str| match directory.as_str() {
        "" => directory_response(name),
        path => directory_response(&format!("{path}/{name}")),
    };
    call.page(&entity_set::BLOB_FILES, names.iter().map(whole).collect())
}

pub(super) async fn get_file(call: &Call) -> HandlerResult {
    let path = path(call)?;
    let (store, bucket) = by_id(call).await?;
    let object = call.options()?.selected(file_response(&store.find_file(&bucket, &path).await?))?;
    let context = call.context("UiPath.Server.Configuration.OData.BlobFileDto");
    ApiResponse::ok(&responses::with_context(&context, &object))
}

pub(super) async fn delete_file(call: &Call) -> HandlerResult {
    let path = path(call)?;
    let (store, bucket) = by_id(call).await?;
    store.delete_file(&bucket, &path).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

/// ListFiles. Its answer has addresses of the files if the caller says how long they are to be valid, and reads are not audited.
pub(super) async fn list_files(call: &Call) -> HandlerResult {
    let prefix = PathPrefix::parse(call.optional_argument("prefix").unwrap_or_default())?;
    let take = optional::<usize>(call, "takeHint")?.unwrap_or(TAKE_HINT);
    if !(1..=MAX_TAKE_HINT.min(MAX_ROWS)).contains(&take) {
        let message = format!("Invalid argument 'takeHint': it must be between 1 and {MAX_TAKE_HINT}.");
        return Err(ApiError::invalid_argument(message));
    }
    let valid_for = expiry(call)?;
    let token = call.optional_argument("continuationToken").filter(|token| !token.is_empty());
    let (store, bucket) = by_id(call).await?;
    let listed = store.list_files(&bucket, &prefix, token, take).await?;
    let valid_for = valid_for.filter(|_| bucket.options != BucketOptions::AuditReadAccess);
    let mut items = Vec::with_capacity(listed.files.len());
    for file in &listed.files {
        let address = match valid_for {
            // A file that another program put into the folder may have a path without an address.
            Some(valid_for) => match FilePath::parse(&file.path) {
                Ok(path) => Some(access(call, (&store, &bucket), path, AddressUse::Read, valid_for).await?),
                Err(_) => None,
            },
            None => None,
        };
        items.push(ListedFileDto::of(file, address));
    }
    ApiResponse::ok(&ListedFilesDto { items, continuation_token: listed.next })
}
