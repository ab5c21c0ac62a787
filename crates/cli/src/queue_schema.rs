//! `performer queue schema`: shows and sets the JSON schemas of a queue.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use serde_json::value::RawValue;

use super::GlobalArgs;
use super::output::{self, CliError, CommandResult};
use performer_core::model::schema::{SCHEMA_LIMIT, SchemaOf, Schemas};

/// The largest file, in bytes. Spaces in it do not count against [`SCHEMA_LIMIT`].
const FILE_LIMIT: usize = 16 * SCHEMA_LIMIT;

/// Show or set the JSON schemas that the items of a queue have to match
#[derive(Args)]
#[command(after_help = "\
A schema that is set applies to items that are added and results that are reported from then on. Schemas that are not given are not\n\
changed; `none` removes one. The other settings of the queue are written back as they were read just before: do not change them\n\
elsewhere at the same time. In Rust, NewQueueDefinition::of makes schemas from types.\n\n  \
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
        // The text of a schema, because a `Value` has not all digits of its numbers, nor the order of its members.
        output::line(indented(&to_json(&queue.schemas)))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The schemas under the names of the Orchestrator's `JsonSchemaType`; null where there is none.
fn to_json(schemas: &Schemas) -> String {
    let of = |what| match schemas.of(what) {
        None => "null".to_owned(),
        // A server may hold what is no JSON; it is shown as it is.
        Some(text) => without_spaces(text).unwrap_or_else(|_| Value::from(&**text).to_string()),
    };
    let members: Vec<String> = SchemaOf::ALL.iter().map(|what| format!("\"{what}\":{}", of(*what))).collect();
    format!("{{{}}}", members.join(","))
}

/// Whether a character of a JSON text stands in a string. Gets one character after the other.
#[derive(Default)]
struct StringScan {
    is_within: bool,
    is_escaped: bool,
}

impl StringScan {
    /// Whether this character belongs to a string; its quotes do.
    fn is_in_string(&mut self, c: char) -> bool {
        let was_within = self.is_within;
        match c {
            _ if self.is_escaped => self.is_escaped = false,
            '\\' if was_within => self.is_escaped = true,
            '"' => self.is_within = !was_within,
            _ => {}
        }
        was_within || self.is_within
    }
}

/// A JSON text without the spaces between its parts. Nothing else is changed.
fn without_spaces(json: &str) -> Result<String, serde_json::Error> {
    let json = serde_json::from_str::<&RawValue>(json)?.get();
    let mut scan = StringScan::default();
    Ok(json.chars().filter(|c| scan.is_in_string(*c) || !c.is_ascii_whitespace()).collect())
}

/// A JSON text without spaces, with a line for each member and element.
fn indented(json: &str) -> String {
    fn new_line(shown: &mut String, depth: usize) {
        shown.push('\n');
        shown.push_str(&"  ".repeat(depth));
    }
    let (mut shown, mut depth, mut scan) = (String::new(), 0, StringScan::default());
    let mut rest = json.chars().peekable();
    while let Some(c) = rest.next() {
        let is_in_string = scan.is_in_string(c);
        match c {
            _ if is_in_string => shown.push(c),
            '{' | '[' => {
                shown.push(c);
                match rest.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => shown.push(end),
                    None => {
                        depth += 1;
                        new_line(&mut shown, depth);
                    }
                }
            }
            '}' | ']' => {
                depth -= 1;
                new_line(&mut shown, depth);
                shown.push(c);
            }
            ',' => {
                shown.push(c);
                new_line(&mut shown, depth);
            }
            ':' => shown.push_str(": "),
            _ => shown.push(c),
        }
    }
    shown
}

/// Reads a schema from a file; the word `none` is none.
fn read(file: &str) -> Result<Option<String>, CliError> {
    if file.eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    let failed = |error: std::io::Error| CliError::failed(format!("{file}: {error}"));
    let limit = FILE_LIMIT as u64 + 1; // a byte more, so that what is too large is refused and not cut
    let mut bytes = Vec::new();
    match file {
        "-" => std::io::stdin().take(limit).read_to_end(&mut bytes),
        path => {
            std::fs::File::open(Path::new(path)).and_then(|file| file.take(limit).read_to_end(&mut bytes))
        }
    }
    .map_err(failed)?;
    schema_of(bytes).map(Some).map_err(|why| CliError::failed(format!("{file}: {why}")))
}

/// The schema in a file. The error says why there is none.
fn schema_of(file: Vec<u8>) -> Result<String, String> {
    if file.len() > FILE_LIMIT {
        return Err(format!("the file has more than {FILE_LIMIT} bytes"));
    }
    let text = String::from_utf8(file).map_err(|_| "it is not UTF-8".to_owned())?;
    let schema = without_spaces(text.trim_start_matches('\u{feff}'))
        .map_err(|error| format!("it is no JSON: {error}"))?;
    if schema.len() > SCHEMA_LIMIT {
        return Err(format!(
            "the schema has {} bytes without spaces; at most {SCHEMA_LIMIT} are allowed",
            schema.len()
        ));
    }
    Ok(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers keep their digits, members their order, and strings their spaces.
    #[test]
    fn a_schema_loses_nothing_but_spaces() {
        const FILE: &str = "\u{feff}{\r\n\t\"maximum\": 99999999999999999999, \"b\" : [ 1.50, { } ],\n\
                            \"a\":\"x \\\" { \\\\\", \"b\": [ ] }\n";
        const SCHEMA: &str = r#"{"maximum":99999999999999999999,"b":[1.50,{}],"a":"x \" { \\","b":[]}"#;
        assert_eq!(schema_of(FILE.into()).as_deref(), Ok(SCHEMA));
        let schemas = Schemas {
            specific_data: Some(FILE.trim_start_matches('\u{feff}').into()),
            output_data: Some("no \"JSON\"".into()),
            analytics_data: None,
        };
        assert_eq!(
            indented(&to_json(&schemas)),
            r#"{
  "SpecificData": {
    "maximum": 99999999999999999999,
    "b": [
      1.50,
      {}
    ],
    "a": "x \" { \\",
    "b": []
  },
  "OutputData": "no \"JSON\"",
  "AnalyticsData": null
}"#
        );
    }

    #[test]
    fn the_limit_of_a_schema_does_not_count_spaces() {
        let spaced = |size: usize| format!("{{{}}}", " ".repeat(size - 2)).into_bytes();
        assert_eq!(schema_of(spaced(FILE_LIMIT)).as_deref(), Ok("{}"));
        let of_size = |size: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(size - 8));
        assert!(schema_of(of_size(SCHEMA_LIMIT).into()).is_ok());
        // A character across the end of what is read does not hide that the file is too large.
        let cut = [spaced(FILE_LIMIT), "é".as_bytes()[..1].to_vec()].concat();
        for (file, part) in [
            (of_size(SCHEMA_LIMIT + 1).into_bytes(), "has 256001 bytes without spaces"),
            (cut, "the file has more than 4096000 bytes"),
            (b"{\"a\":\"\xff\"}".to_vec(), "it is not UTF-8"),
            (b"{".to_vec(), "it is no JSON"),
        ] {
            let why = schema_of(file).unwrap_err();
            assert!(why.contains(part), "{part}: {why}");
        }
    }
}
