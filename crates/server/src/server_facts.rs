//! What the server says about itself to tools that look before they work: settings, the tenant, licences and counts. It has no
//! licences and one time zone, and says so; what it does not know it leaves out (docs/guide/orchestrator-api.md).

use std::sync::Arc;

use serde_json::Value;

use super::api_error::ApiError;
use super::call::{ApiResponse, Call};
use super::jobs;
use super::status::API_VERSION;
use crate::permission::{Action, Area, Permission};
use performer_core::model::job::JobState;
use performer_core::model::key::FolderId;
use performer_core::model::robot::RobotState;
use performer_core::orchestrator::FleetAdministration as _;
use performer_wire::odata::{EntitySet, entity_set};
use performer_wire::responses::{self, TenantView};

type HandlerResult = Result<ApiResponse, ApiError>;

const TENANTS: &str = "Tenants";

// Settings

/// The settings that a client could need, by name. They are those of the command `performer serve`: none can be changed here.
fn all_settings(call: &Call) -> Vec<(&'static str, String)> {
    let config = &call.server.config;
    vec![
        ("Abp.Timing.TimeZone", UTC.1.to_owned()),
        ("Performer.ApiVersion", API_VERSION.to_owned()),
        ("Performer.ListLimitSeconds", config.list_limit.as_secs().to_string()),
        ("Performer.MaxBodyBytes", config.max_body.to_string()),
        ("Performer.MaxBulkBodyBytes", config.max_bulk_body.to_string()),
        ("Performer.RequestLimitSeconds", config.request_limit.as_secs().to_string()),
        ("Performer.Strict", config.is_strict().to_string()),
        ("Performer.Version", env!("CARGO_PKG_VERSION").to_owned()),
    ]
}

/// The time zone of all that the server computes, as people and as programs call it.
const UTC: (&str, &str) = ("(UTC) Coordinated Universal Time", "UTC");

pub(super) async fn list_settings(call: &Call) -> HandlerResult {
    let settings = all_settings(call).into_iter().map(|(name, value)| responses::setting(name, &value));
    call.page(&entity_set::SETTINGS, settings.collect())
}

pub(super) async fn get_setting(call: &Call) -> HandlerResult {
    let name = call.key.as_deref().unwrap_or_default();
    let found = all_settings(call).into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let (_, value) = found.ok_or_else(|| ApiError::not_found("The setting does not exist."))?;
    ApiResponse::ok(&responses::with_context(&call.context("Edm.String"), &responses::value_of(&value)))
}

/// One object that is no entity, with its context.
fn object(call: &Call, kind: &str, object: &Value) -> HandlerResult {
    let context = call.context(&format!("UiPath.Server.Configuration.OData.{kind}"));
    ApiResponse::ok(&responses::with_context(&context, object))
}

pub(super) async fn web_settings(call: &Call) -> HandlerResult {
    object(call, "ResponseDictionaryDto", &responses::dictionary(&all_settings(call)))
}

pub(super) async fn activity_settings(call: &Call) -> HandlerResult {
    object(call, "ActivitySettingsDto", &responses::activity_settings(API_VERSION))
}

pub(super) async fn time_zones(call: &Call) -> HandlerResult {
    object(call, "ListResultDtoOfNameValueDto", &responses::named_values(&[UTC]))
}

pub(super) async fn languages(call: &Call) -> HandlerResult {
    object(call, "ListResultDtoOfLanguageInfo", &responses::languages(&[("en", "English")]))
}

/// The settings that robots can be given: none.
pub(super) async fn execution_settings(call: &Call) -> HandlerResult {
    let may = |area, action| call.require(None, Permission(area, action));
    may(Area::Settings, Action::Edit)
        .or_else(|_| may(Area::Robots, Action::Create))
        .or_else(|_| may(Area::Robots, Action::Edit))?;
    let scope = match call.argument_as("scope")? {
        0_u8 => "Global",
        1 => "Robot",
        _ => return Err(ApiError::invalid_argument("Invalid argument 'scope'.")),
    };
    object(call, "ExecutionSettingsConfiguration", &responses::execution_settings(scope))
}

// Licences

pub(super) async fn license(call: &Call) -> HandlerResult {
    object(call, "LicenseDto", &responses::no_license_needed())
}

pub(super) async fn licenses_of_machines(call: &Call) -> HandlerResult {
    no_licenses(call, &entity_set::LICENSES_RUNTIME)
}

pub(super) async fn licenses_of_users(call: &Call) -> HandlerResult {
    no_licenses(call, &entity_set::LICENSES_NAMED_USER)
}

fn no_licenses(call: &Call, set: &EntitySet) -> HandlerResult {
    if !entity_set::is_robot_type(call.argument("robotType")?) {
        return Err(ApiError::invalid_argument("Invalid argument 'robotType'."));
    }
    call.page(set, Vec::new())
}

/// The use of licences over time: none.
pub(super) async fn license_use(_call: &Call) -> HandlerResult {
    ApiResponse::ok(&Vec::<Value>::new())
}

// The tenant

/// Also the key of the tenant is a number here, as in the vendor's document.
fn tenant(call: &Call) -> Result<TenantView<'_>, ApiError> {
    let tenant = call.directory()?.tenant();
    Ok(TenantView { id: tenant.id, key: tenant.key, name: &tenant.name })
}

pub(super) async fn list_tenants(call: &Call) -> HandlerResult {
    call.page(&entity_set::TENANTS, vec![responses::tenant(&tenant(call)?)])
}

pub(super) async fn get_tenant(call: &Call) -> HandlerResult {
    let (tenant, id) = (tenant(call)?, call.id()?);
    if i64::from(tenant.id) != id {
        return Err(ApiError::not_found(format!("Tenant {id} does not exist.")));
    }
    call.entity(TENANTS, responses::tenant(&tenant))
}

// Counts

/// How many assets and queues there are where the caller may see them. There are no processes and schedules to count.
pub(super) async fn counts(call: &Call) -> HandlerResult {
    let caller = call.caller()?;
    let folders_of = |area| -> Arc<[FolderId]> {
        let folders = caller.directory.folders().map(|folder| folder.id);
        folders.filter(|folder| caller.may(Some(*folder), Permission(area, Action::View))).collect()
    };
    let (of_assets, of_queues) = (folders_of(Area::Assets), folders_of(Area::Queues));
    let [may_view_assets, may_view_queues] = [&of_assets, &of_queues].map(|folders| !folders.is_empty());
    let store = call.store_for_caller();
    let assets = store.assets_in_folders(of_assets).await?.len() as u64;
    let queues = store.queues_in_folders(of_queues).await?.len() as u64;
    ApiResponse::ok(&[
        responses::count("Assets", assets, may_view_assets),
        responses::count("Queues", queues, may_view_queues),
    ])
}

/// How many jobs have ended in each way.
pub(super) async fn jobs_by_end(call: &Call) -> HandlerResult {
    let (mut successful, mut faulted, mut canceled) = (0, 0, 0);
    jobs::each_job(call, call.all_folders(), |job| match job.state {
        JobState::Successful => successful += 1,
        JobState::Faulted => faulted += 1,
        JobState::Stopped => canceled += 1,
        _ => {}
    })
    .await?;
    let counts = [("Successful", successful), ("Faulted", faulted), ("Canceled", canceled)];
    ApiResponse::ok(&counts.map(|(title, count)| responses::count(title, count, true)))
}

/// How many robots of performers are in each state. A robot that no longer beats is Disconnected, never Unresponsive.
pub(super) async fn robots_by_state(call: &Call) -> HandlerResult {
    let mut counts = RobotState::ALL.iter().map(|state| (*state, 0)).collect::<Vec<_>>();
    for folder in call.all_folders().iter() {
        for robot in call.store_in(*folder).list_robots().await? {
            if let Some((_, count)) = counts.iter_mut().find(|(state, _)| *state == robot.state) {
                *count += 1;
            }
        }
    }
    let mut counts: Vec<Value> =
        counts.iter().map(|(state, count)| responses::count(state.name(), *count, true)).collect();
    counts.insert(3, responses::count("Unresponsive", 0, true));
    ApiResponse::ok(&counts)
}
