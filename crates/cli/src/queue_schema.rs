//! `performer queue schema`: shows and sets the JSON schemas of a queue.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::GlobalArgs;
use super::output::{self, CliError, CommandResult};
use performer_core::model::schema::{SCHEMA_LIMIT, SchemaOf, Schemas};

/// Show or set the JSON schemas that the items of a queue have to match
#[derive(Args)]
#[command(after_help = "\
A schema that is set applies to items that are added and results that are reported from then on. Schemas that are not given are not\n\
changed; `none` removes one. In Rust, NewQueueDefinition::of makes them from types.\n\n  \
performer queue schema Invoices\n  \
performer queue schema Invoices --content invoice.schema.json --output posted.schema.json\n  \
performer queue schema Invoices --analytics none")]
pub(super) struct Schema {
    /// The name of the queue
    name: String,
    /// A file with the schema of the content (SpecificContent); - for stdin; or none
    #[arg(long, value_name = "FILE")]
    content: Option<String>,
    /// A file with the schema of the output; - for stdin; or none
    #[arg(long, value_name = "FILE")]
    output: Option<String>,
    /// A file with the schema of the analytics; - for stdin; or none
    #[arg(long, value_name = "FILE")]
    analytics: Option<String>,
    #[command(flatten)]
    global: GlobalArgs,
}

impl Schema {
    pub(super) async fn run(self) -> CommandResult {
        let given = [&self.content, &self.output, &self.analytics];
        if given.iter().filter(|file| file.as_deref() == Some("-")).count() > 1 {
            return Err(CliError::usage("only one schema can be read from stdin"));
        }
        // Read first, so that a file that is missing changes nothing.
        let [content, output, analytics] = given.map(|file| file.as_deref().map(read).transpose());
        let (content, output, analytics) = (content?, output?, analytics?);
        let orchestrator = self.global.connect().await?;
        let mut queue = orchestrator.get_queue(&self.name).await?;
        if content.is_some() || output.is_some() || analytics.is_some() {
            let mut settings = queue.settings();
            let Schemas { specific_data, output_data, analytics_data } = &mut settings.schemas;
            for (schema, change) in
                [(specific_data, content), (output_data, output), (analytics_data, analytics)]
            {
                if let Some(new) = change {
                    *schema = new.map(Into::into);
                }
            }
            queue = orchestrator.update_queue(&self.name, settings).await?;
        }
        let shown = to_json(&queue.schemas);
        if self.global.json {
            output::json(&shown)?;
        } else {
            output::line(serde_json::to_string_pretty(&shown).unwrap_or_default())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The schemas under the names of the Orchestrator's `JsonSchemaType`; null where there is none.
fn to_json(schemas: &Schemas) -> Value {
    let of = |what| {
        let text = schemas.of(what)?;
        // A server may hold what is no JSON; it is shown as it is.
        Some(serde_json::from_str(text).unwrap_or_else(|_| Value::from(&**text)))
    };
    SchemaOf::ALL
        .iter()
        .map(|what| (what.to_string(), json!(of(*what))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Reads a schema from a file; the word `none` is none.
fn read(file: &str) -> Result<Option<String>, CliError> {
    if file.eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    let failed = |error: std::io::Error| CliError::failed(format!("{file}: {error}"));
    // A byte more than is allowed, so that what is too large is refused and not cut.
    let limit = SCHEMA_LIMIT as u64 + 1;
    let mut text = String::new();
    match file {
        "-" => std::io::stdin().take(limit).read_to_string(&mut text),
        path => {
            std::fs::File::open(Path::new(path)).and_then(|file| file.take(limit).read_to_string(&mut text))
        }
    }
    .map_err(failed)?;
    if text.len() > SCHEMA_LIMIT {
        return Err(CliError::failed(format!("{file}: the schema has more than {SCHEMA_LIMIT} bytes")));
    }
    let text = text.trim_start_matches('\u{feff}').trim();
    let schema: Value = serde_json::from_str(text)
        .map_err(|error| CliError::failed(format!("{file}: it is no JSON: {error}")))?;
    // Without the spaces that were in the file.
    Ok(Some(schema.to_string()))
}
