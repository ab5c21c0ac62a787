//! The assets that the transactions of a job read, each from the back end once a minute.

use std::any::type_name;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use crate::model::{AssetValue, Credential, RobotAsset};
use crate::orchestrator::{BoxFuture, Orchestrator, OrchestratorError, Result};

/// How long a value is used before it is read again.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// A value, and when it was read. While it is read, all who want it wait for the one that reads it.
type Entry = Arc<tokio::sync::Mutex<Option<(Instant, RobotAsset)>>>;

pub(super) struct AssetCache {
    orchestrator: Arc<dyn Orchestrator>,
    entries: Mutex<HashMap<String, Entry>>,
}

impl fmt::Debug for AssetCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssetCache").finish_non_exhaustive()
    }
}

impl AssetCache {
    pub(super) fn new(orchestrator: Arc<dyn Orchestrator>) -> Self {
        Self { orchestrator, entries: Mutex::default() }
    }

    fn entry(&self, name: &str) -> Entry {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.entry(name.to_lowercase()).or_default().clone()
    }

    /// The back end that they are read from.
    pub(super) fn orchestrator(&self) -> &Arc<dyn Orchestrator> {
        &self.orchestrator
    }

    /// The value of an asset. An error is not kept.
    pub(super) fn read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<RobotAsset>> {
        Box::pin(async move {
            let entry = self.entry(name);
            let mut kept = entry.lock().await;
            if let Some((read_at, asset)) = &*kept
                && read_at.elapsed() < KEPT_FOR
            {
                return Ok(asset.clone());
            }
            let asset = self.orchestrator.read_asset(name).await?;
            *kept = Some((Instant::now(), asset.clone()));
            Ok(asset)
        })
    }
}

/// The value of an asset without a secret, as a value of a type.
pub(super) fn parse<T: DeserializeOwned>(asset: &RobotAsset) -> Result<T> {
    let json = match &asset.value {
        AssetValue::Bool(value) => Value::from(*value),
        AssetValue::Integer(value) => Value::from(*value),
        AssetValue::KeyValueList(pairs) => {
            pairs.iter().map(|pair| (pair.key.clone(), Value::from(pair.value.as_str()))).collect()
        }
        AssetValue::Text(text) => {
            // A text that is no text for the type may be the JSON of it: a decimal number, a list.
            let as_text = T::deserialize(Value::from(text.as_str())).ok();
            return as_text.or_else(|| serde_json::from_str(text).ok()).ok_or_else(|| unfit::<T>(asset));
        }
        AssetValue::Credential { .. } | AssetValue::Secret => {
            let value_type = asset.value.value_type();
            let message =
                format!("the asset {:?} is a {value_type}: read it with its own method", asset.name);
            return Err(OrchestratorError::invalid(message));
        }
    };
    T::deserialize(json).map_err(|_| unfit::<T>(asset))
}

/// Without the value: a text may be one that should not be in a log.
fn unfit<T>(asset: &RobotAsset) -> OrchestratorError {
    wrong_type(asset, type_name::<T>())
}

fn wrong_type(asset: &RobotAsset, wanted: &str) -> OrchestratorError {
    let message =
        format!("the value of the asset {:?}, a {}, is no {wanted}", asset.name, asset.value.value_type());
    OrchestratorError::invalid(message)
}

pub(super) fn credential(asset: &RobotAsset) -> Result<Credential> {
    match (&asset.value, asset.secret.clone()) {
        (AssetValue::Credential { user_name }, Some(password)) => {
            Ok(Credential { user_name: user_name.clone(), password })
        }
        _ => Err(wrong_type(asset, "credential")),
    }
}

pub(super) fn secret(asset: &RobotAsset) -> Result<SecretString> {
    match (&asset.value, asset.secret.clone()) {
        (AssetValue::Secret, Some(secret)) => Ok(secret),
        _ => Err(wrong_type(asset, "secret")),
    }
}
