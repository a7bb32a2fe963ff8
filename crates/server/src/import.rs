//! An import of codes: reads a stream of CSV as it comes, gives it to the store in
//! steps, and makes it visible at the end, or removes every trace of it. Memory
//! stays flat, whatever the size of the file.

use crate::app::App;
use axum::body::Body;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};
use std::io::{self, BufRead, BufReader, Read};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::io::{StreamReader, SyncIoBridge};
use tombola_core::limits;
use tombola_core::ports::{
    Actor, Catalog, CodesAdded, ImportFinished, ImportId, RequestKey, StoreError,
};
use tombola_store::CodeDigest;

/// Time between two steps of the removal of leftovers, so that draws go first.
const LEFTOVERS_PAUSE: Duration = Duration::from_millis(10);

/// Held by an import while it runs.
pub(crate) type ImportTurn = tokio::sync::OwnedRwLockReadGuard<()>;

/// An import that was begun.
pub(crate) struct Asked {
    pub(crate) import: ImportId,
    /// Pass by codes that the campaign has already.
    pub(crate) skip_duplicates: bool,
    /// Its fingerprint is known when the file is read.
    pub(crate) request: RequestKey,
    pub(crate) by: Actor,
}

/// Why nothing was imported.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// A line cannot be used.
    Line { line: u64, what: String },
    /// The file as a whole cannot be used, or did not come whole.
    File(String),
    /// Another import of the same prize took its place.
    Replaced,
    /// The store failed.
    Store(StoreError),
    /// A fault of ours.
    Fault(String),
}

impl From<StoreError> for Wrong {
    fn from(error: StoreError) -> Self {
        match error {
            // Codes were checked before, so what is wrong is the import itself.
            StoreError::Row(_) => Self::Replaced,
            StoreError::Unavailable(_)
            | StoreError::Overloaded
            | StoreError::Inconsistent(_)
            | StoreError::Sealed(_)
            | StoreError::Schema(_)
            | StoreError::Moved(_)
            | StoreError::KeyReused
            | StoreError::Closed => Self::Store(error),
        }
    }
}

/// Codes of one step, and the line of each.
#[derive(Debug, Default)]
struct Step {
    codes: Vec<String>,
    lines: Vec<u64>,
}

/// Runs an import that was begun, to its end or to its removal. `turn` keeps the
/// removal of leftovers away meanwhile. Gives the fingerprint of the file as well.
pub(crate) async fn run(
    app: App,
    asked: Asked,
    body: Body,
    turn: ImportTurn,
) -> Result<(ImportFinished, [u8; 32]), Wrong> {
    let import = asked.import;
    let done = add_all(&app, asked, body).await;
    if done.is_err() {
        wait_for_removal(app.tasks().spawn(remove(app.clone(), import))).await;
    }
    drop(turn);
    done
}

/// The codes are invisible already, so a large import is removed behind the answer.
async fn wait_for_removal(removal: impl Future) {
    match tokio::time::timeout(limits::IMPORT_REMOVAL_WAIT_MAX, removal).await {
        Ok(_) | Err(_) => {}
    }
}

async fn add_all(app: &App, asked: Asked, body: Body) -> Result<(ImportFinished, [u8; 32]), Wrong> {
    let Asked {
        import,
        skip_duplicates,
        ..
    } = asked;
    let (mut read, reading) = read_ahead(body, app.store().code_digest()?);
    let mut skipped_count = 0;
    while let Some(Step { codes, lines }) = read.recv().await {
        match app
            .store()
            .add_codes(import, codes, skip_duplicates)
            .await?
        {
            CodesAdded::Added { skipped, .. } => {
                skipped_count += u64::try_from(skipped).unwrap_or(u64::MAX);
            }
            CodesAdded::Duplicate { index } => {
                let line = lines.get(index).copied().unwrap_or_default();
                return Err(Wrong::Line {
                    line,
                    what: "the campaign has this code already".to_owned(),
                });
            }
        }
    }
    let fingerprint = reading
        .await
        .map_err(|error| Wrong::Fault(error.to_string()))??;
    let by = Actor {
        request: Some(RequestKey {
            fingerprint,
            ..asked.request
        }),
        ..asked.by
    };
    let finished = app
        .store()
        .finish_import(import, skipped_count, by, app.now())
        .await?;
    Ok((finished, fingerprint))
}

/// Reads the body in a thread of its own, a few steps ahead of who takes them; gives
/// the steps, and the fingerprint of the file at its end.
fn read_ahead(
    body: Body,
    digest: CodeDigest,
) -> (mpsc::Receiver<Step>, JoinHandle<Result<[u8; 32], Wrong>>) {
    let (steps, read) = mpsc::channel(limits::IMPORT_STEPS_AHEAD_MAX);
    let reader = Hashing::new(SyncIoBridge::new(StreamReader::new(Box::pin(chunks(body)))));
    let reading = tokio::task::spawn_blocking(move || read_codes(reader, &digest, &steps));
    (read, reading)
}

/// The body as it comes; one that stands still for too long, or that takes too long
/// altogether, has broken off. Another process may count on the second: an import that
/// was begun long before cannot be running any more.
fn chunks(body: Body) -> impl Stream<Item = io::Result<Bytes>> {
    let end = Instant::now() + limits::IMPORT_TIME_MAX;
    futures_util::stream::unfold((body.into_data_stream(), end), async |(mut body, end)| {
        let by = end.min(Instant::now() + limits::IMPORT_CHUNK_TIMEOUT);
        let chunk = match tokio::time::timeout_at(by, body.next()).await {
            Ok(chunk) if Instant::now() < end => chunk?.map_err(io::Error::other),
            Ok(_) | Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        Some((chunk, (body, end)))
    })
}

/// Removes an import in steps. What is left of it stays invisible, and the next
/// start of the server goes on.
async fn remove(app: App, import: ImportId) {
    while !app.tasks().is_stopped() {
        match app.store().remove_import(Some(import)).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, import.id = import.0, "import not removed yet; the next start goes on");
                return;
            }
        }
    }
}

/// Removes what a dead process left unfinished, whenever no import runs: the store
/// cannot tell one that runs from one that was left.
pub(crate) async fn remove_leftovers(app: App) {
    loop {
        let is_done = match app.no_import_runs() {
            Some(_turn) => app.store().remove_import(None).await,
            None => Ok(false),
        };
        match is_done {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "unfinished imports are removed later"),
        }
        if !app.waits(LEFTOVERS_PAUSE).await {
            return;
        }
    }
}

/// Of a body that is read only to be compared.
pub(crate) async fn fingerprint(body: Body) -> Result<[u8; 32], Wrong> {
    let mut hash = Sha256::new();
    let mut chunks = Box::pin(chunks(body));
    while let Some(chunk) = chunks
        .try_next()
        .await
        .map_err(|_| Wrong::File("the file broke off".to_owned()))?
    {
        hash.update(&chunk);
    }
    Ok(hash.finalize().into())
}

/// Reads the first column of each line; a first line `code` is a heading.
fn read_codes<R: Read>(
    reader: Hashing<R>,
    digest: &CodeDigest,
    steps: &mpsc::Sender<Step>,
) -> Result<[u8; 32], Wrong> {
    let mut lines = Lines {
        reader: BufReader::new(reader),
        number: 0,
        bytes: Vec::new(),
    };
    let mut gathering = Gathering::new(digest, steps);
    while let Some(text) = lines.next()? {
        let is_heading = gathering.count == 0 && text.eq_ignore_ascii_case("code");
        if text.is_empty() || is_heading {
            continue;
        }
        let code = code_of(text).map_err(|what| Wrong::Line {
            line: lines.number,
            what,
        })?;
        gathering.take(lines.number, code)?;
    }
    if gathering.count == 0 {
        return Err(Wrong::File("the file has no codes".to_owned()));
    }
    gathering.send_sorted()?;
    Ok(lines.reader.into_inner().hash.finalize().into())
}

/// Codes between their lines and their steps.
struct Gathering<'a> {
    digest: &'a CodeDigest,
    steps: &'a mpsc::Sender<Step>,
    /// Of the whole file.
    count: usize,
    gathered: Vec<(u64, String)>,
}

impl<'a> Gathering<'a> {
    const fn new(digest: &'a CodeDigest, steps: &'a mpsc::Sender<Step>) -> Self {
        Self {
            digest,
            steps,
            count: 0,
            gathered: Vec::new(),
        }
    }

    fn take(&mut self, line: u64, code: String) -> Result<(), Wrong> {
        self.count += 1;
        if self.count > limits::CODES_PER_IMPORT_MAX {
            let most = limits::CODES_PER_IMPORT_MAX;
            return Err(Wrong::File(format!("a file has at most {most} codes")));
        }
        self.gathered.push((line, code));
        if self.gathered.len() == limits::IMPORT_GATHERED_MAX {
            self.send_sorted()?;
        }
        Ok(())
    }

    /// Sends what was gathered in steps, in the order of the store's index: a step then
    /// touches few of its pages. Equal codes keep the order of their lines.
    fn send_sorted(&mut self) -> Result<(), Wrong> {
        let gathered = &mut self.gathered;
        gathered.sort_by_cached_key(|(_, code)| self.digest.of(code));
        while !gathered.is_empty() {
            let rest = gathered.split_off(gathered.len().min(limits::STEP_ROWS_MAX));
            let (lines, codes) = std::mem::replace(gathered, rest).into_iter().unzip();
            self.steps
                .blocking_send(Step { codes, lines })
                .map_err(|_| Wrong::Fault("the import ended before its file".to_owned()))?;
        }
        Ok(())
    }
}

/// The lines of a file, each bounded in length.
struct Lines<R> {
    reader: BufReader<R>,
    number: u64,
    bytes: Vec<u8>,
}

impl<R: Read> Lines<R> {
    /// The next line, without its end and without spaces around it.
    fn next(&mut self) -> Result<Option<&str>, Wrong> {
        self.bytes.clear();
        let mut bounded = (&mut self.reader).take(limits::CODE_LINE_BYTES_MAX);
        let count = bounded
            .read_until(b'\n', &mut self.bytes)
            .map_err(|_| Wrong::File("the file broke off".to_owned()))?;
        if count == 0 {
            return Ok(None);
        }
        self.number += 1;
        let wrong = |what: &str| Wrong::Line {
            line: self.number,
            what: what.to_owned(),
        };
        if u64::try_from(count) == Ok(limits::CODE_LINE_BYTES_MAX) && !self.bytes.ends_with(b"\n") {
            return Err(wrong("the line is too long"));
        }
        let text = std::str::from_utf8(&self.bytes).map_err(|_| wrong("not UTF-8"))?;
        // Some programs begin a file with a mark of its byte order.
        Ok(Some(text.trim_start_matches('\u{feff}').trim()))
    }
}

/// The code of a line that is not empty. No error quotes the line: it is a code.
fn code_of(text: &str) -> Result<String, String> {
    let code = if text.contains(['"', ',']) {
        first_column(text)?
    } else {
        text.to_owned()
    };
    if code.is_empty() {
        return Err("no code".to_owned());
    }
    if code.len() > limits::CODE_BYTES_MAX {
        return Err(format!(
            "a code has at most {} bytes",
            limits::CODE_BYTES_MAX
        ));
    }
    if code.chars().any(char::is_control) {
        return Err("a control character in the code".to_owned());
    }
    Ok(code)
}

fn first_column(text: &str) -> Result<String, String> {
    // The reader would take the rest for the field's text.
    if text.matches('"').count() % 2 == 1 {
        return Err("a quotation mark that is not closed".to_owned());
    }
    let mut csv = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let record = csv.records().next().and_then(Result::ok).ok_or("not CSV")?;
    if record.iter().skip(1).any(|field| !field.is_empty()) {
        return Err("more than one column".to_owned());
    }
    Ok(record.get(0).unwrap_or_default().to_owned())
}

/// Hashes what is read through it.
struct Hashing<R> {
    inner: R,
    hash: Sha256,
}

impl<R> Hashing<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
        }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
