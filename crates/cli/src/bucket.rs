//! `performer bucket`: storage buckets and their files, over a store or over HTTP.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use clap::{Args, Subcommand, ValueEnum};
use futures_util::{StreamExt as _, stream};
use performer_core::model::bucket::{Bucket, BucketFile, BucketOptions, FilePath, NewBucket};
use performer_core::model::key::FolderId;
use performer_core::orchestrator::{
    Administration, BucketAdministration, ErrorKind, FileStream, OrchestratorError,
};
use performer_wire::bucket::{bucket_response, file_response};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use super::GlobalArgs;
use super::output::{self, CliError, Column, CommandResult, ListOutput};

/// How much of a file is read at once, in bytes.
const PIECE: usize = 64 * 1024;

/// List, create, show, change, share and delete storage buckets, and their files
#[derive(Subcommand)]
pub(super) enum Buckets {
    List(List),
    Show(Show),
    Create(Create),
    Edit(Edit),
    Delete(Delete),
    Share(Share),
    #[command(subcommand)]
    File(Files),
}

/// List the storage buckets
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer bucket list\n  \
performer bucket list --json")]
pub(super) struct List {
    #[command(flatten)]
    output: ListOutput,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Show a storage bucket
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer bucket show Invoices")]
pub(super) struct Show {
    /// The name of the bucket
    name: String,
    #[command(flatten)]
    global: GlobalArgs,
}

/// What is special about a bucket.
#[derive(Clone, Copy, ValueEnum)]
enum Options {
    /// Nothing
    None,
    /// Its files can be read, and not written or deleted
    ReadOnly,
    /// The audit records who reads its files
    AuditReads,
    /// Files travel through the server, also where clients could be sent to the storage
    ThroughServer,
}

impl From<Options> for BucketOptions {
    fn from(options: Options) -> Self {
        match options {
            Options::None => Self::None,
            Options::ReadOnly => Self::ReadOnly,
            Options::AuditReads => Self::AuditReadAccess,
            Options::ThroughServer => Self::AccessDataThroughOrchestrator,
        }
    }
}

/// Create a storage bucket
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer bucket create Invoices\n  \
performer bucket create Contracts --description 'signed contracts' --options audit-reads")]
pub(super) struct Create {
    /// The name of the bucket
    name: String,
    /// What the bucket is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// What is special about it
    #[arg(long, value_name = "OPTIONS", default_value = "none")]
    options: Options,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Change the name, the description or the options of a storage bucket
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer bucket edit Invoices --options read-only\n  \
performer bucket edit Invoices --name 'Old invoices'")]
pub(super) struct Edit {
    /// The name of the bucket
    name: String,
    /// The new name
    #[arg(long = "name", id = "new_name", value_name = "NAME")]
    new_name: Option<String>,
    /// What the bucket is for; an empty text removes it
    #[arg(long, value_name = "TEXT", required_unless_present_any = ["new_name", "options"])]
    description: Option<String>,
    /// What is special about it
    #[arg(long, value_name = "OPTIONS")]
    options: Option<Options>,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Delete a storage bucket from all its folders, with its files
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer bucket delete Invoices")]
pub(super) struct Delete {
    /// The name of the bucket
    name: String,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Add a storage bucket to folders of a server, or remove it from some; it is one bucket in all of them
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer bucket share Invoices --add 7\n  \
performer bucket share Invoices --add 7 --remove 1")]
pub(super) struct Share {
    /// The name of the bucket
    name: String,
    /// The number of a folder to add it to; can be repeated
    #[arg(long, value_name = "ID", required_unless_present = "remove")]
    add: Vec<i64>,
    /// The number of a folder to remove it from; can be repeated
    #[arg(long, value_name = "ID")]
    remove: Vec<i64>,
    #[command(flatten)]
    global: GlobalArgs,
}

/// List, write, read and delete the files of a storage bucket
#[derive(Subcommand)]
pub(super) enum Files {
    List(ListFiles),
    Put(Put),
    Get(Get),
    Delete(DeleteFile),
}

/// List the files of a storage bucket
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer bucket file list Invoices\n  \
performer bucket file list Invoices 2026/")]
pub(super) struct ListFiles {
    /// The name of the bucket
    bucket: String,
    /// The beginning of the paths
    #[arg(default_value = "")]
    prefix: String,
    #[command(flatten)]
    output: ListOutput,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Write a file into a storage bucket, or replace one
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer bucket file put Invoices invoice.pdf\n  \
performer bucket file put Invoices invoice.pdf --path 2026/0815.pdf\n  \
tar -c folder | performer bucket file put Invoices - --path folder.tar")]
pub(super) struct Put {
    /// The name of the bucket
    bucket: String,
    /// The file to read; - for stdin
    file: PathBuf,
    /// The path in the bucket [default: the name of the file]
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Read a file of a storage bucket
#[derive(Args)]
#[command(after_help = "\
The file is there once all of it was read.\n\n\
Examples:\n  \
performer bucket file get Invoices 2026/0815.pdf\n  \
performer bucket file get Invoices 2026/0815.pdf --to invoice.pdf\n  \
performer bucket file get Invoices folder.tar --to - | tar -x")]
pub(super) struct Get {
    /// The name of the bucket
    bucket: String,
    /// The path in the bucket
    path: String,
    /// The file to write; - for stdout [default: the name of the file, in this folder]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Delete a file of a storage bucket
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer bucket file delete Invoices 2026/0815.pdf")]
pub(super) struct DeleteFile {
    /// The name of the bucket
    bucket: String,
    /// The path in the bucket
    path: String,
    #[command(flatten)]
    global: GlobalArgs,
}

impl Buckets {
    pub(super) async fn run(self) -> CommandResult {
        match self {
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
            Self::Create(create) => create.run().await,
            Self::Edit(edit) => edit.run().await,
            Self::Delete(delete) => delete.run().await,
            Self::Share(share) => share.run().await,
            Self::File(Files::List(list)) => list.run().await,
            Self::File(Files::Put(put)) => put.run().await,
            Self::File(Files::Get(get)) => get.run().await,
            Self::File(Files::Delete(delete)) => delete.run().await,
        }
    }
}

/// The buckets of a back end, which it has to have.
fn of_back_end(orchestrator: &Arc<dyn Administration>) -> Result<&dyn BucketAdministration, CliError> {
    orchestrator.buckets().ok_or_else(|| CliError::failed("this back end has no storage buckets"))
}

/// A bucket as the API shows it. Over HTTP its folders are not known.
fn as_json(bucket: &Bucket) -> Value {
    let mut object = bucket_response(bucket);
    if let Some(members) = object.as_object_mut()
        && bucket.folders.is_empty()
    {
        members.remove("FoldersCount");
    }
    object
}

const COLUMNS: [Column; 4] =
    [Column::plain("ID"), Column::text("NAME"), Column::plain("OPTIONS"), Column::text("DESCRIPTION")];

impl List {
    async fn run(self) -> CommandResult {
        let format = self.output.format()?;
        let orchestrator = self.global.connect().await?;
        let buckets = of_back_end(&orchestrator)?.list_buckets().await?;
        if format.has_columns() {
            let row = |bucket: &Bucket| {
                vec![
                    bucket.id.to_string(),
                    bucket.name.clone(),
                    bucket.options.to_string(),
                    bucket.description.clone().unwrap_or_default(),
                ]
            };
            format.print_columns(&COLUMNS, &buckets.iter().map(row).collect::<Vec<_>>())?;
        } else {
            let rows: Vec<Value> = buckets.iter().map(as_json).collect();
            format.print(&rows, &[], |_| Vec::new())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Show {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let bucket = of_back_end(&orchestrator)?.get_bucket(&self.name).await?;
        if output::is_json() {
            output::json(&as_json(&bucket))?;
        } else {
            output::list(&[
                ("Bucket", bucket.name.clone()),
                ("Id", bucket.id.to_string()),
                ("Identifier", bucket.key.to_string()),
                ("Options", bucket.options.to_string()),
                ("Description", bucket.description.unwrap_or_default()),
            ])?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn tell(bucket: &Bucket, what: &str) -> CommandResult {
    if output::is_json() {
        output::json(&as_json(bucket))?;
    } else {
        output::line(format!("bucket {:?} was {what}", bucket.name))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Create {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let description = self.description.filter(|text| !text.is_empty());
        let new = NewBucket::new(self.name).description(description).options(self.options.into());
        tell(&of_back_end(&orchestrator)?.create_bucket(new).await?, "created")
    }
}

impl Edit {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let buckets = of_back_end(&orchestrator)?;
        let there = buckets.get_bucket(&self.name).await?;
        let description =
            self.description.map_or(there.description, |text| Some(text).filter(|text| !text.is_empty()));
        let new = NewBucket::new(self.new_name.unwrap_or(there.name))
            .description(description)
            .options(self.options.map_or(there.options, Into::into));
        tell(&buckets.update_bucket(&self.name, new).await?, "changed")
    }
}

impl Delete {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        of_back_end(&orchestrator)?.delete_bucket(&self.name).await?;
        output::line(format!("bucket {:?} was deleted", self.name))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Share {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let folders = |ids: Vec<i64>| ids.into_iter().map(FolderId).collect();
        let (add, remove) = (folders(self.add), folders(self.remove));
        of_back_end(&orchestrator)?.share_bucket(&self.name, add, remove).await?;
        output::line(format!("the folders of bucket {:?} were changed", self.name))?;
        Ok(ExitCode::SUCCESS)
    }
}

const FILE_COLUMNS: [Column; 4] =
    [Column::text("PATH"), Column::plain("SIZE"), Column::plain("MODIFIED"), Column::plain("TYPE")];

impl ListFiles {
    async fn run(self) -> CommandResult {
        let format = self.output.format()?;
        let orchestrator = self.global.connect().await?;
        let buckets = of_back_end(&orchestrator)?;
        let (mut files, mut after) = (Vec::new(), None);
        loop {
            let part = buckets.list_bucket_files(&self.bucket, &self.prefix, after).await?;
            files.extend(part.files);
            after = part.next;
            if after.is_none() {
                break;
            }
        }
        if format.has_columns() {
            let row = |file: &BucketFile| {
                vec![
                    file.path.clone(),
                    file.size.to_string(),
                    output::time_or_empty(file.modified),
                    file.content_type.clone(),
                ]
            };
            format.print_columns(&FILE_COLUMNS, &files.iter().map(row).collect::<Vec<_>>())?;
        } else {
            let rows: Vec<Value> = files.iter().map(file_response).collect();
            format.print(&rows, &[], |_| Vec::new())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The content of a file, piece by piece.
fn pieces(file: impl AsyncRead + Send + Unpin + 'static, shown: String) -> FileStream {
    Box::pin(stream::try_unfold((file, shown), |(mut file, shown)| async move {
        let mut piece = vec![0; PIECE];
        let read = file
            .read(&mut piece)
            .await
            .map_err(|error| OrchestratorError::new(ErrorKind::Other, format!("{shown}: {error}")))?;
        piece.truncate(read);
        Ok((read > 0).then(|| (Bytes::from(piece), (file, shown))))
    }))
}

impl Put {
    async fn run(self) -> CommandResult {
        let is_stdin = self.file == Path::new("-");
        let path = match (self.path, self.file.file_name()) {
            (Some(path), _) => path,
            (None, Some(name)) if !is_stdin => name.to_string_lossy().into_owned(),
            _ => return Err(CliError::usage("--path is needed: what is read has no name")),
        };
        let path = FilePath::parse(&path)?;
        let shown = self.file.display().to_string();
        let (length, content) = if is_stdin {
            (None, pieces(tokio::io::stdin(), "stdin".to_owned()))
        } else {
            let failed = |error: std::io::Error| CliError::failed(format!("{shown}: {error}"));
            let file = tokio::fs::File::open(&self.file).await.map_err(failed)?;
            let about = file.metadata().await.map_err(failed)?;
            if about.is_dir() {
                return Err(CliError::failed(format!("{shown}: it is a folder")));
            }
            (about.is_file().then_some(about.len()), pieces(file, shown))
        };
        let orchestrator = self.global.connect().await?;
        let buckets = of_back_end(&orchestrator)?;
        buckets.write_bucket_file(&self.bucket, path.as_str(), length, content).await?;
        output::line(format!("file {:?} was written to bucket {:?}", path.as_str(), self.bucket))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Get {
    async fn run(self) -> CommandResult {
        let path = FilePath::parse(&self.path)?;
        let to = self.to.unwrap_or_else(|| PathBuf::from(path.name()));
        let orchestrator = self.global.connect().await?;
        let mut content = of_back_end(&orchestrator)?.read_bucket_file(&self.bucket, path.as_str()).await?;
        if to == Path::new("-") {
            let mut stdout = std::io::stdout().lock();
            while let Some(piece) = content.next().await {
                stdout.write_all(&piece?)?;
            }
            stdout.flush()?;
            return Ok(ExitCode::SUCCESS);
        }
        let failed = |error: std::io::Error| CliError::failed(format!("{}: {error}", to.display()));
        let mut part = to.clone().into_os_string();
        part.push(format!(".{}.part", std::process::id()));
        let part = PathBuf::from(part);
        let size = match save(&part, content).await {
            Ok(size) => size,
            Err(error) => {
                let _ = std::fs::remove_file(&part);
                return Err(error);
            }
        };
        std::fs::rename(&part, &to).map_err(failed)?;
        output::line(format!("{} was written, {size} bytes", to.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn save(part: &Path, mut content: FileStream) -> Result<u64, CliError> {
    let failed = |error: std::io::Error| CliError::failed(format!("{}: {error}", part.display()));
    let mut file = tokio::fs::File::create(part).await.map_err(failed)?;
    let mut size = 0;
    while let Some(piece) = content.next().await {
        let piece = piece?;
        size += piece.len() as u64;
        file.write_all(&piece).await.map_err(failed)?;
    }
    file.sync_all().await.map_err(failed)?;
    Ok(size)
}

impl DeleteFile {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        of_back_end(&orchestrator)?.delete_bucket_file(&self.bucket, &self.path).await?;
        output::line(format!("file {:?} was deleted from bucket {:?}", self.path, self.bucket))?;
        Ok(ExitCode::SUCCESS)
    }
}
